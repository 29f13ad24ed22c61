//! The story of one sandbox: what its shim tells, put into the order of causes and into the seam's words.
//!
//! Pure: messages of the shim come in with the time, what is to be told comes out of [`Story::poll_told`]. It remembers what is
//! known of every container and exec, so that a new listener gets its account, and so that after a broken connection only
//! the news is told.
//!
//! Invariant: the exit of a container is told before the exits of the execs that died with it. The kernel kills those first,
//! so an exec that was killed and nobody asked for it is held back until it is clear whether its container ends:
//!
//! ```text
//!                    ┌── asked for, or not killed, or its container has ended ──────────────▶ told
//!   exec exited ─────┤
//!                    └── else ──▶ held ──its container's exit is told, or the hold is over──▶ told
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use shim::log::{LineSplitter, Stream};
use shim::moment::Moment as ShimMoment;
use shim::protocol::{ContainerId, ContainerState, ContainerStatus, Event, ExecId, ExecState, ExecStatus, SignalNumber, Snapshot, Target};
use shim::records::{ContainerExit, End, ExecExit, Sender};

use super::convert;
use crate::RuntimeEvent;

/// How long the exit of an exec is held back while its container is known to be ending. Longer only if a process hangs in the
/// kernel.
const HOLD_ENDING: Duration = Duration::from_secs(10);
/// How long it is held back when nothing is known: long enough for the other processes of a killed cgroup to be reaped.
const HOLD_UNCLEAR: Duration = Duration::from_millis(500);

/// Everything that is known of a sandbox.
#[derive(Debug, Default)]
pub(crate) struct Story {
    containers: BTreeMap<ContainerId, ContainerStory>,
    execs: BTreeMap<ExecId, ExecStory>,
    told: VecDeque<Told>,
}

/// Something to be told.
#[derive(Debug)]
pub(crate) enum Told {
    /// To all listeners.
    Event(RuntimeEvent),
    /// To who waits for this exec.
    ExecEnded(Box<ExecEnd>),
}

/// The end of an exec, with its cause cleared up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecEnd {
    /// As the shim told it.
    pub(crate) exit: ExecExit,
    /// It died because its container ended.
    pub(crate) container_ended: bool,
}

#[derive(Debug, Default)]
struct ContainerStory {
    /// SIGKILL is on its way to all of it.
    is_being_killed: bool,
    exit: Option<Box<ContainerExit>>,
}

#[derive(Debug)]
enum ExecStory {
    /// Runs; what it prints is gathered to lines.
    Running(Box<Lines>),
    /// Ended; not told yet.
    Held { exit: Box<ExecExit>, is_ending: bool, until: Instant },
    /// Ended, and told.
    Told(Box<ExecEnd>),
}

#[derive(Debug, Default)]
struct Lines {
    stdout: LineSplitter,
    stderr: LineSplitter,
}

impl Story {
    /// The whole truth, after connecting: whatever is new in it is told.
    pub(crate) fn handle_snapshot(&mut self, snapshot: Snapshot, now: Instant) {
        self.containers.retain(|id, _| snapshot.containers.iter().any(|status| status.container == *id));
        self.execs.retain(|id, _| snapshot.execs.iter().any(|status| status.exec == *id));
        for status in &snapshot.containers {
            self.containers.entry(status.container.clone()).or_default().is_being_killed |= is_being_killed(status);
        }
        let mut exits: Vec<Box<ContainerExit>> = snapshot
            .containers
            .into_iter()
            .filter_map(|status| match status.state {
                ContainerState::Exited(exit) => Some(exit),
                ContainerState::Created | ContainerState::Running { .. } => None,
            })
            .collect();
        exits.sort_by_key(|exit| exit.exited_at);
        for exit in exits {
            self.handle_container_exit(exit);
        }
        for status in snapshot.execs {
            self.handle_exec_status(status, now);
        }
    }

    /// One event.
    pub(crate) fn handle_event(&mut self, event: Event, now: Instant) {
        match event {
            Event::ContainerStarted(started) => drop(self.containers.entry(started.container).or_default()),
            Event::ContainerExited { exit, .. } => self.handle_container_exit(exit),
            Event::SignalSent { target: Target::Container(id), signal } => {
                if signal.signal == SignalNumber::KILL {
                    self.containers.entry(id.clone()).or_default().is_being_killed = true;
                }
                if let Some(why) = convert::why(signal.by, signal.signal) {
                    self.tell(RuntimeEvent::SignalSent {
                        container_id: id.into(),
                        signal: signal.signal.as_raw(),
                        why: why.to_owned(),
                        at: convert::moment(signal.at),
                        handling: signal.handling.map(convert::handling),
                    });
                }
            }
            Event::ExecStarted(started) => self.handle_exec_started(started.exec, started.at),
            Event::ExecOutput { exec, stream, bytes, at } => self.handle_exec_output(&exec, stream, &bytes.0, at),
            Event::ExecExited { exit, .. } => self.handle_exec_exit(exit, now),
            Event::OomKill { container, oom_kills, at, memory } => {
                let (container_id, at, memory) = (container.into(), convert::moment(at), memory.map(convert::memory));
                self.tell(RuntimeEvent::OomKilled { container_id, count: oom_kills, at, memory });
            }
            Event::SignalSent { target: Target::Exec(_), .. } | Event::RecordSaved { .. } => {}
        }
    }

    /// The state of an exec in an answer; it may be ahead of the events.
    pub(crate) fn handle_exec_status(&mut self, status: ExecStatus, now: Instant) {
        match status.state {
            ExecState::Running { started_at, .. } => self.handle_exec_started(status.exec, started_at),
            ExecState::Exited(exit) => {
                if let Some(started_at) = exit.started_at {
                    self.handle_exec_started(status.exec, started_at);
                }
                self.handle_exec_exit(exit, now);
            }
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.release(|_, until| until <= now, |is_ending| is_ending);
    }

    /// The sandbox has died, and everything in it.
    pub(crate) fn handle_lost(&mut self) {
        self.release(|_, _| true, |_| true);
    }

    /// A container was removed, and its execs with it.
    pub(crate) fn forget_container(&mut self, id: &ContainerId) {
        self.containers.remove(id);
        self.execs.retain(|_, exec| match exec {
            ExecStory::Running(_) => true,
            ExecStory::Held { exit, .. } => exit.container != *id,
            ExecStory::Told(end) => end.exit.container != *id,
        });
    }

    /// An exec was removed.
    pub(crate) fn forget_exec(&mut self, id: &ExecId) {
        self.execs.remove(id);
    }

    /// What is to be told next.
    pub(crate) fn poll_told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// When [`Self::handle_timeout`] is due.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.execs
            .values()
            .filter_map(|exec| match exec {
                ExecStory::Held { until, .. } => Some(*until),
                ExecStory::Running(_) | ExecStory::Told(_) => None,
            })
            .min()
    }

    /// The exits of all containers that have ended, in the order in which they ended.
    pub(crate) fn exits(&self) -> Vec<RuntimeEvent> {
        let mut exits: Vec<&ContainerExit> = self.containers.values().filter_map(|container| container.exit.as_deref()).collect();
        exits.sort_by_key(|exit| exit.exited_at);
        exits.into_iter().map(exited).collect()
    }

    /// The end of an exec, if it was told.
    pub(crate) fn exec_end(&self, id: &ExecId) -> Option<&ExecEnd> {
        match self.execs.get(id)? {
            ExecStory::Told(end) => Some(end),
            ExecStory::Running(_) | ExecStory::Held { .. } => None,
        }
    }

    /// Execs whose end was told, oldest first.
    pub(crate) fn ended_execs(&self) -> Vec<ExecId> {
        let mut ended: Vec<_> = self
            .execs
            .iter()
            .filter_map(|(id, exec)| match exec {
                ExecStory::Told(end) => Some((end.exit.exited_at, id.clone())),
                ExecStory::Running(_) | ExecStory::Held { .. } => None,
            })
            .collect();
        ended.sort_unstable();
        ended.into_iter().map(|(_, id)| id).collect()
    }

    /// A container has ended.
    pub(crate) fn handle_container_exit(&mut self, exit: Box<ContainerExit>) {
        let id = exit.container.clone();
        let container = self.containers.entry(id.clone()).or_default();
        if container.exit.is_none() {
            let event = exited(&exit);
            container.exit = Some(exit);
            self.tell(event);
        }
        self.release(|exit, _| exit.container == id, |_| true);
    }

    fn handle_exec_started(&mut self, id: ExecId, at: ShimMoment) {
        if self.execs.contains_key(&id) {
            return;
        }
        self.execs.insert(id.clone(), ExecStory::Running(Box::default()));
        self.tell(RuntimeEvent::ExecStarted { exec_id: id.into(), at: convert::moment(at) });
    }

    fn handle_exec_output(&mut self, id: &ExecId, stream: Stream, bytes: &[u8], at: ShimMoment) {
        if let Some(ExecStory::Running(lines)) = self.execs.get_mut(id) {
            let told = &mut self.told;
            lines.of(stream).feed(bytes, |_, held, new| told.push_back(output(id, stream, held, new, at)));
        }
    }

    fn handle_exec_exit(&mut self, exit: Box<ExecExit>, now: Instant) {
        let id = exit.exec.clone();
        match self.execs.get_mut(&id) {
            Some(ExecStory::Held { .. } | ExecStory::Told(_)) => return,
            Some(ExecStory::Running(lines)) => {
                let told = &mut self.told;
                for stream in [Stream::Stdout, Stream::Stderr] {
                    lines.of(stream).finish(|_, held, new| told.push_back(output(&id, stream, held, new, exit.exited_at)));
                }
            }
            None => {}
        }
        let container = self.containers.get(&exit.container);
        let is_over = container.is_some_and(|container| container.exit.is_some());
        let is_ending = is_over || exit.container_exiting || container.is_some_and(|container| container.is_being_killed);
        match cause(&exit) {
            Cause::Own => self.tell_exec_end(exit, false),
            Cause::Container if is_over => self.tell_exec_end(exit, true),
            Cause::Unclear if is_over => self.tell_exec_end(exit, true),
            Cause::Container => self.hold(exit, true, now + HOLD_ENDING),
            Cause::Unclear if is_ending => self.hold(exit, true, now + HOLD_ENDING),
            Cause::Unclear => self.hold(exit, false, now + HOLD_UNCLEAR),
        }
    }

    fn hold(&mut self, exit: Box<ExecExit>, is_ending: bool, until: Instant) {
        self.execs.insert(exit.exec.clone(), ExecStory::Held { exit, is_ending, until });
    }

    /// Tells held execs, in the order in which they ended.
    fn release(&mut self, is_due: impl Fn(&ExecExit, Instant) -> bool, container_ended: impl Fn(bool) -> bool) {
        let mut due: Vec<(Box<ExecExit>, bool)> = self
            .execs
            .values()
            .filter_map(|exec| match exec {
                ExecStory::Held { exit, is_ending, until } if is_due(exit, *until) => Some((exit.clone(), *is_ending)),
                ExecStory::Held { .. } | ExecStory::Running(_) | ExecStory::Told(_) => None,
            })
            .collect();
        due.sort_by_key(|(exit, _)| exit.exited_at);
        for (exit, is_ending) in due {
            self.tell_exec_end(exit, container_ended(is_ending));
        }
    }

    fn tell_exec_end(&mut self, exit: Box<ExecExit>, container_ended: bool) {
        let end = Box::new(ExecEnd { exit: *exit, container_ended });
        self.execs.insert(end.exit.exec.clone(), ExecStory::Told(end.clone()));
        self.told.push_back(Told::ExecEnded(end));
    }

    fn tell(&mut self, event: RuntimeEvent) {
        self.told.push_back(Told::Event(event));
    }
}

impl Lines {
    fn of(&mut self, stream: Stream) -> &mut LineSplitter {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// What an exec died of, as far as its own exit tells.
enum Cause {
    /// It ended by itself, or it was killed on request.
    Own,
    /// Its container's end.
    Container,
    /// A SIGKILL that nobody asked for.
    Unclear,
}

fn cause(exit: &ExecExit) -> Cause {
    if exit.end != (End::Signaled { signal: SignalNumber::KILL }) {
        return Cause::Own;
    }
    match exit.last_signal.as_ref().map(|sent| sent.by) {
        Some(Sender::Client | Sender::ExecTimeout) => Cause::Own,
        Some(Sender::ContainerExit | Sender::StopDeadline | Sender::Shutdown) => Cause::Container,
        None => Cause::Unclear,
    }
}

fn is_being_killed(status: &ContainerStatus) -> bool {
    status.last_signal.as_ref().is_some_and(|sent| sent.signal == SignalNumber::KILL)
}

fn exited(exit: &ContainerExit) -> RuntimeEvent {
    RuntimeEvent::ContainerExited { container_id: exit.container.clone().into(), exit: convert::container_exit(exit) }
}

fn output(id: &ExecId, stream: Stream, held: &[u8], new: &[u8], at: ShimMoment) -> Told {
    let line = [held, new].concat();
    Told::Event(RuntimeEvent::ExecOutput {
        exec_id: id.clone().into(),
        stream: match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
        .to_owned(),
        line: String::from_utf8_lossy(&line).into_owned(),
        at: convert::moment(at),
    })
}

#[cfg(test)]
mod tests;
