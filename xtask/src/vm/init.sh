#!/bin/busybox sh
# First process of the machine: moves everything from the initramfs, from which pivot_root does not work, to a tmpfs.
/bin/busybox cp /bin/busybox /busybox
/busybox mkdir -p /new
/busybox mount -t tmpfs -o size=90%,mode=755 root /new
for entry in /*; do
  case "$entry" in /new | /init | /busybox | /dev | /root) ;; *) /busybox mv "$entry" /new/ ;; esac
done
exec /busybox switch_root /new /guest.sh
