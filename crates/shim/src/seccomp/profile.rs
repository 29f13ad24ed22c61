//! The filter for containers that ask for the runtime's default (`RuntimeDefault`).
//!
//! It is a list of what is allowed; everything else fails with EPERM, and what is newer than the list with ENOSYS. Left out are calls that
//! reach the machine instead of the container (kernel modules, clocks, swap, reboot, mounts, namespaces), that only debuggers of kernels and
//! rootkits need, and those with a bad history (`io_uring`, `userfaultfd`, the kernel's keyrings). A capability that is granted to the
//! container opens the calls that it is about. In effect this is the filter that container users know from other runtimes.

use std::collections::HashSet;

use oci_spec::runtime::{
    Arch, Capability, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompArgBuilder, LinuxSeccompBuilder, LinuxSeccompOperator,
    LinuxSyscall, LinuxSyscallBuilder,
};

/// The default filter for a container whose process has `capabilities`.
pub fn runtime_default(capabilities: &HashSet<Capability>) -> LinuxSeccomp {
    let always = [FILES, MEMORY, PROCESSES, SCHEDULING, SIGNALS, TIME, WAITING, SOCKETS, MESSAGES, IDENTITY, ARCHITECTURES];
    let mut names: Vec<&str> = always.concat();
    for (capability, opened) in OPENED_BY_CAPABILITY {
        if capabilities.contains(capability) {
            names.extend(*opened);
        }
    }
    names.sort_unstable();
    names.dedup();
    let mut calls = vec![allow(&names, Vec::new()), allow(&["socket"], vec![argument(LinuxSeccompOperator::ScmpCmpNe, AF_VSOCK, None)])];
    for persona in PERSONALITIES {
        calls.push(allow(&["personality"], vec![argument(LinuxSeccompOperator::ScmpCmpEq, persona, None)]));
    }
    if !capabilities.contains(&Capability::SysAdmin) {
        calls.push(allow(&["clone"], vec![argument(LinuxSeccompOperator::ScmpCmpMaskedEq, NAMESPACE_FLAGS, Some(0))]));
        // Its flags are in memory, where a filter cannot look. Libraries fall back to clone when it does not exist.
        calls.push(entry(&["clone3"], LinuxSeccompAction::ScmpActErrno, Some(libc::ENOSYS as u32), Vec::new()));
    }
    LinuxSeccompBuilder::default()
        .default_action(LinuxSeccompAction::ScmpActErrno)
        .default_errno_ret(libc::EPERM as u32)
        .architectures(architectures())
        .syscalls(calls)
        .build()
        .expect("every field that has to be set is set")
}

fn architectures() -> Vec<Arch> {
    if cfg!(target_arch = "aarch64") {
        vec![Arch::ScmpArchAarch64, Arch::ScmpArchArm]
    } else {
        vec![Arch::ScmpArchX86_64, Arch::ScmpArchX86, Arch::ScmpArchX32]
    }
}

fn allow(names: &[&str], conditions: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    entry(names, LinuxSeccompAction::ScmpActAllow, None, conditions)
}

fn entry(names: &[&str], action: LinuxSeccompAction, errno: Option<u32>, conditions: Vec<LinuxSeccompArg>) -> LinuxSyscall {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut call = LinuxSyscallBuilder::default().names(names).action(action);
    if let Some(errno) = errno {
        call = call.errno_ret(errno);
    }
    if !conditions.is_empty() {
        call = call.args(conditions);
    }
    call.build().expect("names and action are set")
}

fn argument(operator: LinuxSeccompOperator, value: u64, value_two: Option<u64>) -> LinuxSeccompArg {
    let argument = LinuxSeccompArgBuilder::default().index(0usize).value(value).op(operator);
    let argument = match value_two {
        Some(value) => argument.value_two(value),
        None => argument,
    };
    argument.build().expect("index, value and operator are set")
}

/// Sockets to the hypervisor reach past every network policy.
const AF_VSOCK: u64 = 40;
/// All `CLONE_NEW…` flags that the low word of clone's flags can have: mount, cgroup, uts, ipc, user, pid, net.
const NAMESPACE_FLAGS: u64 = 0x7e02_0000;
/// Linux, Linux with 32 bits, both with old version numbers, and "only ask".
const PERSONALITIES: [u64; 5] = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

#[rustfmt::skip]
const FILES: &[&str] = &[
    // Open, read, write, close.
    "close", "close_range", "copy_file_range", "creat", "dup", "dup2", "dup3", "fadvise64", "fadvise64_64", "fallocate", "fcntl",
    "fcntl64", "fdatasync", "flock", "fsync", "ftruncate", "ftruncate64", "ioctl", "_llseek", "lseek", "open", "openat", "openat2",
    "pipe", "pipe2", "pread64", "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readv", "sendfile",
    "sendfile64", "splice", "sync", "sync_file_range", "sync_file_range2", "syncfs", "tee", "truncate", "truncate64", "vmsplice", "write",
    "writev",
    // Asynchronous, of the old kind.
    "io_cancel", "io_destroy", "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioprio_get",
    "ioprio_set",
    // Names and directories.
    "access", "chdir", "faccessat", "faccessat2", "fchdir", "getcwd", "getdents", "getdents64", "link", "linkat", "mkdir", "mkdirat",
    "mknod", "mknodat", "name_to_handle_at", "readlink", "readlinkat", "rename", "renameat", "renameat2", "rmdir", "symlink", "symlinkat",
    "umask", "unlink", "unlinkat",
    // Attributes.
    "cachestat", "chmod", "chown", "chown32", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fgetxattr",
    "flistxattr", "fremovexattr", "fsetxattr", "fstat", "fstat64", "fstatat64", "fstatfs", "fstatfs64", "futimesat", "getxattr",
    "getxattrat", "lchown", "lchown32", "lgetxattr", "listxattr", "listxattrat", "llistxattr", "lremovexattr", "lsetxattr", "lstat",
    "lstat64", "newfstatat", "oldfstat", "oldlstat", "oldstat", "removexattr", "removexattrat", "setxattr", "setxattrat", "stat",
    "stat64", "statfs", "statfs64", "statx", "utime", "utimensat", "utimensat_time64", "utimes",
    // Changes of others.
    "fanotify_mark", "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch",
];

#[rustfmt::skip]
const MEMORY: &[&str] = &[
    "brk", "madvise", "map_shadow_stack", "membarrier", "memfd_create", "memfd_secret", "mincore", "mlock", "mlock2", "mlockall", "mmap",
    "mmap2", "mprotect", "mremap", "mseal", "msync", "munlock", "munlockall", "munmap", "pkey_alloc", "pkey_free", "pkey_mprotect",
    "remap_file_pages",
];

#[rustfmt::skip]
const PROCESSES: &[&str] = &[
    "capget", "capset", "execve", "execveat", "exit", "exit_group", "fork", "getpgid", "getpgrp", "getpid", "getppid", "getsid", "gettid",
    "get_robust_list", "get_thread_area", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "pidfd_open", "prctl",
    "process_mrelease", "restart_syscall", "rseq", "seccomp", "set_robust_list", "set_thread_area", "set_tid_address", "setpgid",
    "setsid", "uretprobe", "vfork", "wait4", "waitid", "waitpid",
    // Looking into one's own children; safe since Linux 4.8, where a tracer can no longer get around its child's filter.
    "process_vm_readv", "process_vm_writev", "ptrace",
];

#[rustfmt::skip]
const SCHEDULING: &[&str] = &[
    "getcpu", "getpriority", "getrlimit", "getrusage", "prlimit64", "sched_get_priority_max", "sched_get_priority_min",
    "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_rr_get_interval", "sched_rr_get_interval_time64",
    "sched_setaffinity", "sched_setattr", "sched_setparam", "sched_setscheduler", "sched_yield", "setpriority", "setrlimit", "sysinfo",
    "ugetrlimit", "uname",
];

#[rustfmt::skip]
const SIGNALS: &[&str] = &[
    "kill", "pause", "pidfd_send_signal", "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn",
    "rt_sigsuspend", "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sigaltstack", "signalfd", "signalfd4",
    "sigprocmask", "sigreturn", "tgkill", "tkill",
];

/// Setting a clock fails without the capability; the calls that also read it are allowed.
#[rustfmt::skip]
const TIME: &[&str] = &[
    "adjtimex", "alarm", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64", "clock_gettime", "clock_gettime64",
    "clock_nanosleep", "clock_nanosleep_time64", "getitimer", "gettimeofday", "nanosleep", "setitimer", "time", "timer_create",
    "timer_delete", "timer_getoverrun", "timer_gettime", "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create",
    "timerfd_gettime", "timerfd_gettime64", "timerfd_settime", "timerfd_settime64", "times",
];

#[rustfmt::skip]
const WAITING: &[&str] = &[
    "epoll_create", "epoll_create1", "epoll_ctl", "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old",
    "eventfd", "eventfd2", "futex", "futex_requeue", "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "getrandom", "_newselect",
    "poll", "ppoll", "ppoll_time64", "pselect6", "pselect6_time64", "select",
];

#[rustfmt::skip]
const SOCKETS: &[&str] = &[
    "accept", "accept4", "bind", "connect", "getpeername", "getsockname", "getsockopt", "listen", "recv", "recvfrom", "recvmmsg",
    "recvmmsg_time64", "recvmsg", "send", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketcall", "socketpair",
];

#[rustfmt::skip]
const MESSAGES: &[&str] = &[
    "ipc", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive", "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64",
    "mq_unlink", "msgctl", "msgget", "msgrcv", "msgsnd", "semctl", "semget", "semop", "semtimedop", "semtimedop_time64", "shmat",
    "shmctl", "shmdt", "shmget",
];

#[rustfmt::skip]
const IDENTITY: &[&str] = &[
    "getegid", "getegid32", "geteuid", "geteuid32", "getgid", "getgid32", "getgroups", "getgroups32", "getresgid", "getresgid32",
    "getresuid", "getresuid32", "getuid", "getuid32", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setregid", "setregid32", "setresgid", "setresgid32", "setresuid", "setresuid32", "setreuid",
    "setreuid32", "setuid", "setuid32",
];

/// Calls that only one architecture has.
const ARCHITECTURES: &[&str] =
    &["arch_prctl", "modify_ldt", "arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls"];

const OPENED_BY_CAPABILITY: &[(&Capability, &[&str])] = &[
    (&Capability::DacReadSearch, &["open_by_handle_at"]),
    (
        &Capability::SysAdmin,
        &[
            "bpf",
            "clone",
            "clone3",
            "fanotify_init",
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "listmount",
            "lookup_dcookie",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "quotactl",
            "quotactl_fd",
            "setdomainname",
            "sethostname",
            "setns",
            "statmount",
            "syslog",
            "umount",
            "umount2",
            "unshare",
        ],
    ),
    (&Capability::SysBoot, &["reboot"]),
    (&Capability::SysChroot, &["chroot"]),
    (&Capability::SysModule, &["delete_module", "finit_module", "init_module"]),
    (&Capability::SysPacct, &["acct"]),
    (&Capability::SysPtrace, &["kcmp", "pidfd_getfd", "process_madvise"]),
    (&Capability::SysRawio, &["ioperm", "iopl"]),
    (&Capability::SysTime, &["clock_settime", "clock_settime64", "settimeofday", "stime"]),
    (&Capability::SysTtyConfig, &["vhangup"]),
    (&Capability::SysNice, &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    (&Capability::Syslog, &["syslog"]),
    (&Capability::Bpf, &["bpf"]),
    (&Capability::Perfmon, &["perf_event_open"]),
];
