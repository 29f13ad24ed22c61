//! The system calls that no safe wrapper covers, each behind a safe function.
//!
//! This is not a general library: each function takes only what this crate passes. Invariant: all `unsafe` of the
//! container core is in this file, and every function keeps the safety conditions of its call by itself.
#![expect(unsafe_code, reason = "clone3, seccomp, bpf, mount_setattr and execve have no safe wrapper")]

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use libc::{c_int, c_long, c_uint, c_ulong};

/// The two sides of a new process.
#[derive(Debug)]
pub(crate) enum Forked<P> {
    /// In the process that asked.
    Parent(P),
    /// In the new process.
    Child,
}

/// A child as `clone3` reports it.
#[derive(Debug)]
pub(crate) struct Cloned {
    /// In the caller's pid namespace.
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

fn check(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks. The child may go on as the parent would have: this process has one thread.
pub(crate) fn fork() -> io::Result<Forked<i32>> {
    // SAFETY: no arguments. The shim has one thread, so no lock can be held by a thread that the child lacks.
    match check(c_long::from(unsafe { libc::fork() }))? {
        0 => Ok(Forked::Child),
        pid => Ok(Forked::Parent(pid as i32)),
    }
}

/// Makes a process with `clone3`: a sibling if `flags` has `CLONE_PARENT`, born into `cgroup` (a cgroup2 directory) if one is given.
/// Memory is copied as with `fork`.
pub(crate) fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Forked<Cloned>> {
    let mut pidfd: c_int = -1;
    // SAFETY: clone_args is plain numbers, for which zero means "not used".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = flags | libc::CLONE_PIDFD as u64;
    arguments.pidfd = ptr::from_mut(&mut pidfd) as u64;
    if flags & libc::CLONE_PARENT as u64 == 0 {
        arguments.exit_signal = libc::SIGCHLD as u64;
    }
    if let Some(directory) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = directory.as_raw_fd() as u64;
    }
    // SAFETY: the structure and the pidfd live through the call. Without CLONE_VM the child gets a copy of the memory
    // and of this thread's stack, as with fork, and the caller has one thread.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, ptr::from_mut(&mut arguments), size_of::<libc::clone_args>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    // SAFETY: on success the kernel stored a new descriptor that nothing else owns.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent(Cloned { pid: pid as i32, pidfd }))
}

/// Ends the process without running exit handlers or destructors.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(code) }
}

/// Closes every descriptor from 3 on that is not in `kept`. No value that owns another descriptor may be used after this.
pub(crate) fn close_all_except(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut kept: Vec<c_uint> = kept.iter().map(|fd| fd.as_raw_fd() as c_uint).filter(|&fd| fd > 2).collect();
    kept.sort_unstable();
    kept.dedup();
    let mut first = 3;
    for fd in kept.into_iter().chain([c_uint::MAX]) {
        if first < fd {
            // SAFETY: only descriptors are closed, and the caller keeps to the condition above.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0 as c_uint) })?;
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Makes `target` another name of `source`, without close-on-exec. Used for 0, 1 and 2 only.
pub(crate) fn dup2_stdio(source: BorrowedFd<'_>, target: RawFd) -> io::Result<()> {
    debug_assert!((0..=2).contains(&target));
    // SAFETY: the standard descriptors are not owned by any Rust value in this crate.
    check(c_long::from(unsafe { libc::dup2(source.as_raw_fd(), target) })).map(drop)
}

/// Changes mount attributes and propagation of the mount `fd`, of all below it as well if `recursive`. `propagation` 0 leaves it.
pub(crate) fn mount_setattr(fd: BorrowedFd<'_>, recursive: Recursive, set: u64, clear: u64, propagation: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive == Recursive::Yes { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: path and structure live through the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            fd.as_raw_fd(),
            c"".as_ptr(),
            flags,
            ptr::from_ref(&attributes),
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Whether a mount operation includes the mounts below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recursive {
    Yes,
    No,
}

/// Gives the calling process a copy of its mounts for itself.
pub(crate) fn unshare_mount_namespace() -> io::Result<()> {
    // SAFETY: this flag has no effect on memory or descriptors.
    check(c_long::from(unsafe { libc::unshare(libc::CLONE_NEWNS) })).map(drop)
}

/// Gives the calling process a new cgroup namespace, rooted in the cgroups it is in.
pub(crate) fn unshare_cgroup_namespace() -> io::Result<()> {
    // SAFETY: this flag has no effect on memory or descriptors.
    check(c_long::from(unsafe { libc::unshare(libc::CLONE_NEWCGROUP) })).map(drop)
}

/// Installs a filter program on this thread.
pub(crate) fn seccomp_set_filter(program: &[libc::sock_filter], flags: u64) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let program = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives through the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags as c_uint, ptr::from_ref(&program)) }).map(drop)
}

/// Joins a new, empty session keyring.
pub(crate) fn join_new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<libc::c_char>()) }).map(drop)
}

/// Replaces the standard descriptors by `/dev/null`, in a child that has nothing to say.
pub(crate) fn close_stdio_of_child() -> io::Result<()> {
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    for target in 0..=2 {
        dup2_stdio(std::os::fd::AsFd::as_fd(&null), target)?;
    }
    Ok(())
}

/// Waits for ever; the kernel reaps the children of a process that ignores their ends, orphans that came to it included.
pub(crate) fn reap_orphans_for_ever() -> ! {
    // SAFETY: SIG_IGN runs no code of ours.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    loop {
        // SAFETY: no arguments, touches no memory.
        unsafe { libc::pause() };
    }
}

/// Sets every signal to its default action and unblocks all.
pub(crate) fn reset_signals() -> io::Result<()> {
    const SIGNAL_LAST: c_int = 64;
    for signal in 1..=SIGNAL_LAST {
        // SAFETY: SIG_DFL runs no code of ours. KILL, STOP and the two signals of the C library are refused, rightly.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // The C library hides 32 and 33 from sigaction, but they may be inherited as ignored.
    let default = KernelSigaction::default();
    for signal in [32, 33] {
        // SAFETY: the structure is the kernel's own and lives through the call.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, ptr::from_ref(&default), ptr::null_mut::<KernelSigaction>(), size_of::<u64>())
        };
    }
    let none: u64 = 0;
    // SAFETY: the mask lives through the call and has the size that is passed.
    check(unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, ptr::from_ref(&none), ptr::null_mut::<u64>(), size_of::<u64>())
    })
    .map(drop)
}

#[repr(C)]
#[derive(Default)]
struct KernelSigaction {
    handler: usize,
    flags: c_ulong,
    restorer: usize,
    mask: u64,
}

/// Replaces the program of this process. Returns only the error.
pub(crate) fn execve(path: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers =
        |strings: &[CString]| -> Vec<*const libc::c_char> { strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect() };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both arrays end with a null pointer, and all strings live through the call.
    unsafe { libc::execve(path.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Sets the loopback interface of the current network namespace up.
pub(crate) fn set_loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: ifreq is plain data.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the structure lives through the call.
    check(c_long::from(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, ptr::from_ref(&request)) })).map(drop)
}

/// Loads a program that decides on device accesses (see `cgroup::devices`).
pub(crate) fn bpf_load_device_program(instructions: &[u64], license: &CStr) -> io::Result<OwnedFd> {
    let attributes = BpfProgramLoad {
        program_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        instruction_count: instructions.len() as u32,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        ..BpfProgramLoad::default()
    };
    // SAFETY: every pointer in the attributes lives through the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, ptr::from_ref(&attributes), size_of::<BpfProgramLoad>()) })?;
    // SAFETY: the kernel returned a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Attaches a device program to a cgroup2 directory, beside those of its ancestors.
pub(crate) fn bpf_attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = BpfProgramAttach {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: the structure holds numbers only and lives through the call.
    check(unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_ATTACH, ptr::from_ref(&attributes), size_of::<BpfProgramAttach>()) }).map(drop)
}

#[repr(C)]
#[derive(Default)]
struct BpfProgramLoad {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct BpfProgramAttach {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
const BPF_PROG_LOAD: c_int = 5;
const BPF_PROG_ATTACH: c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
