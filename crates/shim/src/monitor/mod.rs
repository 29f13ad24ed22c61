//! The shim process: it holds a pod's containers, and outlives whoever asked for them.
//!
//! One thread, one epoll set. Clients call ([`calls`]), processes write ([`streams`]) and end ([`exits`]), deadlines fall due
//! ([`deadlines`]); each is served at once and to its end, in bounded steps. An exit is on the disk before it is told.
//!
//! What this is not: it knows no pods, hooks or probes, decides nothing about restarts, and reads no specs: those are parsed
//! in the short-lived processes of [`crate::container`], so that its own memory stays at some dozen pages.

mod args;
mod audience;
mod calls;
mod clients;
mod containers;
mod deadlines;
mod execs;
mod exits;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod kills;
mod memory;
mod output;
mod poll;
mod processes;
mod saves;
mod signals;
mod startup;
mod stop;
mod streams;
mod tell;
mod timer;

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::event::Timespec;
use rustix::event::epoll::EventFlags;

pub use args::{MODE, Namespace, ParseArgsError, SHIM_CGROUP_DEFAULT, ShimArgs};
pub use startup::{StartupFailure, StartupFailureReason, StartupReport};

use self::clients::{Accepted, Clients};
use self::containers::Container;
use self::execs::{ExecEntry, Sinks};
use self::poll::{Key, Poll, Source};
use self::signals::SignalFd;
use self::startup::Started;
use self::timer::Timer;
use crate::cgroup::CgroupPath;
use crate::log::{CriLog, LogFile, LogLimits};
use crate::moment::Moment;
use crate::protocol::{ContainerId, ExecId};
use crate::records::{SHIM_LOG, ShimIdentity};

/// The shim's own log: two files of this many bytes at most.
const SHIM_LOG_LIMITS: LogLimits = LogLimits { file_bytes_max: 128 * 1024, files_max: 2 };
/// How long the shim sits idle before it gives memory back, in milliseconds.
const IDLE_MS: u64 = 200;
/// How long new connections wait when no file descriptor is free, in milliseconds.
const ACCEPT_PAUSE_MS: u64 = 500;

/// Runs this process as a shim until it is told to shut down. `args` are the words behind [`MODE`].
///
/// To be called first thing in `main`: no thread may exist, and no file descriptor beyond the standard streams is kept. A
/// client that spawned it learns from its standard output, as [`StartupReport`]s, what became of it.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = match ShimArgs::parse(args) {
        Ok(parsed) => parsed,
        Err(error) => return fail(StartupFailureReason::Arguments, describe(&error)),
    };
    if let Err(error) = startup::detach() {
        return fail(StartupFailureReason::Failed, format!("cannot detach from the caller: {error}"));
    }
    startup::report_forked();
    let started = match startup::start(&parsed) {
        Ok(started) => started,
        Err(error) => return fail(error.reason(), describe(&error)),
    };
    let report = StartupReport::Ready(started.identity.clone());
    let mut monitor = match Monitor::new(parsed.state_dir, started) {
        Ok(monitor) => monitor,
        Err(errno) => return fail(StartupFailureReason::Failed, format!("cannot set up the event loop: {errno}")),
    };
    startup::report(&report);
    if let Err(error) = startup::close_stdio() {
        monitor.complain(format_args!("cannot let go of the caller's streams: {error}"));
    }
    monitor.run()
}

fn fail(reason: StartupFailureReason, message: String) -> ExitCode {
    startup::report(&StartupReport::Failed(StartupFailure { reason, message }));
    ExitCode::FAILURE
}

/// An error with all its causes, in one line.
fn describe(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some messages end with their cause already.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Everything that a shim holds.
#[derive(Debug)]
struct Monitor {
    identity: ShimIdentity,
    state_dir: PathBuf,
    pod_cgroup: CgroupPath,
    poll: Poll,
    listener: UnixListener,
    /// New connections wait until then, for want of file descriptors.
    accept_paused_until: Option<Moment>,
    signals: SignalFd,
    timer: Timer,
    clients: Clients,
    // Boxed, because a node of the map has room for eleven.
    containers: BTreeMap<ContainerId, Box<Container>>,
    execs: BTreeMap<ExecId, Box<ExecEntry>>,
    sinks: Sinks,
    next_key: Key,
    /// The last event that was told.
    sequence: u64,
    /// Exit records that the disk refused are tried again then.
    save_again_at: Option<Moment>,
    shutdown: Option<Shutdown>,
    finished: Option<ExitCode>,
    log: CriLog,
    /// For reading; empty while idle.
    buffer: Vec<u8>,
    /// The state directory's lock, held until the process ends.
    _lock: OwnedFd,
    /// The pid namespace that the containers share; the link to it leads through this descriptor.
    _processes: Option<OwnedFd>,
}

/// A forced shutdown under way.
#[derive(Clone, Copy, Debug)]
struct Shutdown {
    client: Key,
    request: u64,
    give_up_at: Moment,
}

impl Monitor {
    fn new(state_dir: PathBuf, started: Started) -> rustix::io::Result<Self> {
        let poll = Poll::new()?;
        let signals = SignalFd::new().map_err(|error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))?;
        let timer = Timer::new()?;
        poll.add(&started.listener, Source::Listener, EventFlags::IN)?;
        poll.add(&signals, Source::Signals, EventFlags::IN)?;
        poll.add(&timer, Source::Timer, EventFlags::IN)?;
        let mut monitor = Self {
            identity: started.identity,
            pod_cgroup: started.pod_cgroup,
            poll,
            listener: started.listener,
            accept_paused_until: None,
            signals,
            timer,
            clients: Clients::default(),
            containers: BTreeMap::new(),
            execs: BTreeMap::new(),
            sinks: Sinks::default(),
            next_key: Key::FIRST,
            sequence: 0,
            save_again_at: None,
            shutdown: None,
            finished: None,
            log: CriLog::new(LogFile::deferred(&state_dir.join(SHIM_LOG), SHIM_LOG_LIMITS)),
            buffer: Vec::new(),
            state_dir,
            _lock: started.lock,
            _processes: started.processes,
        };
        for complaint in started.complaints {
            monitor.complain(format_args!("{complaint}"));
        }
        Ok(monitor)
    }

    /// Serves until the shutdown.
    fn run(mut self) -> ExitCode {
        let mut may_hold_memory = true;
        loop {
            if let Some(code) = self.finished {
                return code;
            }
            let deadline = self.next_deadline_ns();
            if let Err(errno) = self.timer.arm(deadline) {
                self.complain(format_args!("cannot arm the timer: {errno}"));
            }
            let idle = Timespec { tv_sec: 0, tv_nsec: (IDLE_MS * 1_000_000) as i64 };
            let ready = match self.poll.wait(may_hold_memory.then_some(idle)) {
                Ok(ready) => ready,
                Err(errno) => {
                    // Without the event loop nothing can be kept up; the containers and their records stay as they are.
                    self.complain(format_args!("cannot wait for events: {errno}"));
                    return ExitCode::FAILURE;
                }
            };
            if ready.is_empty() && may_hold_memory {
                self.buffer = Vec::new();
                memory::release();
                may_hold_memory = false;
                continue;
            }
            may_hold_memory = true;
            for source in ready.sources() {
                self.serve(source);
            }
            self.continue_shutdown();
            self.flush_clients();
        }
    }

    fn serve(&mut self, source: Source) {
        match source {
            Source::Listener => self.serve_listener(),
            Source::Signals => self.serve_signals(),
            Source::Timer => {
                self.timer.acknowledge();
                self.serve_deadlines(Moment::now());
            }
            Source::Client(key) => self.serve_client(key),
            Source::ContainerStdout(key) => self.serve_container_output(key, crate::log::Stream::Stdout),
            Source::ContainerStderr(key) => self.serve_container_output(key, crate::log::Stream::Stderr),
            Source::ContainerOom(key) => self.serve_oom(key),
            Source::Audience(key) => self.serve_audience(key),
            Source::ExecStdout(key) => self.serve_exec_output(key, crate::log::Stream::Stdout),
            Source::ExecStderr(key) => self.serve_exec_output(key, crate::log::Stream::Stderr),
            Source::ExecHold(key) => self.release_exec(key),
        }
    }

    fn serve_listener(&mut self) {
        let key = self.new_key();
        match self.clients.accept(std::os::fd::AsFd::as_fd(&self.listener), key, &self.poll) {
            Accepted::Client | Accepted::Nobody => {}
            Accepted::Refused(why) => self.complain(format_args!("a client was turned away: {why}")),
            Accepted::NoRoom(errno) => {
                self.complain(format_args!("a client has to wait: {errno}"));
                self.pause_accepting(Some(Moment::now().plus_ms(ACCEPT_PAUSE_MS)));
            }
        }
    }

    fn serve_signals(&mut self) {
        let mut others = Vec::new();
        self.signals.drain(|signal, sender| others.push((signal, sender)));
        for (signal, sender) in others {
            self.complain(format_args!("signal {signal} from process {sender} is ignored: a shim ends by a shutdown call only"));
        }
        self.reap();
    }

    /// Stops or resumes taking connections.
    fn pause_accepting(&mut self, until: Option<Moment>) {
        let interest = if until.is_some() { EventFlags::empty() } else { EventFlags::IN };
        self.accept_paused_until = until;
        if let Err(errno) = self.poll.modify(&self.listener, Source::Listener, interest) {
            self.complain(format_args!("cannot change what the socket waits for: {errno}"));
        }
    }

    fn new_key(&mut self) -> Key {
        let key = self.next_key;
        self.next_key = key.next();
        key
    }

    /// The buffer to read into. Give it back with [`Self::return_buffer`], so that it is made once in a busy time.
    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(output::READ_BYTES, 0);
        buffer
    }

    fn return_buffer(&mut self, buffer: Vec<u8>) {
        self.buffer = buffer;
    }

    /// Writes an unexpected thing to the shim's own log.
    fn complain(&mut self, what: std::fmt::Arguments<'_>) {
        self.log.note(&what.to_string(), Moment::now());
    }

    fn container_id(&self, key: Key) -> Option<ContainerId> {
        self.containers.values().find(|container| container.key == key).map(|container| container.id.clone())
    }

    fn exec_id(&self, key: Key) -> Option<ExecId> {
        self.execs.values().find(|exec| exec.key == key).map(|exec| exec.id.clone())
    }
}
