//! What a process does with a signal, as the kernel knows it: read from `/proc/PID/status` just before the signal is sent.
//!
//! The init of a pid namespace is spared every signal from inside, and from outside all but SIGKILL and SIGSTOP, if it has no
//! handler. That is why a shell as PID 1 swallows the stop signal; nobody can tell afterwards.
//!
//! A thread that waits for signals with `sigwait` has neither a handler nor, for as long as it waits, the signal blocked: it is known
//! by the system call that it is in.

use serde::{Deserialize, Serialize};

use crate::protocol::SignalNumber;

/// What a process does with a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalHandling {
    /// Name of the process, as the kernel has it.
    pub process: String,
    /// What happens to the signal.
    pub disposition: Disposition,
    /// The processes that it started with its main thread, and theirs; at most [`CHILDREN_MAX`]. A shell that swallows the signal
    /// stands in the way of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<ChildHandling>,
}

/// What a process that another one started would do with a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildHandling {
    /// Name of the process, as the kernel has it.
    pub process: String,
    /// What would happen to the signal.
    pub disposition: Disposition,
}

/// What happens to a signal that a process gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// It has a handler, or it waits for the signal.
    Handled,
    /// It asked that the signal be ignored.
    Ignored,
    /// It did nothing about it, so the signal ends it.
    Ends,
    /// It did nothing about it and is PID 1 of its namespace: the kernel drops the signal.
    Dropped,
}

impl SignalHandling {
    /// What the process does with the signal; `None` if it cannot be read, or if no process has a say in it.
    pub(crate) fn of(pid: i32, signal: SignalNumber) -> Option<Self> {
        if signal == SignalNumber::KILL {
            return None;
        }
        let (process, disposition) = of_one(pid, signal)?;
        let children = descendants(pid).into_iter().filter_map(|child| {
            let (process, disposition) = of_one(child, signal)?;
            Some(ChildHandling { process, disposition })
        });
        Some(Self { process, disposition, children: children.collect() })
    }
}

/// So many processes below the main one are told of: enough for the chain from a start script to the program.
const CHILDREN_MAX: usize = 8;

/// Name and handling of one process; nothing is said, rather than something wrong.
fn of_one(pid: i32, signal: SignalNumber) -> Option<(String, Disposition)> {
    let (process, disposition) = parse(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, signal)?;
    match disposition {
        Disposition::Handled | Disposition::Ignored => Some((process, disposition)),
        Disposition::Ends | Disposition::Dropped if has_waiting_thread(pid)? => Some((process, Disposition::Handled)),
        Disposition::Ends | Disposition::Dropped => Some((process, disposition)),
    }
}

fn parse(status: &str, signal: SignalNumber) -> Option<(String, Disposition)> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let bit = 1_u64.checked_shl(u32::try_from(signal.as_raw() - 1).ok()?)?;
    let has = |name: &str| Some(u64::from_str_radix(field(name)?, 16).ok()? & bit != 0);
    let is_first = field("NSpid")?.split_ascii_whitespace().next_back() == Some("1");
    let disposition = match (has("SigCgt")? || has("SigBlk")?, has("SigIgn")?, is_first) {
        (true, ..) => Disposition::Handled,
        (false, true, _) => Disposition::Ignored,
        (false, false, true) => Disposition::Dropped,
        (false, false, false) => Disposition::Ends,
    };
    Some((field("Name")?.to_owned(), disposition))
}

/// The processes below one, the nearest first. Only those that main threads started: whoever is in the way of a signal, a shell or a
/// start script, has no other threads. None where the kernel does not tell.
fn descendants(pid: i32) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    let mut next = 0;
    let mut parent = pid;
    loop {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        let room = CHILDREN_MAX.saturating_sub(found.len());
        found.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<i32>().ok()).take(room));
        let Some(child) = found.get(next) else { return found };
        parent = *child;
        next += 1;
    }
}

/// Whether a thread of the process is in `sigwait` or one of its kin; `None` if the kernel does not tell.
fn has_waiting_thread(pid: i32) -> Option<bool> {
    let waits = libc::SYS_rt_sigtimedwait.to_string();
    let mut is_waiting = false;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let call = std::fs::read_to_string(thread.ok()?.path().join("syscall")).ok()?;
        is_waiting |= call.split_ascii_whitespace().next() == Some(waits.as_str());
    }
    Some(is_waiting)
}

#[cfg(test)]
mod tests {
    use super::{Disposition, SignalHandling, SignalNumber};

    fn status(caught: u64, blocked: u64, ignored: u64, pids: &str) -> String {
        format!("Name:\tsh\nState:\tS\nNSpid:\t{pids}\nSigBlk:\t{blocked:016x}\nSigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n")
    }

    fn disposition(status: &str) -> Option<Disposition> {
        super::parse(status, SignalNumber::TERM).map(|(_, disposition)| disposition)
    }

    #[test]
    fn what_a_process_does_with_a_signal_is_read_from_its_masks() {
        const TERM: u64 = 1 << 14;
        assert_eq!(disposition(&status(TERM, 0, 0, "4711 1")), Some(Disposition::Handled));
        assert_eq!(disposition(&status(0, TERM, 0, "4711 1")), Some(Disposition::Handled));
        assert_eq!(disposition(&status(0, 0, TERM, "4711 1")), Some(Disposition::Ignored));
        assert_eq!(disposition(&status(!TERM, 0, 0, "4711 1")), Some(Disposition::Dropped));
        assert_eq!(disposition(&status(!TERM, 0, 0, "4711 7")), Some(Disposition::Ends));
        assert_eq!(disposition("Name:\tsh\n"), None);
    }

    #[test]
    fn a_thread_that_waits_for_signals_is_seen() {
        let mut child = std::process::Command::new("python3");
        child.args(["-c", "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [15]); print(flush=True); signal.sigwait([15])"]);
        let Ok(mut child) = child.stdout(std::process::Stdio::piped()).spawn() else { return };
        let mut line = [0];
        std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut line).expect("it is about to wait");
        let pid = i32::try_from(child.id()).expect("a pid");
        // Before it waits the signal is blocked, and while it waits the system call is seen: handled at every moment.
        let handling = SignalHandling::of(pid, SignalNumber::TERM).expect("its status is read");
        assert_eq!(handling.disposition, Disposition::Handled);
        child.kill().expect("it is killed");
        child.wait().expect("it is reaped");
    }

    #[test]
    fn what_a_shell_waits_for_is_told_with_it() {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "sh -c 'sleep 1000; :' & echo; wait"]).stdout(std::process::Stdio::piped());
        let mut shell = shell.spawn().expect("a shell");
        let mut line = [0];
        std::io::Read::read_exact(shell.stdout.as_mut().expect("a pipe"), &mut line).expect("its child is there");
        let pid = i32::try_from(shell.id()).expect("a pid");
        let expected = [("sh", Disposition::Ends), ("sleep", Disposition::Ends)];
        // The child becomes `sh`, and starts `sleep`, in its own time; while a shell forks, it blocks every signal.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let handling = SignalHandling::of(pid, SignalNumber::TERM).expect("its status is read");
            if handling.children.iter().map(|child| (child.process.as_str(), child.disposition)).eq(expected) {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "{handling:?}");
        }
        // The nearest first: a shell whose command is killed ends by itself.
        for child in super::descendants(pid) {
            let child = rustix::process::Pid::from_raw(child).expect("a pid");
            rustix::process::kill_process(child, rustix::process::Signal::KILL).expect("it is killed");
        }
        shell.wait().expect("it is reaped");
    }

    #[test]
    fn our_own_masks_are_read() {
        let pid = i32::try_from(std::process::id()).expect("a pid");
        assert!(SignalHandling::of(pid, SignalNumber::TERM).is_some());
        assert_eq!(SignalHandling::of(pid, SignalNumber::KILL), None);
    }
}
