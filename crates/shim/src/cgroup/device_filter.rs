//! The device rules as a program for the kernel (eBPF, type "cgroup device"), for groups of version 2, which have no devices controller.
//!
//! The program goes through the rules from the last to the first and keeps the accesses that no rule has spoken of yet: a rule that
//! denies one of them ends it with "no", a rule that allows takes its accesses away, and when none is left the answer is "yes".

use std::{io, os::fd::AsFd as _, path::Path};

use super::{
    CgroupError,
    devices::{DeviceKind, DeviceRule},
};
use crate::sys;

/// Loads the program and attaches it to the group in `directory`. It stays as long as the group.
pub(super) fn attach(directory: &Path, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let failed = |action: &'static str| move |source: io::Error| CgroupError::io(action, directory, source);
    let program = sys::bpf_load_device_program(&program(rules), c"Apache-2.0").map_err(failed("load device program for"))?;
    let group = std::fs::File::open(directory).map_err(failed("open"))?;
    sys::bpf_attach_device_program(group.as_fd(), program.as_fd()).map_err(failed("attach device program to"))
}

/// The instructions. The kernel passes in register 1 a structure of three 32-bit numbers: access << 16 | kind, major, minor.
pub(super) fn program(rules: &[DeviceRule]) -> Vec<u64> {
    let mut code = vec![
        load(KIND, 0),
        copy(ACCESS, KIND),
        immediate(ALU_AND, KIND, 0xffff),
        immediate(ALU_SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        append_rule(&mut code, rule);
    }
    code.extend(answer(0));
    code
}

fn append_rule(code: &mut Vec<u64>, rule: &DeviceRule) {
    let access = i32::from(rule.access.0);
    let verdict = if rule.allow {
        [immediate(ALU_AND, ACCESS, !access), jump(JUMP_IF_NOT_EQUAL, ACCESS, 0, 2)].into_iter().chain(answer(1)).collect::<Vec<_>>()
    } else {
        let test = [copy(RESULT, ACCESS), immediate(ALU_AND, RESULT, access), jump(JUMP_IF_EQUAL, RESULT, 0, 2)];
        test.into_iter().chain(answer(0)).collect()
    };
    let kind = rule.kind.map(|kind| match kind {
        DeviceKind::Block => 1,
        DeviceKind::Character => 2,
    });
    let tests = [(KIND, kind), (MAJOR, rule.major), (MINOR, rule.minor)];
    let mut left = tests.iter().filter(|(_, wanted)| wanted.is_some()).count();
    for (register, wanted) in tests {
        if let Some(wanted) = wanted {
            left -= 1;
            code.push(jump(JUMP_IF_NOT_EQUAL, register, wanted as i32, (left + verdict.len()) as i16));
        }
    }
    code.extend(verdict);
}

fn answer(value: i32) -> [u64; 2] {
    [immediate(ALU_MOVE, RESULT, value), instruction(EXIT, 0, 0, 0, 0)]
}

fn load(to: u8, offset: i16) -> u64 {
    instruction(LOAD_WORD, to, CONTEXT, offset, 0)
}

fn copy(to: u8, from: u8) -> u64 {
    instruction(ALU_MOVE_REGISTER, to, from, 0, 0)
}

fn immediate(operation: u8, register: u8, value: i32) -> u64 {
    instruction(operation, register, 0, 0, value)
}

/// Comparisons are of 32 bits, so device numbers above 2³¹ are not extended with their sign.
fn jump(condition: u8, register: u8, value: i32, over: i16) -> u64 {
    instruction(condition, register, 0, over, value)
}

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    let [offset_low, offset_high] = offset.to_ne_bytes();
    let [a, b, c, d] = value.to_ne_bytes();
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    u64::from_ne_bytes([code, registers, offset_low, offset_high, a, b, c, d])
}

const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

const LOAD_WORD: u8 = 0x61;
const ALU_AND: u8 = 0x54;
const ALU_SHIFT_RIGHT: u8 = 0x74;
const ALU_MOVE: u8 = 0xb4;
const ALU_MOVE_REGISTER: u8 = 0xbc;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_IF_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::devices::{Access, rules};

    /// Runs the program as the kernel would, for the few instructions that it has.
    fn run(program: &[u64], access: Access, kind: u32, major: u32, minor: u32) -> bool {
        let context = [u32::from(access.0) << 16 | kind, major, minor];
        let mut registers = [0u32; 10];
        let mut next = 0;
        loop {
            let [code, pair, low, high, a, b, c, d] = program[next].to_ne_bytes();
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = i16::from_ne_bytes([low, high]);
            let value = i32::from_ne_bytes([a, b, c, d]) as u32;
            next += 1;
            let skip = match code {
                LOAD_WORD => {
                    assert_eq!(from, usize::from(CONTEXT));
                    registers[to] = context[offset as usize / 4];
                    false
                }
                ALU_AND => {
                    registers[to] &= value;
                    false
                }
                ALU_SHIFT_RIGHT => {
                    registers[to] >>= value;
                    false
                }
                ALU_MOVE => {
                    registers[to] = value;
                    false
                }
                ALU_MOVE_REGISTER => {
                    registers[to] = registers[from];
                    false
                }
                JUMP_IF_EQUAL => registers[to] == value,
                JUMP_IF_NOT_EQUAL => registers[to] != value,
                EXIT => return registers[0] == 1,
                other => panic!("unknown instruction {other:#x}"),
            };
            if skip {
                next += offset as usize;
            }
        }
    }

    fn filter(json: &str) -> impl Fn(Access, u32, u32, u32) -> bool + use<> {
        let bundle: Vec<_> = serde_json::from_str(json).expect("test JSON is valid");
        let program = program(&rules(&bundle).expect("test rules are valid"));
        move |access, kind, major, minor| run(&program, access, kind, major, minor)
    }

    const BLOCK: u32 = 1;
    const CHARACTER: u32 = 2;
    const READ_WRITE: Access = Access(6);

    #[test]
    fn without_rules_only_the_devices_of_every_container_open() {
        let allowed = filter("[]");
        assert!(allowed(READ_WRITE, CHARACTER, 1, 3));
        assert!(allowed(READ_WRITE, CHARACTER, 136, 77));
        assert!(allowed(Access::MAKE, BLOCK, 8, 0));
        assert!(!allowed(Access::READ, BLOCK, 8, 0));
        assert!(!allowed(Access::READ, CHARACTER, 1, 1));
        assert!(!allowed(Access(3), CHARACTER, 1, 1), "make and read together need both");
    }

    #[test]
    fn the_last_rule_that_speaks_of_an_access_decides() {
        let allowed = filter(
            r#"[{"allow":false,"access":"rwm"},{"allow":true,"type":"b","major":8,"minor":0,"access":"rw"},
                {"allow":false,"type":"b","major":8,"access":"w"}]"#,
        );
        assert!(allowed(Access::READ, BLOCK, 8, 0));
        assert!(!allowed(Access::WRITE, BLOCK, 8, 0));
        assert!(!allowed(READ_WRITE, BLOCK, 8, 0));
        assert!(!allowed(Access::READ, BLOCK, 8, 1));
    }

    #[test]
    fn allowed_accesses_of_two_rules_add_up() {
        let allowed =
            filter(r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"r"},{"allow":true,"type":"c","major":10,"access":"w"}]"#);
        assert!(allowed(READ_WRITE, CHARACTER, 10, 229));
        assert!(!allowed(READ_WRITE, CHARACTER, 10, 228));
    }

    #[test]
    fn a_rule_for_everything_opens_everything() {
        let allowed = filter(r#"[{"allow":false,"access":"rwm"},{"allow":true,"access":"rwm"}]"#);
        assert!(allowed(Access::ALL, BLOCK, 8, 0));
        assert!(allowed(Access::ALL, CHARACTER, 4_294_967_295, 1));
    }

    #[test]
    fn malformed_rules_are_refused_with_their_place() {
        let check =
            |json: &str| rules(&serde_json::from_str::<Vec<_>>(json).expect("test JSON is valid")).map_err(|error| error.to_string());
        assert_eq!(check(r#"[{"allow":true,"access":"x"}]"#), Err("devices[0]: access must be of the letters r, w and m".into()));
        assert!(check(r#"[{"allow":true,"type":"c","major":-5}]"#).is_err());
        assert!(check(r#"[{"allow":true,"type":"p"}]"#).is_err());
    }
}
