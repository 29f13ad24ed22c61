//! Calls about execs. An exec id is run at most once: whatever comes of it, asking again tells what came of it.

use std::os::fd::OwnedFd;

use super::super::Monitor;
use super::super::containers::{Save, Stage};
use super::super::execs::{Capture, ExecEntry, ExecStage, HANG_UP_MS, Hold, OnRelease, Running};
use super::super::output::output_pipe;
use super::super::poll::{Key, Source};
use super::{Reply, failed, not_found};
use crate::cgroup::CgroupPath;
use crate::container::{self, ExecError, ExecProcess, ExecTarget};
use crate::log::{CriLog, LogFile, LogLimits};
use crate::moment::Moment;
use crate::protocol::{Answer, Event, Exec, ExecId, ExecOutput, Keep, Refusal, RefusalCode};
use crate::records::{End, ExecExit, ExecStarted, OUTPUT_LOG, ProcessIdentity, STARTED_RECORD, Sender};

/// Most execs that are remembered, running or ended, before new ones are refused.
const EXECS_MAX: usize = 256;

/// The standard streams of an exec to be.
struct Streams {
    theirs: container::Stdio,
    capture: Option<Capture>,
}

impl Monitor {
    pub(super) fn exec(&mut self, client: Key, request: Exec) -> Result<Reply, Refusal> {
        if let Some(known) = self.execs.get(&request.exec) {
            return Ok(Answer::Exec(known.status()).into());
        }
        self.check_exec(&request)?;
        let id = request.exec.clone();
        let folder = self.exec_dir(&id);
        if let Err(error) = std::fs::create_dir_all(&folder) {
            // A full disk must not keep a hook from running; its record is tried again at its end.
            self.complain(format_args!("cannot make {}: {error}", folder.display()));
        }
        let key = self.new_key();
        let opened = self.open_exec_streams(client, &request, &folder).and_then(|streams| Ok((streams, self.take_hold(client, &request)?)));
        let (streams, hold) = match opened {
            Ok(opened) => opened,
            Err(refusal) => {
                self.remove_folder(&folder);
                return Err(refusal);
            }
        };
        let mut entry = ExecEntry {
            key,
            id: id.clone(),
            container: request.container.clone(),
            keep: request.keep,
            hold,
            // Replaced below, whatever happens.
            stage: ExecStage::Exited { exit: Box::new(not_started(&request, "it was not run", None)), save: Save::Pending },
            process: None,
            capture: streams.capture,
            last_signal: None,
            killing: None,
        };
        if let Hold::Held(pipe, _) = &entry.hold
            && let Err(errno) = self.poll.add(pipe, Source::ExecHold(key), rustix::event::epoll::EventFlags::empty())
        {
            self.complain(format_args!("cannot watch whether anybody waits for exec {id}: {errno}"));
        }
        match self.run_exec(&request, streams.theirs) {
            Ok((process, running)) => self.begin_exec(&request, entry, process, running),
            Err(error) => {
                let errno = match &error {
                    ExecError::Command(command) => Some(command.errno),
                    ExecError::NotRunning | ExecError::Bundle(_) | ExecError::Step(_) => None,
                };
                entry.capture = None;
                self.execs.insert(id.clone(), Box::new(entry));
                self.tell_exec_exit(&id, not_started(&request, &super::describe_end(&error), errno));
                self.exec_status(&id)
            }
        }
    }

    fn check_exec(&self, request: &Exec) -> Result<(), Refusal> {
        let container = &request.container;
        let Some(target) = self.containers.get(container) else { return Err(not_found("container", container)) };
        if !matches!(target.stage, Stage::Running { .. }) || self.shutdown.is_some() {
            let message = format!("cannot run exec {}: container {container} is not running", request.exec);
            return Err(Refusal::new(RefusalCode::WrongState, message));
        }
        if self.execs.len() >= EXECS_MAX {
            let message = format!("{EXECS_MAX} execs are running or remembered: remove ended ones");
            return Err(Refusal::new(RefusalCode::TooMany, message));
        }
        match request.output {
            ExecOutput::Captured { bytes_max } if bytes_max > ExecOutput::BYTES_MAX_LIMIT => {
                let message = format!("an output cap of {bytes_max} bytes is over {}", ExecOutput::BYTES_MAX_LIMIT);
                Err(Refusal::new(RefusalCode::InvalidArgument, message))
            }
            ExecOutput::Captured { .. } | ExecOutput::Passed | ExecOutput::Terminal => Ok(()),
        }
    }

    fn open_exec_streams(&mut self, client: Key, request: &Exec, folder: &std::path::Path) -> Result<Streams, Refusal> {
        match request.output {
            ExecOutput::Terminal => Ok(Streams { theirs: container::Stdio::Console, capture: None }),
            ExecOutput::Passed => {
                let passed = self.clients.by_key(client).and_then(super::super::clients::Client::take_passed::<3>);
                let Some([stdin, stdout, stderr]) = passed else {
                    let message = format!("exec {} needs three passed file descriptors", request.exec);
                    return Err(Refusal::new(RefusalCode::InvalidArgument, message));
                };
                Ok(Streams { theirs: container::Stdio::Files { stdin, stdout, stderr }, capture: None })
            }
            ExecOutput::Captured { bytes_max } => {
                let opened = super::containers::open_null()
                    .and_then(|stdin| Ok((stdin, output_pipe()?, output_pipe()?)))
                    .map_err(|errno| failed("open the standard streams", &errno))?;
                let (stdin, (stdout, their_stdout), (stderr, their_stderr)) = opened;
                let log = CriLog::new(LogFile::deferred(&folder.join(OUTPUT_LOG), LogLimits::UNLIMITED));
                let capture = Capture { log, stdout: Some(stdout), stderr: Some(stderr), bytes_max: u64::from(bytes_max), bytes_seen: 0 };
                let theirs = container::Stdio::Files { stdin, stdout: their_stdout, stderr: their_stderr };
                Ok(Streams { theirs, capture: Some(capture) })
            }
        }
    }

    fn take_hold(&mut self, client: Key, request: &Exec) -> Result<Hold, Refusal> {
        if request.keep != Keep::WhileHeld {
            return Ok(Hold::NotNeeded);
        }
        let on_release = if request.output == ExecOutput::Terminal { OnRelease::LetEnd } else { OnRelease::Kill };
        let passed = self.clients.by_key(client).and_then(super::super::clients::Client::take_passed::<1>);
        let Some([pipe]) = passed else {
            let message = format!("exec {} needs a passed file descriptor by which it is held", request.exec);
            return Err(Refusal::new(RefusalCode::InvalidArgument, message));
        };
        Ok(Hold::Held(pipe, on_release))
    }

    /// Nobody holds this exec any more: what runs of it ends, and then it is forgotten.
    pub(in super::super) fn release_exec(&mut self, key: Key) {
        let Some(id) = self.exec_id(key) else { return };
        let Some(exec) = self.execs.get_mut(&id) else { return };
        let Hold::Held(pipe, on_release) = std::mem::replace(&mut exec.hold, Hold::Released) else { return };
        let _ = self.poll.remove(&pipe);
        match (&mut exec.stage, on_release) {
            (ExecStage::Running(running), OnRelease::LetEnd) => {
                let until = Moment::now().plus_ms(HANG_UP_MS);
                running.deadline = Some(running.deadline.map_or(until, |deadline| deadline.min(until)));
            }
            (ExecStage::Running(_), OnRelease::Kill) => self.kill_exec(&id, Sender::Client, "whoever began it is gone"),
            (ExecStage::Draining { .. }, _) => {}
            (ExecStage::Exited { .. }, _) => self.forget_released_exec(&id),
        }
    }

    fn run_exec(&self, request: &Exec, stdio: container::Stdio) -> Result<(ExecProcess, Running), ExecError> {
        let target = self.containers.get(&request.container).ok_or(ExecError::NotRunning)?;
        let pidfd = target.pidfd().ok_or(ExecError::NotRunning)?;
        let cgroup: &CgroupPath = target.cgroup.path();
        let exec_target = ExecTarget { pidfd, bundle: &target.bundle, cgroup };
        let process = container::exec(&exec_target, &request.process, request.exec.as_str(), stdio)?;
        let started_at = Moment::now();
        // The leader is ours to reap, so it is there, if only as a zombie: this cannot fail on a machine with `/proc`.
        let identity = ProcessIdentity::of(process.pid()).map_err(|_| ExecError::NotRunning)?;
        let deadline = request.timeout_ms.map(|timeout_ms| started_at.plus_ms(timeout_ms));
        Ok((process, Running { process: identity, started_at, deadline, timed_out: false }))
    }

    fn begin_exec(&mut self, request: &Exec, mut entry: ExecEntry, mut process: ExecProcess, running: Running) -> Result<Reply, Refusal> {
        let id = &request.exec;
        let fds = Vec::from_iter(process.take_console());
        if let Some(capture) = &entry.capture {
            let streams = [(&capture.stdout, Source::ExecStdout(entry.key)), (&capture.stderr, Source::ExecStderr(entry.key))];
            for (fd, source) in streams {
                if let Some(Err(errno)) = fd.as_ref().map(|fd: &OwnedFd| self.poll.add(fd, source, rustix::event::epoll::EventFlags::IN)) {
                    // It runs, so it stays; its output is read when its leader exits.
                    self.complain(format_args!("cannot watch the output of exec {id}: {errno}"));
                }
            }
        }
        entry.process = Some(process);
        entry.stage = ExecStage::Running(running);
        self.execs.insert(id.clone(), Box::new(entry));
        let started =
            ExecStarted { exec: id.clone(), container: request.container.clone(), process: running.process, at: running.started_at };
        let folder = self.exec_dir(id);
        self.record(&folder, STARTED_RECORD, &started);
        self.tell(Event::ExecStarted(started));
        let mut reply = self.exec_status(id)?;
        reply.fds = fds;
        Ok(reply)
    }

    fn exec_status(&self, id: &ExecId) -> Result<Reply, Refusal> {
        let exec = self.execs.get(id).ok_or_else(|| not_found("exec", id))?;
        Ok(Answer::Exec(exec.status()).into())
    }

    pub(super) fn call_kill_exec(&mut self, id: &ExecId, why: &str) -> Result<Reply, Refusal> {
        if !self.execs.contains_key(id) {
            return Err(not_found("exec", id));
        }
        self.kill_exec(id, Sender::Client, why);
        Ok(Answer::Done.into())
    }

    pub(super) fn remove_exec(&mut self, id: &ExecId) -> Result<Reply, Refusal> {
        match self.execs.get(id) {
            None => {}
            Some(exec) if exec.is_exited() => self.forget_exec(id),
            Some(_) => {
                return Err(Refusal::new(RefusalCode::WrongState, format!("exec {id} cannot be removed: it is running")));
            }
        }
        Ok(Answer::Done.into())
    }
}

fn not_started(request: &Exec, message: &str, errno: Option<i32>) -> ExecExit {
    ExecExit {
        exec: request.exec.clone(),
        container: request.container.clone(),
        process: None,
        started_at: None,
        exited_at: Moment::now(),
        end: End::NotStarted { message: message.to_owned(), errno },
        timed_out: false,
        container_exiting: false,
        output_bytes: 0,
        output_truncated: false,
        output_open: false,
        last_signal: None,
    }
}
