//! From OCI `linux.seccomp` to a program.
//!
//! For each architecture there is a binary search over the numbers of its calls. Neighbours with the same answer share a leaf, so a
//! usual filter of 400 names takes some nine comparisons. A leaf is an answer, or the checks of the arguments with an answer each.
//!
//! Of several entries for one call, those with conditions come first, in their order, then the first one without.

use std::{collections::HashMap, io};

use libc::sock_filter;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag, LinuxSeccompOperator, LinuxSyscall};

use super::{
    bpf::{self, Half, answer, argument, if_equal, if_greater, if_greater_or_equal, load},
    tables::{Architecture, X32_BIT},
};
use crate::sys;

/// A program for the kernel.
#[derive(Debug, Clone)]
pub struct Filter {
    program: Vec<sock_filter>,
    flags: u64,
}

/// Why a filter cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileSeccompError {
    /// A supervisor in user space would have to answer.
    #[error("SCMP_ACT_NOTIFY is not supported by this runtime; use another action")]
    Notify,
    /// System calls have six arguments.
    #[error("{call}: argument index {index} is above 5")]
    ArgumentIndex {
        /// The first name of the entry.
        call: String,
        /// As given.
        index: usize,
    },
    /// The kernel passes 16 bits to a tracer, and 12 as error number.
    #[error("errno value {value} is too large")]
    Errno {
        /// As given.
        value: u32,
    },
    /// The kernel takes 4096 instructions.
    #[error("filter is too long: {length} instructions of at most 4096")]
    TooLong {
        /// As compiled.
        length: usize,
    },
}

impl Filter {
    /// Puts the filter on this thread, for good. Needs CAP_SYS_ADMIN or no_new_privs.
    pub fn install(&self) -> io::Result<()> {
        sys::seccomp_set_filter(&self.program, self.flags)
    }

    /// The instructions.
    pub fn program(&self) -> &[sock_filter] {
        &self.program
    }
}

/// Makes the program. Names that no architecture has are passed over: filters name calls of kernels to come.
pub fn compile(seccomp: &LinuxSeccomp) -> Result<Filter, CompileSeccompError> {
    let default = action(seccomp.default_action(), seccomp.default_errno_ret())?;
    let rules = collect(seccomp)?;
    let mut listed: Vec<_> = seccomp.architectures().iter().flatten().filter_map(|&oci| Architecture::from_oci(oci)).collect();
    listed.push(Architecture::NATIVE);
    listed.sort_unstable();
    listed.dedup();
    let unknown = if seccomp.default_action() == LinuxSeccompAction::ScmpActErrno { ERRNO | libc::ENOSYS as u32 } else { default };
    let mut program = vec![load(bpf::ARCHITECTURE)];
    for &architecture in &listed {
        // X32 is judged in the part for x86_64.
        if architecture == Architecture::X32 && listed.contains(&Architecture::X86_64) {
            continue;
        }
        let part = part(architecture, listed.contains(&Architecture::X32), &rules, default, unknown);
        program.extend(match u8::try_from(part.len()) {
            Ok(distance) => vec![if_equal(architecture.audit_number(), 0, distance)],
            Err(_) => vec![if_equal(architecture.audit_number(), 1, 0), bpf::jump(part.len())],
        });
        program.extend(part);
    }
    program.push(answer(KILL_PROCESS));
    if program.len() > INSTRUCTIONS_MAX {
        return Err(CompileSeccompError::TooLong { length: program.len() });
    }
    Ok(Filter { program, flags: flags(seccomp) })
}

/// What is to be done about one call.
#[derive(Debug, Clone, Default)]
struct Rules {
    conditional: Vec<(Vec<LinuxSeccompArg>, u32)>,
    otherwise: Option<u32>,
}

fn collect(seccomp: &LinuxSeccomp) -> Result<HashMap<&str, Rules>, CompileSeccompError> {
    let mut rules: HashMap<&str, Rules> = HashMap::new();
    for entry in seccomp.syscalls().iter().flatten() {
        let action = action(entry.action(), entry.errno_ret())?;
        let alternatives = alternatives(entry)?;
        for name in entry.names() {
            let rules = rules.entry(name).or_default();
            if alternatives.is_empty() {
                rules.otherwise.get_or_insert(action);
            } else {
                rules.conditional.extend(alternatives.iter().map(|conditions| (conditions.clone(), action)));
            }
        }
    }
    Ok(rules)
}

/// All conditions of an entry must hold; but where two of them are about the same argument, one of them is enough, as filters that are
/// in use rely on.
fn alternatives(entry: &LinuxSyscall) -> Result<Vec<Vec<LinuxSeccompArg>>, CompileSeccompError> {
    let Some(conditions) = entry.args().as_ref().filter(|conditions| !conditions.is_empty()) else { return Ok(Vec::new()) };
    let mut counts = [0u8; ARGUMENTS];
    for condition in conditions {
        let Some(count) = counts.get_mut(condition.index()) else {
            let call = entry.names().first().cloned().unwrap_or_default();
            return Err(CompileSeccompError::ArgumentIndex { call, index: condition.index() });
        };
        *count = count.saturating_add(1);
    }
    if counts.iter().any(|&count| count > 1) {
        return Ok(conditions.iter().map(|condition| vec![*condition]).collect());
    }
    Ok(vec![conditions.clone()])
}

fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32, CompileSeccompError> {
    let largest = match action {
        LinuxSeccompAction::ScmpActNotify => return Err(CompileSeccompError::Notify),
        LinuxSeccompAction::ScmpActErrno => ERRNO_MAX,
        LinuxSeccompAction::ScmpActTrace => u32::from(u16::MAX),
        LinuxSeccompAction::ScmpActKill
        | LinuxSeccompAction::ScmpActKillThread
        | LinuxSeccompAction::ScmpActKillProcess
        | LinuxSeccompAction::ScmpActTrap
        | LinuxSeccompAction::ScmpActLog
        | LinuxSeccompAction::ScmpActAllow => return Ok(action.as_u32(None)),
    };
    match errno {
        Some(value) if value > largest => Err(CompileSeccompError::Errno { value }),
        other => Ok(action.as_u32(other)),
    }
}

fn flags(seccomp: &LinuxSeccomp) -> u64 {
    let flag = |flag: &LinuxSeccompFilterFlag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => libc::SECCOMP_FILTER_FLAG_TSYNC,
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => libc::SECCOMP_FILTER_FLAG_LOG,
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
        // It concerns only filters that notify, which are refused.
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => 0,
    };
    seccomp.flags().iter().flatten().map(flag).fold(0, |all, flag| all | flag)
}

/// The judgement of one architecture, and of X32 beside x86_64.
fn part(architecture: Architecture, with_x32: bool, rules: &HashMap<&str, Rules>, default: u32, unknown: u32) -> Vec<sock_filter> {
    let mut leaves = leaves(architecture, rules, default, unknown);
    if architecture == Architecture::X86_64 {
        leaves.retain(|leaf| leaf.first < X32_BIT);
        if with_x32 {
            let mut x32 = self::leaves(Architecture::X32, rules, default, unknown);
            // The numbers below are those of x86_64.
            x32[0].first = X32_BIT;
            x32.retain(|leaf| leaf.first >= X32_BIT);
            leaves.extend(x32);
        } else {
            leaves.push(Leaf { first: X32_BIT, code: vec![answer(KILL_PROCESS)] });
            // What a tracer writes to have a call skipped.
            leaves.push(Leaf { first: u32::MAX, code: vec![answer(unknown)] });
        }
    }
    let mut code = vec![load(bpf::NUMBER)];
    code.extend(search(&leaves));
    code
}

/// All numbers from `first` to the next leaf.
struct Leaf {
    first: u32,
    code: Vec<sock_filter>,
}

/// Covers all numbers from zero on. A number above all that the filter knows is a call of a newer kernel: programs know how to do without
/// when they are told that it does not exist, but not when it is forbidden.
fn leaves(architecture: Architecture, rules: &HashMap<&str, Rules>, default: u32, unknown: u32) -> Vec<Leaf> {
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut add = |first: u32, code: Vec<sock_filter>| {
        if leaves.last().is_none_or(|last| !same_code(&last.code, &code)) {
            leaves.push(Leaf { first, code });
        }
    };
    add(0, vec![answer(default)]);
    let mut next = 0;
    for (number, name) in architecture.calls() {
        let Some(rules) = rules.get(name) else { continue };
        if number > next {
            add(next, vec![answer(default)]);
        }
        add(number, leaf(rules, default, architecture.has_short_arguments()));
        next = number + 1;
    }
    if next > 0 {
        add(next, vec![answer(unknown)]);
    }
    // A leaf at zero that the first call took over is empty.
    if leaves.len() > 1 && leaves[1].first == 0 {
        leaves.remove(0);
    }
    leaves
}

fn same_code(one: &[sock_filter], other: &[sock_filter]) -> bool {
    let fields = |code: &sock_filter| (code.code, code.jt, code.jf, code.k);
    one.iter().map(fields).eq(other.iter().map(fields))
}

fn search(leaves: &[Leaf]) -> Vec<sock_filter> {
    match leaves {
        [] => vec![answer(KILL_PROCESS)],
        [leaf] => leaf.code.clone(),
        _ => {
            let (low, high) = leaves.split_at(leaves.len() / 2);
            bpf::split(high[0].first, search(low), search(high))
        }
    }
}

fn leaf(rules: &Rules, default: u32, short: bool) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for (conditions, action) in &rules.conditional {
        let mut checks = vec![answer(*action)];
        // From the last to the first, because each has to know how far it is to the next rule.
        for condition in conditions.iter().rev() {
            let mut check = check(condition, short, checks.len());
            check.append(&mut checks);
            checks = check;
        }
        code.extend(checks);
    }
    code.push(answer(rules.otherwise.unwrap_or(default)));
    code
}

/// Falls through if the condition holds, else goes over `rest` more instructions behind its end.
fn check(condition: &LinuxSeccompArg, short: bool, rest: usize) -> Vec<sock_filter> {
    let index = condition.index() as u32;
    let value = condition.value();
    let (high, low) = ((value >> 32) as u32, value as u32);
    let load_high = load(argument(index, Half::High));
    let load_low = load(argument(index, Half::Low));
    // At most six conditions of seven instructions follow each other.
    let out = rest as u8;
    let order = |low_test: sock_filter| {
        if short {
            vec![load_low, low_test]
        } else {
            vec![load_high, if_greater(high, 3, 0), if_equal(high, 0, out + 2), load_low, low_test]
        }
    };
    let reverse = |low_test: sock_filter| {
        if short {
            vec![load_low, low_test]
        } else {
            vec![load_high, if_greater(high, out + 3, 0), if_equal(high, 0, 2), load_low, low_test]
        }
    };
    match condition.op() {
        LinuxSeccompOperator::ScmpCmpEq if short => vec![load_low, if_equal(low, 0, out)],
        LinuxSeccompOperator::ScmpCmpEq => vec![load_high, if_equal(high, 0, out + 2), load_low, if_equal(low, 0, out)],
        LinuxSeccompOperator::ScmpCmpNe if short => vec![load_low, if_equal(low, out, 0)],
        LinuxSeccompOperator::ScmpCmpNe => vec![load_high, if_equal(high, 0, 2), load_low, if_equal(low, out, 0)],
        LinuxSeccompOperator::ScmpCmpGe => order(if_greater_or_equal(low, 0, out)),
        LinuxSeccompOperator::ScmpCmpGt => order(if_greater(low, 0, out)),
        LinuxSeccompOperator::ScmpCmpLt => reverse(if_greater_or_equal(low, out, 0)),
        LinuxSeccompOperator::ScmpCmpLe => reverse(if_greater(low, out, 0)),
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let wanted = condition.value_two().unwrap_or(0) & value;
            let low_test = [load_low, bpf::and(low), if_equal(wanted as u32, 0, out)];
            let high_test = [load_high, bpf::and(high), if_equal((wanted >> 32) as u32, 0, out + 3)];
            if short { low_test.into() } else { high_test.into_iter().chain(low_test).collect() }
        }
    }
}

const ARGUMENTS: usize = 6;
const ERRNO: u32 = 0x0005_0000;
const ERRNO_MAX: u32 = 4095;
const KILL_PROCESS: u32 = 0x8000_0000;
/// The kernel's BPF_MAXINSNS.
const INSTRUCTIONS_MAX: usize = 4096;
