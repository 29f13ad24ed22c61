//! Filters run in an interpreter of the kernel's machine, and on real children.

use std::collections::HashSet;

use libc::sock_filter;
use oci_spec::runtime::{Capability, LinuxSeccomp};

use super::{
    bpf::{AND, IF_EQUAL, IF_GREATER, IF_GREATER_OR_EQUAL, JUMP, LOAD, RETURN},
    compile, runtime_default,
};

const ALLOW: u32 = 0x7fff_0000;
const KILL: u32 = 0x8000_0000;
const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const X32_BIT: u32 = 0x4000_0000;

fn errno(errno: i32) -> u32 {
    0x0005_0000 | errno as u32
}

/// What the kernel would answer, and after how many instructions.
fn run(program: &[sock_filter], architecture: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
    let mut record = [0u32; 16];
    record[0] = number;
    record[1] = architecture;
    for (index, argument) in arguments.iter().enumerate() {
        record[4 + 2 * index] = *argument as u32;
        record[5 + 2 * index] = (argument >> 32) as u32;
    }
    let (mut accumulator, mut next, mut steps) = (0u32, 0usize, 0);
    loop {
        let code = program[next];
        steps += 1;
        next += 1;
        let jump = |condition: bool| usize::from(if condition { code.jt } else { code.jf });
        match code.code {
            LOAD => accumulator = record[code.k as usize / 4],
            AND => accumulator &= code.k,
            JUMP => next += code.k as usize,
            IF_EQUAL => next += jump(accumulator == code.k),
            IF_GREATER => next += jump(accumulator > code.k),
            IF_GREATER_OR_EQUAL => next += jump(accumulator >= code.k),
            RETURN => return (code.k, steps),
            other => panic!("unknown instruction {other:#x}"),
        }
    }
}

fn parse(json: &str) -> LinuxSeccomp {
    serde_json::from_str(json).expect("test JSON is valid")
}

fn filter(json: &str) -> impl Fn(u32, u32, [u64; 6]) -> u32 + use<> {
    let filter = compile(&parse(json)).expect("test filter is valid");
    move |architecture, number, arguments| run(filter.program(), architecture, number, arguments).0
}

fn number(name: &str) -> u32 {
    name.parse::<syscalls::x86_64::Sysno>().expect("known call").id() as u32
}

fn number_i386(name: &str) -> u32 {
    name.parse::<syscalls::x86::Sysno>().expect("known call").id() as u32
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use super::*;

    /// Every operator against a plain comparison of 64-bit numbers, at all interesting borders.
    #[test]
    fn every_operator_compares_all_64_bits() {
        type Compare = fn(u64, u64) -> bool;
        let operators: [(&str, Compare); 6] = [
            ("NE", |a, b| a != b),
            ("LT", |a, b| a < b),
            ("LE", |a, b| a <= b),
            ("EQ", |a, b| a == b),
            ("GE", |a, b| a >= b),
            ("GT", |a, b| a > b),
        ];
        let borders = [0, 1, 5, 0xffff_fffe, 0xffff_ffff, 0x1_0000_0000, 0x1_0000_0001, 0x5_0000_0005, u64::MAX - 1, u64::MAX];
        for (name, compare) in operators {
            for value in borders {
                let judge = filter(&format!(
                    r#"{{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{{"names":["read"],"action":"SCMP_ACT_ALLOW",
                        "args":[{{"index":3,"value":{value},"op":"SCMP_CMP_{name}"}}]}}]}}"#
                ));
                for actual in borders {
                    let expected = if compare(actual, value) { ALLOW } else { KILL };
                    assert_eq!(judge(X86_64, 0, [9, 9, 9, actual, 9, 9]), expected, "{actual:#x} {name} {value:#x}");
                }
            }
        }
    }

    #[test]
    fn masks_cover_both_halves() {
        let judge = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW",
                "args":[{"index":0,"value":4294967312,"valueTwo":4294967296,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#,
        );
        assert_eq!(judge(X86_64, 0, [0x1_0000_0000, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(judge(X86_64, 0, [0x3_0000_000f, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(judge(X86_64, 0, [0x1_0000_0010, 0, 0, 0, 0, 0]), errno(1));
        assert_eq!(judge(X86_64, 0, [0, 0, 0, 0, 0, 0]), errno(1));
    }

    #[test]
    fn conditions_on_different_arguments_must_all_hold() {
        let judge = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_NE"},{"index":2,"value":3,"op":"SCMP_CMP_LT"},
                {"index":3,"value":4,"op":"SCMP_CMP_LE"},{"index":4,"value":5,"op":"SCMP_CMP_GE"},{"index":5,"value":6,"op":"SCMP_CMP_GT"}]}]}"#,
        );
        let good = [1, 7, 2, 4, 5, 7];
        assert_eq!(judge(X86_64, 0, good), ALLOW);
        for (index, bad) in [0, 2, 3, 5, 4, 6].into_iter().enumerate() {
            let mut arguments = good;
            arguments[index] = bad;
            assert_eq!(judge(X86_64, 0, arguments), errno(1), "argument {index}");
        }
    }

    #[test]
    fn conditions_on_the_same_argument_are_alternatives() {
        let judge = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[
                {"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        assert_eq!([1, 2, 3].map(|first| judge(X86_64, 0, [first, 0, 0, 0, 0, 0])), [ALLOW, ALLOW, errno(1)]);
    }

    #[test]
    fn entries_with_conditions_come_before_the_one_without() {
        let judge = filter(
            r#"{"defaultAction":"SCMP_ACT_KILL","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"},
                {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":5,"args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},
                {"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":6,"args":[{"index":1,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        assert_eq!(judge(X86_64, 0, [1, 1, 0, 0, 0, 0]), errno(5));
        assert_eq!(judge(X86_64, 0, [0, 1, 0, 0, 0, 0]), errno(6));
        assert_eq!(judge(X86_64, 0, [0, 0, 0, 0, 0, 0]), ALLOW);
    }

    #[test]
    fn every_action_has_the_kernels_number() {
        let actions = [
            ("SCMP_ACT_KILL", 0),
            ("SCMP_ACT_KILL_THREAD", 0),
            ("SCMP_ACT_KILL_PROCESS", KILL),
            ("SCMP_ACT_TRAP", 0x0003_0000),
            ("SCMP_ACT_ERRNO", 0x0005_0007),
            ("SCMP_ACT_TRACE", 0x7ff0_0007),
            ("SCMP_ACT_LOG", 0x7ffc_0000),
            ("SCMP_ACT_ALLOW", ALLOW),
        ];
        for (name, expected) in actions {
            let judge = filter(&format!(
                r#"{{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{{"names":["write"],"action":"{name}","errnoRet":7}}]}}"#
            ));
            assert_eq!(judge(X86_64, 1, [0; 6]), expected, "{name}");
            assert_eq!(judge(X86_64, 0, [0; 6]), ALLOW);
        }
    }

    #[test]
    fn calls_newer_than_the_filter_do_not_exist_and_known_ones_are_forbidden() {
        let judge = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":13,"syscalls":[{"names":["read","openat2"],"action":"SCMP_ACT_ALLOW"}]}"#,
        );
        assert_eq!(judge(X86_64, number("mount"), [0; 6]), errno(13));
        assert_eq!(judge(X86_64, number("openat2"), [0; 6]), ALLOW);
        assert_eq!(judge(X86_64, number("openat2") + 1, [0; 6]), errno(libc::ENOSYS));
        assert_eq!(judge(X86_64, 100_000, [0; 6]), errno(libc::ENOSYS));
        let killing = filter(r#"{"defaultAction":"SCMP_ACT_KILL_PROCESS","syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#);
        assert_eq!(killing(X86_64, 100_000, [0; 6]), KILL);
        let empty = filter(r#"{"defaultAction":"SCMP_ACT_ERRNO"}"#);
        assert_eq!(empty(X86_64, 0, [0; 6]), errno(1));
    }

    #[test]
    fn only_listed_architectures_may_call() {
        let calls = r#""syscalls":[{"names":["read","ioctl"],"action":"SCMP_ACT_ALLOW"}]"#;
        let native = filter(&format!(r#"{{"defaultAction":"SCMP_ACT_ERRNO",{calls}}}"#));
        assert_eq!(native(X86_64, number("read"), [0; 6]), ALLOW);
        assert_eq!(native(I386, number_i386("read"), [0; 6]), KILL);
        assert_eq!(native(X86_64, X32_BIT | number("read"), [0; 6]), KILL);
        assert_eq!(native(X86_64, u32::MAX, [0; 6]), errno(libc::ENOSYS), "a call that a tracer skips");
        let all = filter(&format!(
            r#"{{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],{calls}}}"#
        ));
        assert_eq!(all(I386, number_i386("read"), [0; 6]), ALLOW);
        assert_eq!(all(I386, number_i386("mount"), [0; 6]), errno(1));
        assert_eq!(all(X86_64, X32_BIT | number("read"), [0; 6]), ALLOW);
        assert_eq!(all(X86_64, X32_BIT | 514, [0; 6]), ALLOW, "ioctl has a number of its own");
        assert_eq!(all(X86_64, X32_BIT | number("ioctl"), [0; 6]), errno(1));
        assert_eq!(all(0xc000_00b7, 63, [0; 6]), KILL);
    }

    #[test]
    fn short_arguments_are_compared_without_their_upper_half() {
        let judge = filter(
            r#"{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["personality"],
                "action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}"#,
        );
        assert_eq!(judge(I386, number_i386("personality"), [0xffff_ffff, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(judge(X86_64, number("personality"), [0xffff_ffff, 0, 0, 0, 0, 0]), errno(1));
    }

    /// The default filter against a plain reading of its entries, for every call of the machine.
    #[test]
    fn the_search_finds_what_a_plain_reading_finds() {
        let default = runtime_default(&HashSet::new());
        let compiled = compile(&default).expect("valid");
        let entries = default.syscalls().as_ref().expect("there are entries");
        let newest = entries.iter().flat_map(|entry| entry.names()).filter_map(|name| name.parse::<syscalls::x86_64::Sysno>().ok());
        let newest = newest.map(|call| call.id()).max().expect("known calls");
        let mut longest = 0;
        for call in 0..=syscalls::x86_64::Sysno::last().id() {
            let name = syscalls::x86_64::Sysno::new(call as usize).map_or("", |call| call.name());
            let plain = entries.iter().any(|entry| entry.args().is_none() && entry.names().iter().any(|known| known == name));
            let (answer, steps) = run(compiled.program(), X86_64, call as u32, [u64::MAX; 6]);
            longest = longest.max(steps);
            match name {
                "clone3" => assert_eq!(answer, errno(libc::ENOSYS)),
                "socket" => assert_eq!(answer, ALLOW),
                _ if plain => assert_eq!(answer, ALLOW, "{name}"),
                _ if call > newest => assert_eq!(answer, errno(libc::ENOSYS), "{name}"),
                _ => assert_eq!(answer, errno(libc::EPERM), "{name} ({call})"),
            }
        }
        assert!(longest <= 40, "{longest} instructions for one call");
        assert!(compiled.program().len() < 1000, "{} instructions", compiled.program().len());
    }

    #[test]
    fn the_default_filter_knows_namespaces_hypervisor_sockets_and_personalities() {
        let judge = |capabilities: &[Capability], name: &str, first: u64| {
            let filter = compile(&runtime_default(&capabilities.iter().copied().collect())).expect("valid");
            run(filter.program(), X86_64, number(name), [first, 0, 0, 0, 0, 0]).0
        };
        assert_eq!(judge(&[], "clone", libc::SIGCHLD as u64), ALLOW);
        for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNS, libc::CLONE_NEWCGROUP, libc::CLONE_NEWNET, libc::CLONE_NEWPID] {
            assert_eq!(judge(&[], "clone", flag as u64), errno(1));
            assert_eq!(judge(&[Capability::SysAdmin], "clone", flag as u64), ALLOW);
        }
        assert_eq!(judge(&[], "socket", libc::AF_INET as u64), ALLOW);
        assert_eq!(judge(&[], "socket", libc::AF_VSOCK as u64), errno(1));
        assert_eq!([0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff].map(|persona| judge(&[], "personality", persona)), [ALLOW; 5]);
        assert_eq!(judge(&[], "personality", 0x40_0000), errno(1), "no address randomisation");
        for name in
            ["mount", "unshare", "setns", "bpf", "keyctl", "add_key", "reboot", "kexec_load", "userfaultfd", "io_uring_setup", "swapon"]
        {
            assert_eq!(judge(&[], name, 0), errno(1), "{name}");
        }
        for (capability, name) in [
            (Capability::SysAdmin, "mount"),
            (Capability::SysAdmin, "clone3"),
            (Capability::SysPtrace, "kcmp"),
            (Capability::SysTime, "settimeofday"),
            (Capability::SysChroot, "chroot"),
            (Capability::Bpf, "bpf"),
            (Capability::Syslog, "syslog"),
        ] {
            assert_eq!(judge(&[capability], name, 0), ALLOW, "{name}");
        }
        assert_eq!(judge(&[], "ptrace", 0), ALLOW);
    }
}

#[test]
fn what_cannot_be_compiled_is_refused() {
    let check = |json: &str| compile(&parse(json)).map(|_| ()).map_err(|error| error.to_string());
    assert!(check(r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#).is_err());
    assert!(check(r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_NOTIFY"}]}"#).is_err());
    assert!(check(r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#).is_err());
    assert_eq!(
        check(
            r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO",
                "args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#
        ),
        Err("read: argument index 6 is above 5".into())
    );
    assert_eq!(check(r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["no_such_call"],"action":"SCMP_ACT_ALLOW"}]}"#), Ok(()));
}
