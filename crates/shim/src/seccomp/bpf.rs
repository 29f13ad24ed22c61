//! The few instructions of the kernel's packet filter machine (classic BPF) that filters of system calls are made of.
//!
//! The program reads one record: number and architecture of the call, and its arguments in 64 bits each.

use libc::sock_filter;

/// The number of the call.
pub(super) const NUMBER: u32 = 0;
/// The architecture of the call, as the kernel's audit numbers it.
pub(super) const ARCHITECTURE: u32 = 4;

/// A half of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Low,
    High,
}

/// Where a half of the argument `index` is in the record.
pub(super) fn argument(index: u32, half: Half) -> u32 {
    let first = if cfg!(target_endian = "little") { Half::Low } else { Half::High };
    16 + 8 * index + if half == first { 0 } else { 4 }
}

pub(super) fn load(offset: u32) -> sock_filter {
    instruction(LOAD, 0, 0, offset)
}

pub(super) fn and(mask: u32) -> sock_filter {
    instruction(AND, 0, 0, mask)
}

pub(super) fn answer(action: u32) -> sock_filter {
    instruction(RETURN, 0, 0, action)
}

/// Goes over `distance` instructions.
pub(super) fn jump(distance: usize) -> sock_filter {
    instruction(JUMP, 0, 0, distance as u32)
}

/// Goes over `yes` or `no` instructions.
pub(super) fn if_equal(value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(IF_EQUAL, yes, no, value)
}

/// Goes over `yes` or `no` instructions.
pub(super) fn if_greater(value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(IF_GREATER, yes, no, value)
}

/// Goes over `yes` or `no` instructions.
pub(super) fn if_greater_or_equal(value: u32, yes: u8, no: u8) -> sock_filter {
    instruction(IF_GREATER_OR_EQUAL, yes, no, value)
}

/// `first` if the accumulator is below `limit`, else `second`.
pub(super) fn split(limit: u32, first: Vec<sock_filter>, second: Vec<sock_filter>) -> Vec<sock_filter> {
    let mut code = Vec::with_capacity(first.len() + second.len() + 2);
    match u8::try_from(first.len()) {
        Ok(distance) => code.push(if_greater_or_equal(limit, distance, 0)),
        // Conditional jumps reach 255 instructions, the unconditional one everywhere.
        Err(_) => code.extend([if_greater_or_equal(limit, 0, 1), jump(first.len())]),
    }
    code.extend(first);
    code.extend(second);
    code
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> sock_filter {
    sock_filter { code, jt, jf, k }
}

pub(super) const LOAD: u16 = 0x20;
pub(super) const AND: u16 = 0x54;
pub(super) const RETURN: u16 = 0x06;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_GREATER: u16 = 0x25;
pub(super) const IF_GREATER_OR_EQUAL: u16 = 0x35;
