//! System calls as they are, so that a test can see what the kernel answers to a container that tries something.
//!
//! `tapp call NAME ARGUMENT…` makes one and prints `NAME(ARGUMENT, …) = 0` or the name of the error. An argument is a number,
//! `@` (a page of zeros, which the kernel may also write to), `@8` (a page that begins with this number) or a text. `then` begins another call of the same process, for which
//! `$` is what the call before it returned.

use std::ffi::CString;
use std::io::Write as _;

/// Enough for every structure that the kernel reads or writes in these calls.
const PAGE_BYTES: usize = 4096;
/// No system call has more.
const ARGUMENTS_MAX: usize = 6;

/// What a test may ask for, by the kernel's names.
#[rustfmt::skip]
const CALLS: &[(&str, libc::c_long)] = &[
    ("add_key", libc::SYS_add_key), ("bpf", libc::SYS_bpf), ("chroot", libc::SYS_chroot), ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3), ("delete_module", libc::SYS_delete_module), ("finit_module", libc::SYS_finit_module),
    ("fsopen", libc::SYS_fsopen), ("getuid", libc::SYS_getuid), ("geteuid", libc::SYS_geteuid), ("init_module", libc::SYS_init_module),
    ("io_uring_setup", libc::SYS_io_uring_setup), ("kexec_load", libc::SYS_kexec_load), ("keyctl", libc::SYS_keyctl), ("kill", libc::SYS_kill),
    ("mknodat", libc::SYS_mknodat), ("mount", libc::SYS_mount), ("move_mount", libc::SYS_move_mount),
    ("name_to_handle_at", libc::SYS_name_to_handle_at), ("open_by_handle_at", libc::SYS_open_by_handle_at),
    ("open_tree", libc::SYS_open_tree), ("openat", libc::SYS_openat), ("perf_event_open", libc::SYS_perf_event_open),
    ("pivot_root", libc::SYS_pivot_root), ("process_vm_readv", libc::SYS_process_vm_readv), ("ptrace", libc::SYS_ptrace),
    ("quotactl", libc::SYS_quotactl), ("reboot", libc::SYS_reboot), ("setdomainname", libc::SYS_setdomainname),
    ("sethostname", libc::SYS_sethostname), ("setns", libc::SYS_setns), ("settimeofday", libc::SYS_settimeofday),
    ("setuid", libc::SYS_setuid), ("socket", libc::SYS_socket), ("swapon", libc::SYS_swapon), ("syslog", libc::SYS_syslog),
    ("umount2", libc::SYS_umount2), ("unshare", libc::SYS_unshare), ("userfaultfd", libc::SYS_userfaultfd), ("write", libc::SYS_write),
];

#[rustfmt::skip]
const ERRORS: &[(i32, &str)] = &[
    (libc::EACCES, "EACCES"), (libc::EBADF, "EBADF"), (libc::EBUSY, "EBUSY"), (libc::EEXIST, "EEXIST"), (libc::EFAULT, "EFAULT"),
    (libc::EINVAL, "EINVAL"), (libc::EIO, "EIO"), (libc::EISDIR, "EISDIR"), (libc::ENODEV, "ENODEV"), (libc::ENOENT, "ENOENT"),
    (libc::ENOSYS, "ENOSYS"), (libc::ENOTDIR, "ENOTDIR"), (libc::ENXIO, "ENXIO"), (libc::EOPNOTSUPP, "EOPNOTSUPP"), (libc::EPERM, "EPERM"),
    (libc::EROFS, "EROFS"), (libc::ESRCH, "ESRCH"), (libc::EAFNOSUPPORT, "EAFNOSUPPORT"), (libc::ENOTBLK, "ENOTBLK"),
];

/// Makes the calls one after the other.
pub(crate) fn perform(words: &[String]) -> Result<(), String> {
    let mut last = 0;
    for words in words.split(|word| word == "then") {
        let Some((name, arguments)) = words.split_first() else { return Err("a call is missing beside `then`".to_owned()) };
        let number = CALLS.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
        let number = number.ok_or_else(|| format!("{name:?} is no call of tapp"))?;
        if arguments.len() > ARGUMENTS_MAX {
            return Err(format!("{name} has {} arguments", arguments.len()));
        }
        let result = call(number, arguments, last)?;
        let shown = match &result {
            Ok(value) => value.to_string(),
            Err(error) => name_of(error.raw_os_error().unwrap_or_default()),
        };
        last = result.unwrap_or(-1);
        writeln!(std::io::stdout(), "{name}({}) = {shown}", arguments.join(", ")).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn call(number: libc::c_long, arguments: &[String], last: libc::c_long) -> Result<std::io::Result<libc::c_long>, String> {
    // What the pointers point to lives until the call is over.
    let mut pages: Vec<Box<[u8; PAGE_BYTES]>> = Vec::new();
    let mut texts: Vec<CString> = Vec::new();
    let mut raw = [0; ARGUMENTS_MAX];
    for (slot, argument) in raw.iter_mut().zip(arguments) {
        *slot = if let Some(first) = argument.strip_prefix('@').and_then(first_word) {
            let mut page = Box::new([0; PAGE_BYTES]);
            page[..size_of::<u32>()].copy_from_slice(&first.to_ne_bytes());
            pages.push(page);
            pages.last_mut().map_or(0, |page| page.as_mut_ptr() as libc::c_long)
        } else if argument == "$" {
            last
        } else if let Ok(value) = argument.parse() {
            value
        } else {
            texts.push(CString::new(argument.as_str()).map_err(|error| error.to_string())?);
            texts.last().map_or(0, |text| text.as_ptr() as libc::c_long)
        };
    }
    let [a, b, c, d, e, f] = raw;
    #[expect(unsafe_code, reason = "the whole of this word is calls that no library wraps")]
    // SAFETY: this process does nothing else; pointers are to texts, or to pages that no call of the list writes past the end of.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    let error = std::io::Error::last_os_error();
    Ok(if result < 0 { Err(error) } else { Ok(result) })
}

fn first_word(text: &str) -> Option<u32> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

fn name_of(errno: i32) -> String {
    ERRORS.iter().find(|(number, _)| *number == errno).map_or_else(|| format!("errno {errno}"), |(_, name)| (*name).to_owned())
}
