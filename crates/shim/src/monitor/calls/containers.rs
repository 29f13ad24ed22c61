//! Calls about containers.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use super::super::Monitor;
use super::super::audience::{Audience, SINKS_MAX};
use super::super::clients::Client;
use super::super::containers::{Container, Input, OomCount, Stage};
use super::super::output::{input_pipe, output_pipe, set_nonblocking};
use super::super::poll::{Key, Source};
use super::super::stop::{Stop, StopStep};
use super::{Reply, failed, not_found};
use crate::cgroup::{Cgroup, CgroupPath};
use crate::container::{self, CreateContainerError, CreatedContainer, StartContainerError};
use crate::log::{CriLog, LogFile, LogLimits, Stream};
use crate::moment::Moment;
use crate::protocol::{
    Answer, ContainerId, CreateContainer, Event, Refusal, RefusalCode, Rootfs, SignalNumber, Stats, Stdin, Stdio, StopAccepted,
    TerminalSize,
};
use crate::records::{CREATED_RECORD, ContainerCreated, ContainerStarted, End, ProcessIdentity, STARTED_RECORD, Sender};

/// Most containers of one pod that are not removed, ended ones included. A restart is a container of its own.
const CONTAINERS_MAX: usize = 128;
/// How long the removal of a container waits for its last processes to die.
const KILL_WITHIN: std::time::Duration = std::time::Duration::from_millis(200);

/// The standard streams of a container to be: its side and ours.
struct Streams {
    theirs: container::Stdio,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
    input: Input,
}

impl Monitor {
    pub(super) fn create_container(&mut self, request: CreateContainer) -> Result<Reply, Refusal> {
        let cgroup = self.check_create(&request)?;
        let id = request.container.clone();
        let folder = self.container_dir(&id);
        std::fs::create_dir_all(&folder).map_err(|error| failed(format_args!("make {}", folder.display()), &error))?;
        match self.try_create(request, &cgroup, &folder) {
            Ok(container) => {
                let status = container.status();
                self.containers.insert(id, Box::new(container));
                Ok(Answer::Container(status).into())
            }
            Err(refusal) => {
                self.remove_folder(&folder);
                Err(refusal)
            }
        }
    }

    fn check_create(&self, request: &CreateContainer) -> Result<CgroupPath, Refusal> {
        let id = &request.container;
        if self.shutdown.is_some() {
            return Err(Refusal::new(RefusalCode::WrongState, "the shim is shutting down"));
        }
        if self.containers.contains_key(id) {
            return Err(Refusal::new(RefusalCode::AlreadyExists, format!("container {id} exists")));
        }
        if self.containers.len() >= CONTAINERS_MAX {
            let message = format!("the pod has {CONTAINERS_MAX} containers already: remove ended ones");
            return Err(Refusal::new(RefusalCode::TooMany, message));
        }
        check_path("bundle", &request.bundle)?;
        request.runtime.as_ref().map_or(Ok(()), |program| check_path("runtime", program))?;
        check_path("log", &request.log.path)?;
        check_limits(&request.log.limits)?;
        let inside = Path::new(&request.cgroup).strip_prefix(self.pod_cgroup.as_path());
        match CgroupPath::new(&request.cgroup) {
            Ok(cgroup) if inside.is_ok_and(|rest| rest.components().next().is_some()) => Ok(cgroup),
            Ok(_) | Err(_) => Err(invalid(format!(
                "the cgroup {:?} of container {id} is not below the pod's, {:?}",
                request.cgroup,
                self.pod_cgroup.as_path()
            ))),
        }
    }

    fn try_create(&mut self, request: CreateContainer, path: &CgroupPath, folder: &Path) -> Result<Container, Refusal> {
        let id = &request.container;
        let streams = open_streams(request.stdio).map_err(|errno| failed("open the standard streams", &errno))?;
        let core_request =
            container::CreateContainer { id: id.as_str(), bundle: &request.bundle, rootfs: &core_rootfs(request.rootfs), cgroup: path };
        let made = match &request.runtime {
            Some(program) => container::create_by(program, &core_request, streams.theirs),
            None => container::create(&core_request, streams.theirs),
        };
        let mut created = made.map_err(|error| {
            let code = match error {
                CreateContainerError::Command(_) => RefusalCode::Command,
                CreateContainerError::Bundle(_) => RefusalCode::InvalidArgument,
                CreateContainerError::Step(_) => RefusalCode::Failed,
            };
            Refusal::new(code, super::super::describe(&error))
        })?;
        // From here on dropping `created` undoes it.
        let process = ProcessIdentity::of(created.pid()).map_err(|error| failed("identify the container's init", &error))?;
        let stdout = match request.stdio {
            Stdio::Terminal => Some(take_terminal(&mut created)?),
            Stdio::Pipes { .. } => streams.stdout,
        };
        let log =
            LogFile::open(&request.log.path, request.log.limits).map_err(|error| failed(format_args!("log container {id}"), &error))?;
        let cgroup = Cgroup::open(path).map_err(|error| failed("open the container's cgroup", &error))?;
        let key = self.new_key();
        let oom = OomCount { before: cgroup.oom_kills().unwrap_or(0), watch: self.watch_oom(&cgroup, key), told: 0, recheck: None };
        for (fd, source) in [(&stdout, Source::ContainerStdout(key)), (&streams.stderr, Source::ContainerStderr(key))] {
            if let Some(fd) = fd {
                self.watch_output(fd, source).map_err(|errno| failed("watch the container's output", &errno))?;
            }
        }
        let at = Moment::now();
        let record = ContainerCreated { container: id.clone(), process, cgroup: request.cgroup, at };
        self.record(folder, CREATED_RECORD, &record);
        Ok(Container {
            key,
            id: request.container,
            bundle: request.bundle,
            cgroup,
            process,
            created_at: at,
            clamped: created.clamped().to_vec(),
            stage: Stage::Created(created),
            stop: Stop::default(),
            last_signal: None,
            killing: None,
            log: CriLog::new(log),
            stdout,
            stderr: streams.stderr,
            held: BTreeSet::new(),
            audience: Audience::default(),
            input: streams.input,
            oom,
        })
    }

    /// A container whose memory cannot be watched still has its count read at the exit.
    fn watch_oom(&mut self, cgroup: &Cgroup, key: Key) -> Option<crate::cgroup::OomWatch> {
        let watch = match cgroup.watch_oom() {
            Ok(watch) => watch?,
            Err(error) => {
                self.complain(format_args!("{}", super::super::describe(&error)));
                return None;
            }
        };
        match self.poll.add(&watch, Source::ContainerOom(key), watch.interest()) {
            Ok(()) => Some(watch),
            Err(errno) => {
                self.complain(format_args!("cannot watch a container's memory: {errno}"));
                None
            }
        }
    }

    pub(super) fn start_container(&mut self, id: &ContainerId) -> Result<Reply, Refusal> {
        let container = self.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        let created = match std::mem::replace(&mut container.stage, Stage::Starting) {
            Stage::Created(created) => created,
            other @ (Stage::Starting | Stage::Running { .. } | Stage::Exited { .. }) => {
                container.stage = other;
                return Err(wrong_state(id, container, "started"));
            }
        };
        let process = container.process;
        match created.start() {
            Ok(running) => {
                let at = Moment::now();
                container.stage = Stage::Running { pidfd: running.into_pidfd(), started_at: at };
                let started = ContainerStarted { container: id.clone(), process, at };
                let folder = self.container_dir(id);
                self.record(&folder, STARTED_RECORD, &started);
                self.tell(Event::ContainerStarted(started));
            }
            Err(error) => {
                let errno = match &error {
                    StartContainerError::Command(command) => Some(command.errno),
                    StartContainerError::Step(_) => None,
                };
                let end = End::NotStarted { message: super::describe_end(&error), errno };
                self.end_container(id, end, Moment::now());
            }
        }
        self.status_of(id)
    }

    fn status_of(&self, id: &ContainerId) -> Result<Reply, Refusal> {
        let container = self.containers.get(id).ok_or_else(|| not_found("container", id))?;
        Ok(Answer::Container(container.status()).into())
    }

    pub(super) fn call_signal_container(&mut self, id: &ContainerId, signal: SignalNumber, why: &str) -> Result<Reply, Refusal> {
        let container = self.containers.get(id).ok_or_else(|| not_found("container", id))?;
        if !matches!(container.stage, Stage::Running { .. }) {
            return Err(wrong_state(id, container, "signalled"));
        }
        self.signal_container(id, signal, Sender::Client, why)
            .map_err(|errno| failed(format_args!("send {signal} to container {id}"), &errno))?;
        Ok(Answer::Done.into())
    }

    pub(super) fn stop_container(&mut self, id: &ContainerId, signal: SignalNumber, timeout_ms: u64, why: &str) -> Result<Reply, Refusal> {
        let container = self.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        // A container whose command does not run yet has nothing to end in grace.
        let timeout_ms = match container.stage {
            Stage::Running { .. } => timeout_ms,
            Stage::Created(_) => 0,
            Stage::Starting | Stage::Exited { .. } => return Err(wrong_state(id, container, "stopped")),
        };
        let now = Moment::now();
        match container.stop.handle_request(signal, timeout_ms, why, now) {
            StopStep::Signal(signal) => match self.signal_container(id, signal, Sender::Client, why) {
                // It has just ended and is about to be reaped: as good as stopped.
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                // The deadline is armed all the same.
                Err(errno) => self.complain(format_args!("cannot send {signal} to container {id}: {errno}")),
            },
            StopStep::Wait => {}
            StopStep::Kill => self.kill_container(id, Sender::Client, why),
        }
        let stop = &self.containers.get(id).ok_or_else(|| not_found("container", id))?.stop;
        Ok(Answer::Stopping(StopAccepted {
            deadline: stop.deadline().map_or(now, |deadline| deadline.at),
            signaled_at: stop.signaled_at().unwrap_or(now),
        })
        .into())
    }

    pub(super) fn call_kill_container(&mut self, id: &ContainerId, why: &str) -> Result<Reply, Refusal> {
        let container = self.containers.get(id).ok_or_else(|| not_found("container", id))?;
        if container.is_exited() {
            return Err(wrong_state(id, container, "killed"));
        }
        self.kill_container(id, Sender::Client, why);
        Ok(Answer::Done.into())
    }

    pub(super) fn remove_container(&mut self, id: &ContainerId) -> Result<Reply, Refusal> {
        let Some(container) = self.containers.get(id) else { return Ok(Answer::Done.into()) };
        if matches!(container.stage, Stage::Running { .. } | Stage::Starting) {
            return Err(wrong_state(id, container, "removed"));
        }
        if container.is_exited() && container.cgroup.is_populated().unwrap_or(false) {
            container.cgroup.kill_all(KILL_WITHIN).map_err(|error| failed(format_args!("kill what is left of container {id}"), &error))?;
        }
        if let Some(mut container) = self.containers.remove(id) {
            // Dropping a created container kills and reaps it.
            drop(container.stage);
            self.close_output(container.stdout.filter(|_| !container.held.contains(&Stream::Stdout)));
            self.close_output(container.stderr.filter(|_| !container.held.contains(&Stream::Stderr)));
            container.audience.close(&self.poll);
            if let Err(error) = container.cgroup.remove() {
                self.complain(format_args!("container {id} leaves its cgroup: {}", super::super::describe(&error)));
            }
            for client in self.clients.iter_mut() {
                client.follows.retain(|key| *key != container.key);
            }
        }
        let execs: Vec<_> = self.execs.values().filter(|exec| exec.container == *id).map(|exec| exec.id.clone()).collect();
        for exec in execs {
            self.forget_exec(&exec);
        }
        self.sinks.remove_container(id);
        let folder = self.container_dir(id);
        self.remove_folder(&folder);
        Ok(Answer::Done.into())
    }

    pub(super) fn reopen_log(&mut self, id: &ContainerId) -> Result<Reply, Refusal> {
        let container = self.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        container.log.file_mut().reopen().map_err(|error| failed("reopen the log", &error))?;
        Ok(Answer::Done.into())
    }

    pub(super) fn set_log_limits(&mut self, id: &ContainerId, limits: LogLimits) -> Result<Reply, Refusal> {
        check_limits(&limits)?;
        let container = self.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        container.log.file_mut().set_limits(limits);
        Ok(Answer::Done.into())
    }

    pub(super) fn resize_terminal(&mut self, id: &ContainerId, size: TerminalSize) -> Result<Reply, Refusal> {
        let container = self.containers.get(id).ok_or_else(|| not_found("container", id))?;
        container.resize(size).map_err(|errno| failed(format_args!("resize the terminal of container {id}"), &errno))?;
        Ok(Answer::Done.into())
    }

    pub(super) fn stats(&self) -> Vec<Stats> {
        let living = self.containers.values().filter(|container| !container.is_exited());
        living
            .filter_map(|container| {
                let stats = container.cgroup.stats().ok()?;
                Some(Stats {
                    container: container.id.clone(),
                    at: Moment::now(),
                    cpu_usage_nanos: stats.cpu_usage_nanos,
                    memory_usage_bytes: stats.memory_usage_bytes,
                    memory_working_set_bytes: stats.memory_working_set_bytes,
                    memory_rss_bytes: stats.memory_rss_bytes,
                    pids: stats.pids,
                })
            })
            .collect()
    }

    pub(super) fn open_stdin(&mut self, id: &ContainerId) -> Result<Reply, Refusal> {
        let container = self.containers.get(id).ok_or_else(|| not_found("container", id))?;
        let fd = match (&container.input, &container.stdout) {
            (Input::Pipe(pipe), _) => pipe,
            (Input::Terminal, Some(terminal)) => terminal,
            (Input::Terminal | Input::None, _) => return Err(wrong_state(id, container, "written to: its stdin is closed")),
        };
        let copy = rustix::io::fcntl_dupfd_cloexec(fd, 0).map_err(|errno| failed("pass the container's stdin", &errno))?;
        Ok(Reply { answer: Answer::Done, fds: vec![copy] })
    }

    pub(super) fn close_stdin(&mut self, id: &ContainerId) -> Result<Reply, Refusal> {
        let container = self.containers.get_mut(id).ok_or_else(|| not_found("container", id))?;
        match container.input {
            Input::Pipe(_) => container.input = Input::None,
            // A terminal is closed by writing its end-of-file character, which is the client's to do.
            Input::Terminal | Input::None => {}
        }
        Ok(Answer::Done.into())
    }

    pub(super) fn follow_output(&mut self, client: Key, id: &ContainerId) -> Result<Reply, Refusal> {
        let key = self.containers.get(id).ok_or_else(|| not_found("container", id))?.key;
        if let Some(client) = self.clients.by_key(client)
            && !client.follows.contains(&key)
        {
            client.follows.push(key);
        }
        Ok(Answer::Done.into())
    }

    pub(super) fn attach_output(&mut self, client: Key, id: &ContainerId) -> Result<Reply, Refusal> {
        let Some([stdout, stderr]) = self.clients.by_key(client).and_then(Client::take_passed::<2>) else {
            return Err(invalid(format!("the output of container {id} needs two passed file descriptors")));
        };
        let keys = [self.new_key(), self.new_key()];
        let Some((id, mut container)) = self.containers.remove_entry(id) else { return Err(not_found("container", id)) };
        let attached = if container.is_exited() {
            Err(wrong_state(&id, &container, "attached to"))
        } else if container.audience.len() + keys.len() > SINKS_MAX {
            Err(Refusal::new(RefusalCode::TooMany, format!("{SINKS_MAX} pipes take the output of container {id}: close some")))
        } else {
            let pipes = [(keys[0], Stream::Stdout, stdout), (keys[1], Stream::Stderr, stderr)];
            let mut added = pipes.into_iter().map(|(key, stream, pipe)| container.audience.add(key, stream, pipe, &self.poll));
            added.try_for_each(|added| added).map_err(|errno| failed("use the passed file descriptors", &errno))
        };
        self.settle_audience(&mut container);
        self.containers.insert(id, container);
        attached.map(|()| Answer::Done.into())
    }

    pub(super) fn unfollow_output(&mut self, client: Key, id: &ContainerId) -> Result<Reply, Refusal> {
        let key = self.containers.get(id).ok_or_else(|| not_found("container", id))?.key;
        if let Some(client) = self.clients.by_key(client) {
            client.follows.retain(|followed| *followed != key);
        }
        Ok(Answer::Done.into())
    }
}

fn open_streams(stdio: Stdio) -> rustix::io::Result<Streams> {
    match stdio {
        Stdio::Terminal => Ok(Streams { theirs: container::Stdio::Console, stdout: None, stderr: None, input: Input::Terminal }),
        Stdio::Pipes { stdin } => {
            let (stdin, input) = match stdin {
                Stdin::Null => (open_null()?, Input::None),
                Stdin::Open => {
                    let (read, write) = input_pipe()?;
                    (read, Input::Pipe(write))
                }
            };
            let (stdout, their_stdout) = output_pipe()?;
            let (stderr, their_stderr) = output_pipe()?;
            let theirs = container::Stdio::Files { stdin, stdout: their_stdout, stderr: their_stderr };
            Ok(Streams { theirs, stdout: Some(stdout), stderr: Some(stderr), input })
        }
    }
}

pub(super) fn open_null() -> rustix::io::Result<OwnedFd> {
    match File::open("/dev/null") {
        Ok(file) => Ok(file.into()),
        Err(error) => Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)),
    }
}

fn take_terminal(created: &mut CreatedContainer) -> Result<OwnedFd, Refusal> {
    let Some(terminal) = created.take_console() else {
        return Err(invalid("the bundle's process has no terminal, but one is asked for"));
    };
    set_nonblocking(terminal.as_fd()).map_err(|errno| failed("prepare the terminal", &errno))?;
    Ok(terminal)
}

fn core_rootfs(rootfs: Rootfs) -> container::Rootfs {
    match rootfs {
        Rootfs::Path(path) => container::Rootfs::Path(path),
        Rootfs::Overlay { lower, upper, work } => container::Rootfs::Overlay { lower, upper, work },
    }
}

fn check_path(what: &str, path: &PathBuf) -> Result<(), Refusal> {
    let has_dots = path.components().any(|part| part == Component::ParentDir);
    if path.is_absolute() && !has_dots && path.file_name().is_some() {
        Ok(())
    } else {
        Err(invalid(format!("the {what} path {path:?} must be absolute, without '..', and name a file or folder")))
    }
}

fn check_limits(limits: &LogLimits) -> Result<(), Refusal> {
    if limits.is_valid() { Ok(()) } else { Err(invalid(format!("{limits:?}: a log needs a size above 0 and 2 to 1000 files"))) }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::InvalidArgument, message)
}

fn wrong_state(id: &ContainerId, container: &Container, action: &str) -> Refusal {
    let state = match container.stage {
        Stage::Created(_) | Stage::Starting => "has not been started",
        Stage::Running { .. } => "is running",
        Stage::Exited { .. } => "has exited",
    };
    Refusal::new(RefusalCode::WrongState, format!("container {id} cannot be {action}: it {state}"))
}
