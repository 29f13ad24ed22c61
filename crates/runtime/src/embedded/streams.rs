//! Processes with live streams: commands in containers, and the containers themselves.
//!
//! The shim starts them and reports their end; their bytes never pass it. Pipes and terminals are handed over the shim's socket,
//! on a connection that is there only for the call.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use shim::client::{CallError as ShimCallError, ConnectError as ShimConnectError, ShimClient};
use shim::protocol::{Answer, Call, ContainerId, Exec, ExecId, ExecOutput, ExecState, Keep, RefusalCode};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::containers::CALL_WITHIN;
use super::errors::{StepError, chain};
use super::exec::{self, HasTerminal, ProcessFile};
use super::input::Input;
use super::link::{CLIENT_NAME, CallError};
use super::pods::Pod;
use super::story::ExecEnd;
use super::{Inner, blocking};
use crate::streams::{
    AttachRequest, ContainerStreams, StreamReader, StreamWriter, StreamingExecRequest, StreamsEnd, Terminal, WantedStreams,
};
use crate::{Cause, ExecError, RuntimeEvent};

/// How long a command whose terminal hung up may take to end by itself before it is killed.
const HANG_UP_GRACE: Duration = Duration::from_secs(2);

/// Runs a command with live streams.
pub(crate) async fn exec(runtime: &Arc<Inner>, pod: &Arc<Pod>, request: StreamingExecRequest) -> Result<ContainerStreams, ExecError> {
    let (exec, container) = exec::ids(&request.exec_id, &request.container_id)?;
    let begun = begin_exec(runtime, pod, &exec, &container, &request).await;
    let Begun { ours, state, end, hold } =
        begun.map_err(|error| exec::failure(error, exec.as_str(), &request.pod_uid, &request.container_id))?;
    if let ExecState::Exited(exit) = &state {
        exec::check_started(exec.as_str(), &exit.end, &request.container_id)?;
    }
    let (told, exit) = oneshot::channel();
    let watch = ExecWatch { runtime: Arc::clone(runtime), pod: Arc::clone(pod), exec, has_terminal: request.streams.tty, _hold: hold };
    tokio::spawn(watch.run(end, told));
    let uid = request.pod_uid;
    let exit = async move {
        let end: ExecEnd = exit.await.map_err(|_| ExecError::Lost { pod: uid, source: Cause::from(CallError::Lost) })?;
        Ok(StreamsEnd::Exited(end.exit.end.exit_code()))
    };
    let Ours { stdin, stdout, stderr, terminal } = ours;
    let stdin = stdin.map(|input| -> StreamWriter { Box::new(input) });
    Ok(ContainerStreams { stdin, stdout, stderr, terminal, exit: Box::pin(exit) })
}

/// Joins the streams of a container's main process.
pub(crate) async fn attach(runtime: &Arc<Inner>, pod: &Arc<Pod>, request: AttachRequest) -> Result<ContainerStreams, ExecError> {
    let id: ContainerId = request.container_id.parse().map_err(|_| ExecError::NotRunning { container: request.container_id.clone() })?;
    let joined = join(runtime, pod, &id, &request).await;
    let (ours, events) = joined.map_err(|error| exec::failure(error, id.as_str(), &request.pod_uid, &request.container_id))?;
    let Ours { stdin, stdout, stderr, terminal } = ours;
    let (input_ended, is_input_ended) = oneshot::channel();
    let stdin = stdin.map(|input| -> StreamWriter { Box::new(input.telling(input_ended)) });
    let (told, exit) = oneshot::channel();
    let watch =
        AttachWatch { runtime: Arc::clone(runtime), pod: Arc::clone(pod), id, closes_input: request.stdin_once && !request.streams.tty };
    tokio::spawn(watch.run(events, is_input_ended, told));
    let uid = request.pod_uid;
    let exit = async move { exit.await.map_err(|_| ExecError::Lost { pod: uid, source: Cause::from(CallError::Lost) }) };
    Ok(ContainerStreams { stdin, stdout, stderr, terminal, exit: Box::pin(exit) })
}

async fn join(
    runtime: &Arc<Inner>,
    pod: &Arc<Pod>,
    id: &ContainerId,
    request: &AttachRequest,
) -> Result<(Ours, mpsc::UnboundedReceiver<RuntimeEvent>), StepError> {
    let events = pod.link(runtime).await?.listen().await?;
    let wanted = request.streams;
    let input = if wanted.stdin || wanted.tty { open_input(pod, id).await? } else { None };
    let mut ours = match input {
        Some(side) if wanted.tty => Ours::of_terminal(side, wanted)?,
        Some(pipe) => {
            let writer = pipe::Sender::from_owned_fd(pipe).map_err(StepError::part("use the container's input"))?;
            Ours { stdin: Some(Input::new(writer)), ..Ours::default() }
        }
        None => Ours::default(),
    };
    let (stdout, their_stdout) = output()?;
    let (stderr, their_stderr) = output()?;
    call_with_fds(pod, Call::AttachOutput { container: id.clone() }, vec![their_stdout, their_stderr]).await?;
    ours.stdout = stdout.filter(|_| wanted.stdout);
    ours.stderr = stderr.filter(|_| wanted.stderr && !wanted.tty);
    Ok((ours, events))
}

/// The container's input, if it takes any.
async fn open_input(pod: &Pod, id: &ContainerId) -> Result<Option<OwnedFd>, StepError> {
    match call_with_fds(pod, Call::OpenStdin { container: id.clone() }, Vec::new()).await {
        Ok((_, fds)) => Ok(fds.into_iter().next()),
        // It has none, or it is closed; whether the container runs is found when its output is joined.
        Err(StepError::Call(CallError::Refused(refusal))) if refusal.code == RefusalCode::WrongState => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits for the end of a session with a container.
struct AttachWatch {
    runtime: Arc<Inner>,
    pod: Arc<Pod>,
    id: ContainerId,
    closes_input: bool,
}

impl AttachWatch {
    async fn run(
        self,
        mut events: mpsc::UnboundedReceiver<RuntimeEvent>,
        mut input_ended: oneshot::Receiver<()>,
        mut told: oneshot::Sender<StreamsEnd>,
    ) {
        let mut has_input = true;
        let end = loop {
            tokio::select! {
                event = events.recv() => match event {
                    Some(RuntimeEvent::ContainerExited { container_id, .. }) if container_id == self.id.as_str() => {
                        break StreamsEnd::ContainerEnded;
                    }
                    Some(RuntimeEvent::SandboxLost { .. }) | None => break StreamsEnd::ContainerEnded,
                    Some(_) => {}
                },
                ended = &mut input_ended, if has_input => match (ended, self.closes_input) {
                    (Ok(()), true) => {
                        has_input = false;
                        self.close_input().await;
                    }
                    (Ok(()), false) => break StreamsEnd::Detached,
                    // There is none, or the container does not read it.
                    (Err(_), _) => has_input = false,
                },
                () = told.closed() => {
                    if has_input && self.closes_input {
                        // The input is dropped with the rest of the session, or there was none.
                        if input_ended.await.is_ok() {
                            self.close_input().await;
                        }
                    }
                    return;
                }
            }
        };
        let _ = told.send(end);
    }

    // As containerd does: the first session that ends, ends the input.
    async fn close_input(&self) {
        let closed = async {
            self.pod.link(&self.runtime).await?.call(Call::CloseStdin { container: self.id.clone() }, CALL_WITHIN).await?;
            Ok::<_, StepError>(())
        };
        if let Err(error) = closed.await {
            let (pod, container, error) = (self.pod.uid(), &self.id, chain(&error));
            tracing::debug!(pod, %container, error, "the input of a container stays open");
        }
    }
}

/// A command that was begun.
struct Begun {
    ours: Ours,
    state: ExecState,
    end: oneshot::Receiver<ExecEnd>,
    /// While this is open somebody waits for the command. It closes with this process too, however that ends.
    hold: OwnedFd,
}

async fn begin_exec(
    runtime: &Arc<Inner>,
    pod: &Arc<Pod>,
    exec: &ExecId,
    container: &ContainerId,
    request: &StreamingExecRequest,
) -> Result<Begun, StepError> {
    let link = pod.link(runtime).await?;
    let end = link.wait_for_exec(exec.clone()).await?;
    let terminal = if request.streams.tty { HasTerminal::Yes(request.size) } else { HasTerminal::No };
    let process = ProcessFile::write(pod, container, request.command.clone(), terminal).await?;
    let call = Exec {
        exec: exec.clone(),
        container: container.clone(),
        process: process.path().to_owned(),
        timeout_ms: None,
        output: if request.streams.tty { ExecOutput::Terminal } else { ExecOutput::Passed },
        keep: Keep::WhileHeld,
    };
    let (ours, mut theirs) = if request.streams.tty { (Ours::default(), Vec::new()) } else { pipes(request.streams)? };
    let (held, hold) = pipe_with(PipeFlags::CLOEXEC).map_err(StepError::part("make a pipe"))?;
    theirs.push(held);
    let called = call_with_fds(pod, Call::Exec(Box::new(call)), theirs).await;
    process.remove().await;
    let (Answer::Exec(status), fds) = called? else { return Err(CallError::Unexpected.into()) };
    let ours = match fds.into_iter().next() {
        Some(terminal) => Ours::of_terminal(terminal, request.streams)?,
        None => ours,
    };
    Ok(Begun { ours, state: status.state, end, hold })
}

/// Makes a call that passes descriptors, or whose answer does, on a connection of its own.
async fn call_with_fds(pod: &Pod, call: Call, fds: Vec<OwnedFd>) -> Result<(Answer, Vec<OwnedFd>), StepError> {
    let dir = pod.folder.shim_dir(pod.sandbox().await?.shim);
    blocking(move || {
        let mut client = ShimClient::connect(&dir, CLIENT_NAME, CALL_WITHIN).map_err(connect_failure)?;
        let fds: Vec<_> = fds.iter().map(OwnedFd::as_fd).collect();
        client.call_with_fds(call, &fds).map_err(call_failure)
    })
    .await
}

fn connect_failure(error: ShimConnectError) -> StepError {
    StepError::part("reach the shim")(error)
}

fn call_failure(error: ShimCallError) -> StepError {
    match error {
        ShimCallError::Refused(refusal) => CallError::Refused(refusal).into(),
        ShimCallError::TimedOut(within) => CallError::TimedOut(within).into(),
        ShimCallError::Connection(_) => CallError::Lost.into(),
        ShimCallError::Frame(_) | ShimCallError::Encode(_) | ShimCallError::Unexpected(_) => CallError::Unexpected.into(),
    }
}

/// The engine's ends of a process's streams.
#[derive(Default)]
struct Ours {
    stdin: Option<Input>,
    stdout: Option<StreamReader>,
    stderr: Option<StreamReader>,
    terminal: Option<Terminal>,
}

impl Ours {
    fn of_terminal(side: OwnedFd, wanted: WantedStreams) -> Result<Self, StepError> {
        let terminal = Terminal::new(side).map_err(StepError::part("use the terminal"))?;
        let stdin = wanted.stdin.then(|| Input::new(terminal.clone()));
        let stdout = wanted.stdout.then(|| -> StreamReader { Box::new(terminal.clone()) });
        Ok(Self { stdin, stdout, stderr: None, terminal: Some(terminal) })
    }
}

/// Pipes for what is wanted, `/dev/null` for the rest: our ends, and the process's in the order of their numbers.
fn pipes(wanted: WantedStreams) -> Result<(Ours, Vec<OwnedFd>), StepError> {
    let (stdin, their_stdin) = if wanted.stdin { input()? } else { (None, null()?) };
    let (stdout, their_stdout) = if wanted.stdout { output()? } else { (None, null()?) };
    let (stderr, their_stderr) = if wanted.stderr { output()? } else { (None, null()?) };
    Ok((Ours { stdin, stdout, stderr, terminal: None }, vec![their_stdin, their_stdout, their_stderr]))
}

fn input() -> Result<(Option<Input>, OwnedFd), StepError> {
    let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(StepError::part("make a pipe"))?;
    let ours = pipe::Sender::from_owned_fd(ours).map_err(StepError::part("use a pipe"))?;
    Ok((Some(Input::new(ours)), theirs))
}

fn output() -> Result<(Option<StreamReader>, OwnedFd), StepError> {
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(StepError::part("make a pipe"))?;
    let ours = pipe::Receiver::from_owned_fd(ours).map_err(StepError::part("use a pipe"))?;
    Ok((Some(Box::new(ours)), theirs))
}

fn null() -> Result<OwnedFd, StepError> {
    let opened = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null");
    Ok(opened.map_err(StepError::file("open", "/dev/null"))?.into())
}

/// Waits for the end of a command, and for the loss of interest in it.
struct ExecWatch {
    runtime: Arc<Inner>,
    pod: Arc<Pod>,
    exec: ExecId,
    has_terminal: bool,
    _hold: OwnedFd,
}

impl ExecWatch {
    async fn run(self, mut end: oneshot::Receiver<ExecEnd>, mut told: oneshot::Sender<ExecEnd>) {
        let ended = tokio::select! {
            ended = &mut end => ended.ok(),
            () = told.closed() => self.hang_up(end).await,
        };
        // Without an end the shim is gone, and nobody remembers the command.
        let Some(ended) = ended else { return };
        let _ = told.send(ended);
        if let Err(error) = self.forget().await {
            let (pod, exec, error) = (self.pod.uid(), &self.exec, chain(&error));
            tracing::debug!(pod, %exec, error, "a command that has ended stays remembered");
        }
    }

    /// The streams are closed already; a terminal tells its processes by a signal.
    async fn hang_up(&self, mut end: oneshot::Receiver<ExecEnd>) -> Option<ExecEnd> {
        if self.has_terminal
            && let Ok(ended) = tokio::time::timeout(HANG_UP_GRACE, &mut end).await
        {
            return ended.ok();
        }
        if let Err(error) = exec::kill(&self.runtime, &self.pod, self.exec.as_str()).await {
            let (pod, exec, error) = (self.pod.uid(), &self.exec, chain(&error));
            tracing::debug!(pod, %exec, error, "a command that nobody waits for cannot be killed");
        }
        end.await.ok()
    }

    async fn forget(&self) -> Result<(), StepError> {
        self.pod.link(&self.runtime).await?.call(Call::RemoveExec { exec: self.exec.clone() }, CALL_WITHIN).await?;
        Ok(())
    }
}
