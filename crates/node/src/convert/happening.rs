//! What a runtime tells, in the journal's words.

use chronicle::{ChildHandling, Disposition, Happening, MemoryFacts, Moment, SignalHandling};
use runtime::RuntimeEvent;

/// Both clocks at one moment.
pub const fn moment(moment: runtime::Moment) -> Moment {
    Moment { boot_nanos: moment.boot_nanos, wall_nanos: moment.wall_nanos }
}

/// What the journal keeps beside the machine's own events; `None` for what the machine is told.
pub fn happening(event: RuntimeEvent) -> Option<Happening> {
    match event {
        RuntimeEvent::SignalSent { container_id, signal, why, at, handling } => {
            Some(Happening::SignalSent { container_id, signal, why, at: moment(at), handling: handling.map(signal_handling) })
        }
        RuntimeEvent::ExecStarted { exec_id, at } => Some(Happening::ExecStarted { exec_id, at: moment(at) }),
        RuntimeEvent::ExecOutput { exec_id, stream, line, at } => Some(Happening::ExecOutput { exec_id, stream, line, at: moment(at) }),
        RuntimeEvent::OomKilled { container_id, count, at, memory } => {
            let memory = memory.map(|memory| MemoryFacts {
                limit_bytes: memory.limit_bytes,
                usage_bytes: memory.usage_bytes,
                peak_bytes: memory.peak_bytes,
            });
            Some(Happening::OomKilled { container_id, count, at: moment(at), memory })
        }
        RuntimeEvent::ContainerExited { .. } | RuntimeEvent::SandboxLost { .. } => None,
    }
}

fn signal_handling(handling: runtime::SignalHandling) -> SignalHandling {
    let children = handling.children.into_iter();
    let children = children.map(|child| ChildHandling { process: child.process, disposition: disposition(child.disposition) });
    SignalHandling { process: handling.process, disposition: disposition(handling.disposition), children: children.collect() }
}

const fn disposition(disposition: runtime::Disposition) -> Disposition {
    match disposition {
        runtime::Disposition::Handled => Disposition::Handled,
        runtime::Disposition::Ignored => Disposition::Ignored,
        runtime::Disposition::Ends => Disposition::Ends,
        runtime::Disposition::Dropped => Disposition::Dropped,
    }
}
