#!/bin/busybox sh
# Runs the tests of the machine, each in a process of its own, and powers off. Its last words are how many passed, failed and were
# skipped. Every wait ends: one test may take TEST_SECONDS, and the machine as a whole is watched from outside.
TEST_SECONDS=240

/bin/busybox --install -s /bin
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mkdir -p /proc /sys /dev /tmp /run /root /sbin /var/lib /var/log
ln -sf /bin/busybox /sbin/modprobe
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t securityfs securityfs /sys/kernel/security
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount --make-rshared /
chmod 1777 /tmp
ip link set lo up
depmod
modprobe overlay
hostname vm

wanted() {
  [ -s /only ] || return 0
  echo "$1" | grep -qFf /only
}

# Whether a test is among those to leave out, or not among those to run alone, which have a plus before them.
left_out() {
  name="$1" alone=
  shift
  for beginning in "$@"; do
    case "$beginning" in
      +*)
        [ -n "$alone" ] || alone=no
        case "$name" in "${beginning#+}"*) alone=yes ;; esac
        ;;
      *) case "$name" in "$beginning"*) return 0 ;; esac ;;
    esac
  done
  [ "$alone" = no ]
}

seconds() {
  cut -d ' ' -f 1 /proc/uptime
}

passed=0 failed=0 skipped=0 failures=
while read -r suite program folder without; do
  cd "$folder" || continue
  for test in $("$program" --list --format terse 2>/dev/null | sed -n 's/: test$//p'); do
    wanted "$suite $test" || continue
    # The names to leave out are words.
    # shellcheck disable=SC2086
    left_out "$test" $without && continue
    begun=$(seconds)
    # The first process has no session, which no test expects.
    timeout "$TEST_SECONDS" setsid "$program" --exact "$test" --nocapture </dev/null >/tmp/output 2>&1
    code=$?
    took=$(echo "$begun $(seconds)" | awk '{ printf "%8.3fs", $2 - $1 }')
    if [ $code -ne 0 ]; then
      failed=$((failed + 1)) word=FAIL failures="$failures
  $suite $test"
    elif grep -q '^SKIP ' /tmp/output; then
      skipped=$((skipped + 1)) word=SKIP
    else
      passed=$((passed + 1)) word=PASS
    fi
    echo "        $word [$took] $suite $test"
    [ $word = SKIP ] && grep '^SKIP ' /tmp/output | sed 's/^/          /'
    [ $word = FAIL ] && grep -A 4 'panicked at' /tmp/output | cut -c 1-500 | sed 's/^/          | /'
    [ $word = FAIL ] && tail -c 6000 /tmp/output | sed "s/^/          | /"
  done
done </suites
[ -n "$failures" ] && echo "failed:$failures"
left=$(cat /sys/fs/cgroup/cgroup.subtree_control >/dev/null; find /sys/fs/cgroup -mindepth 1 -type d | grep -v -e '^/sys/fs/cgroup/usher$' -e '^/sys/fs/cgroup/usher/shims$')
if [ -n "$left" ]; then
  echo "control groups are left behind:" && echo "$left" && failed=$((failed + 1))
fi
echo "usher-vm-verdict $passed $failed $skipped"
sync
poweroff -f
