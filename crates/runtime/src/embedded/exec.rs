//! Commands in containers: begun once for each id, waited for as often as anybody asks.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use oci_spec::runtime::{BoxBuilder, Process, Spec};
use rustix::fs::{MemfdFlags, memfd_create};
use shim::protocol::{Call, ContainerId, Exec, ExecId, ExecOutput, Keep, RefusalCode, SignalNumber};
use shim::records::{EXECS, End, ExecExit, OUTPUT_LOG, Sender};

use super::containers::CALL_WITHIN;
use super::errors::{ReachError, StepError, Tries, chain};
use super::link::CallError;
use super::output_log::{self, Output};
use super::pod_folder::BUNDLE_CONFIG;
use super::pods::Pod;
use super::story::ExecEnd;
use super::{Inner, blocking, convert};
use crate::{ExecError, ExecRequest, ExecResult, TerminalSize};

/// Ids of commands of which only the latest result matters; see [`ExecRequest::exec_id`].
const RECENT_PREFIX: &str = "probe-";

/// Runs a command, or waits for the one that was begun under this id before.
pub(crate) async fn run(runtime: &Arc<Inner>, pod: &Arc<Pod>, request: ExecRequest) -> Result<ExecResult, ExecError> {
    let (exec, container) = ids(&request.exec_id, &request.container_id)?;
    let (mut tries, mut lost) = (Tries::default(), None);
    let ended = loop {
        match (begin(runtime, pod, &exec, &container, &request).await, lost.take()) {
            (Err(error), _) if tries.again(&error) => lost = Some(error),
            // It was there when the command was begun.
            (Err(StepError::Reach(ReachError::NoSandbox | ReachError::Gone)), Some(error)) => break Err(error),
            (told, _) => break told,
        }
    };
    let end = ended.map_err(|error| failure(error, exec.as_str(), &request.pod_uid, &request.container_id))?;
    check_started(exec.as_str(), &end.exit.end, &request.container_id)?;
    let sandbox = pod.sandbox().await.map_err(|error| ExecError::Lost { pod: request.pod_uid.clone(), source: error.into() })?;
    let log = pod.folder.shim_dir(sandbox.shim).join(EXECS).join(exec.as_str()).join(OUTPUT_LOG);
    let is_cut = end.exit.output_truncated;
    let output = blocking(move || output_log::read(&log, is_cut)).await.unwrap_or_else(|error| {
        tracing::warn!(pod = pod.uid(), exec = %exec, %error, "the output of a command cannot be read");
        Output::default()
    });
    Ok(result(&end, output, request.output_cap))
}

pub(super) fn ids(exec: &str, container: &str) -> Result<(ExecId, ContainerId), ExecError> {
    let ids = exec.parse::<ExecId>().and_then(|exec| Ok((exec, container.parse::<ContainerId>()?)));
    ids.map_err(|error| not_started(&error.to_string()))
}

/// Why a command could not be begun.
pub(super) fn failure(error: StepError, exec: &str, pod: &str, container: &str) -> ExecError {
    let not_running = || ExecError::NotRunning { container: container.to_owned() };
    match error {
        StepError::Call(CallError::Refused(refusal)) => match refusal.code {
            RefusalCode::Command => not_started(&command_failed(exec, &refusal.message)),
            RefusalCode::NotFound | RefusalCode::WrongState => not_running(),
            RefusalCode::NotGreeted
            | RefusalCode::UnknownCall
            | RefusalCode::InvalidArgument
            | RefusalCode::AlreadyExists
            | RefusalCode::TooMany
            | RefusalCode::Failed => not_started(&refusal.message),
        },
        StepError::Reach(ReachError::NoSandbox | ReachError::Gone) => not_running(),
        error @ (StepError::Reach(_) | StepError::Call(_)) => ExecError::Lost { pod: pod.to_owned(), source: error.into() },
        error @ (StepError::File { .. } | StepError::Write(_) | StepError::Read(_) | StepError::Told(_) | StepError::Part { .. }) => {
            not_started(&chain(&error))
        }
    }
}

/// Whether a command came to run before it ended.
pub(super) fn check_started(exec: &str, end: &End, container: &str) -> Result<(), ExecError> {
    match end {
        End::NotStarted { message, .. } if *message == shim::container::ExecError::NotRunning.to_string() => {
            Err(ExecError::NotRunning { container: container.to_owned() })
        }
        End::NotStarted { message, .. } => Err(not_started(&command_failed(exec, message))),
        End::Exited { .. } | End::Signaled { .. } => Ok(()),
    }
}

fn not_started(why: &str) -> ExecError {
    ExecError::NotStarted { message: format!("failed to exec in container: {why}") }
}

fn command_failed(exec: &str, message: &str) -> String {
    format!("failed to start exec {:?}: OCI runtime exec failed: exec failed: unable to start container process: {message}", exec)
}

async fn begin(
    runtime: &Arc<Inner>,
    pod: &Arc<Pod>,
    exec: &ExecId,
    container: &ContainerId,
    request: &ExecRequest,
) -> Result<ExecEnd, StepError> {
    let link = pod.link(runtime).await?;
    let end = link.wait_for_exec(exec.clone()).await?;
    let process = ProcessFile::write(pod, container, request.command.clone(), HasTerminal::No).await?;
    let call = Exec {
        exec: exec.clone(),
        container: container.clone(),
        process: process.path().to_owned(),
        timeout_ms: request.timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        output: ExecOutput::Captured { bytes_max: u32::try_from(request.output_cap).map_or(CAP_MAX, |cap| cap.min(CAP_MAX)) },
        keep: if request.exec_id.starts_with(RECENT_PREFIX) { Keep::Recent } else { Keep::UntilRemoved },
    };
    let answer = link.call(Call::Exec(Box::new(call)), CALL_WITHIN).await;
    process.remove().await;
    answer?;
    end.await.map_err(|_| CallError::Lost.into())
}

const CAP_MAX: u32 = ExecOutput::BYTES_MAX_LIMIT;

/// Whether a command gets a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HasTerminal {
    /// Of this size.
    Yes(Option<TerminalSize>),
    No,
}

/// The file from which the shim reads the process of an exec.
#[derive(Debug)]
pub(super) struct ProcessFile {
    path: PathBuf,
    /// The file is only in memory, and `path` leads to it as long as this is open.
    in_memory: Option<OwnedFd>,
}

impl ProcessFile {
    /// Writes it into the container's folder.
    pub(super) async fn write(pod: &Pod, container: &ContainerId, command: Vec<String>, terminal: HasTerminal) -> Result<Self, StepError> {
        let dir = pod.folder.container_dir(container);
        // Two calls with the same id must not write the same file.
        let path = dir.join(format!("exec-{}-{}.json", std::process::id(), NEXT_FILE.fetch_add(1, Ordering::Relaxed)));
        blocking(move || write_process(&dir, path, command, terminal)).await
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// To be called when the shim has read it. A file that stays does no harm.
    pub(super) async fn remove(self) {
        if self.in_memory.is_none() {
            let _ = blocking(move || fs::remove_file(self.path)).await;
        }
    }
}

static NEXT_FILE: AtomicU64 = AtomicU64::new(0);

/// The process of an exec is the container's own with another command, and with or without a terminal.
fn write_process(container_dir: &Path, path: PathBuf, command: Vec<String>, terminal: HasTerminal) -> Result<ProcessFile, StepError> {
    let config = container_dir.join(BUNDLE_CONFIG);
    let text = match fs::read(&config) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReachError::Gone.into()),
        Err(error) => return Err(StepError::file("read", config)(error)),
    };
    let spec: Spec = serde_json::from_slice(&text).map_err(|error| StepError::file("understand", &config)(error.into()))?;
    let mut process: Process = spec.process().clone().unwrap_or_default();
    process.set_args(Some(command)).set_terminal(Some(terminal != HasTerminal::No)).set_console_size(None);
    if let HasTerminal::Yes(size) = terminal {
        process.set_console_size(size.map(|size| {
            let console = BoxBuilder::default().height(u64::from(size.rows)).width(u64::from(size.columns));
            console.build().expect("both sides are given")
        }));
        let mut env = process.env().clone().unwrap_or_default();
        if !env.iter().any(|variable| variable.starts_with("TERM=")) {
            env.push("TERM=xterm".to_owned());
        }
        process.set_env(Some(env));
    }
    let text = serde_json::to_vec(&process).map_err(|error| StepError::file("encode", &path)(error.into()))?;
    match fs::write(&path, &text) {
        Ok(()) => Ok(ProcessFile { path, in_memory: None }),
        // Hooks and probes must not fail because something else has filled the disk.
        Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            let _ = fs::remove_file(&path);
            in_memory(&text).map_err(StepError::file("write", path))
        }
        Err(error) => Err(StepError::file("write", path)(error)),
    }
}

/// A file that is on no disk. The shim is on the same machine as we, and sees it through our descriptor.
fn in_memory(text: &[u8]) -> io::Result<ProcessFile> {
    let mut file = fs::File::from(memfd_create("usher-exec", MemfdFlags::CLOEXEC)?);
    file.write_all(text)?;
    let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
    Ok(ProcessFile { path, in_memory: Some(file.into()) })
}

fn result(end: &ExecEnd, output: Output, cap: usize) -> ExecResult {
    let exit = &end.exit;
    let (stdout, is_stdout_cut) = capped(&output.stdout, cap);
    let (stderr, is_stderr_cut) = capped(&output.stderr, cap);
    ExecResult {
        exit_code: exit.end.exit_code(),
        timed_out: exit.timed_out,
        killed: is_killed_by_client(exit),
        container_ended: end.container_ended,
        stdout,
        stderr,
        truncated: exit.output_truncated || is_stdout_cut || is_stderr_cut,
        started_at: convert::moment(exit.started_at.unwrap_or(exit.exited_at)),
        finished_at: convert::moment(exit.exited_at),
    }
}

fn is_killed_by_client(exit: &ExecExit) -> bool {
    let by_client = exit.last_signal.as_ref().is_some_and(|sent| sent.by == Sender::Client);
    by_client && exit.end == (End::Signaled { signal: SignalNumber::KILL })
}

/// At most `cap` bytes of text, cut between characters.
fn capped(bytes: &[u8], cap: usize) -> (String, bool) {
    let text = String::from_utf8_lossy(bytes);
    if text.len() <= cap {
        return (text.into_owned(), false);
    }
    let end = (0..=cap).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    (text[..end].to_owned(), true)
}

/// Kills a running exec with its whole process tree. One that has ended is killed, and so is one whose sandbox is gone: whoever ends a
/// sandbox ends all that runs in it.
pub(crate) async fn kill(runtime: &Arc<Inner>, pod: &Arc<Pod>, exec: &str) -> Result<(), StepError> {
    let exec: ExecId = exec.parse().map_err(StepError::part("use the id"))?;
    let call = Call::KillExec { exec, why: "kill".to_owned() };
    let mut tries = Tries::default();
    loop {
        let link = match pod.link(runtime).await {
            Ok(link) => link,
            Err(ReachError::NoSandbox | ReachError::Gone) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        match link.call(call.clone(), CALL_WITHIN).await.map_err(StepError::from) {
            Ok(_) => return Ok(()),
            Err(StepError::Call(CallError::Refused(refusal))) if refusal.code == RefusalCode::WrongState => return Ok(()),
            Err(error) if tries.again(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::capped;

    #[test]
    fn output_is_cut_between_characters() {
        assert_eq!(capped("aé".as_bytes(), 3), ("aé".to_owned(), false));
        assert_eq!(capped("aé".as_bytes(), 2), ("a".to_owned(), true));
        assert_eq!(capped(b"", 0), (String::new(), false));
    }
}
