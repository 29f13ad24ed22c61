//! From the shim's words to the seam's.

use shim::moment::Moment as ShimMoment;
use shim::protocol::SignalNumber;
use shim::records::{self, End, Sender};

use crate::{ChildHandling, ContainerExit, Disposition, MemoryFacts, Moment, SignalHandling};

pub(crate) fn moment(moment: ShimMoment) -> Moment {
    Moment { boot_nanos: moment.boot_ns, wall_nanos: moment.wall_ns }
}

pub(crate) fn container_exit(exit: &records::ContainerExit) -> ContainerExit {
    ContainerExit {
        code: exit.exit_code(),
        signal: match exit.end {
            End::Signaled { signal } => Some(signal.as_raw()),
            End::Exited { .. } | End::NotStarted { .. } => None,
        },
        oom_killed: exit.is_oom_killed(),
        killed_by_runtime: exit.killed_by_shim().is_some_and(|sent| sent.signal == SignalNumber::KILL),
        started_at: exit.started_at.map(moment),
        finished_at: moment(exit.exited_at),
    }
}

pub(crate) fn handling(handling: records::SignalHandling) -> SignalHandling {
    let children = handling.children.into_iter();
    let children = children.map(|child| ChildHandling { process: child.process, disposition: disposition(child.disposition) });
    SignalHandling { process: handling.process, disposition: disposition(handling.disposition), children: children.collect() }
}

const fn disposition(disposition: records::Disposition) -> Disposition {
    match disposition {
        records::Disposition::Handled => Disposition::Handled,
        records::Disposition::Ignored => Disposition::Ignored,
        records::Disposition::Ends => Disposition::Ends,
        records::Disposition::Dropped => Disposition::Dropped,
    }
}

pub(crate) fn memory(memory: shim::protocol::MemoryFacts) -> MemoryFacts {
    let shim::protocol::MemoryFacts { limit_bytes, usage_bytes, peak_bytes } = memory;
    MemoryFacts { limit_bytes, usage_bytes, peak_bytes }
}

/// The reason of a signal to a container's main process; `None` for one that only cleans up behind it.
pub(crate) fn why(sender: Sender, signal: SignalNumber) -> Option<&'static str> {
    match sender {
        Sender::Client if signal == SignalNumber::KILL => Some("kill"),
        Sender::Client => Some("stop"),
        Sender::StopDeadline => Some("deadline"),
        Sender::Shutdown => Some("kill"),
        Sender::ExecTimeout | Sender::ContainerExit => None,
    }
}
