//! One engine for each pod: the lock that says so, and the socket on which that engine takes requests from others.
//!
//! `usher run` drives its pods itself; `usher rm` in another terminal must not drive them too. Whoever drives a pod holds the lock
//! of its folder and listens there; whoever else wants the pod gone asks on the socket, or takes over if nobody holds the lock. Whoever
//! begins a session with a container tells it there, for the journal.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chronicle::SessionFacts;
use lifecycle::KillPod;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::driver::PodHandle;
use crate::pod_files::{ENGINE_LOCK, ENGINE_SOCKET};

/// A request is one line of JSON; no longer than this: the command of a session is in it.
const REQUEST_MAX_BYTES: u64 = 16 << 10;

/// Nobody is held up for longer because a session is to be told.
const TELL_WITHIN: Duration = Duration::from_secs(2);

/// How often the lock is tried, and the pause between: whoever looks whether it is held, holds it for a moment.
const TRIES: u32 = 3;
const TRY_AGAIN: Duration = Duration::from_millis(1);

/// What may be asked.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
enum Request {
    /// The pod is to go.
    Kill(KillPod),
    /// A session with a container begins, or is over.
    Session {
        /// All that is known of it.
        session: SessionFacts,
    },
}

/// The right to drive a pod, for as long as it is held.
#[derive(Debug)]
pub struct EngineLock {
    _file: File,
}

impl EngineLock {
    /// Takes the right, or says that another engine has it.
    ///
    /// # Errors
    /// When the lock file cannot be made.
    pub fn try_take(pod_dir: &Path) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(lock_path(pod_dir))?;
        for _ in 0..TRIES {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { _file: file })),
                // Somebody may only be looking.
                Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(TRY_AGAIN),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Whether an engine drives the pod right now.
    pub fn is_held(pod_dir: &Path) -> bool {
        let Ok(file) = File::open(lock_path(pod_dir)) else { return false };
        matches!(flock(&file, FlockOperation::NonBlockingLockShared), Err(rustix::io::Errno::WOULDBLOCK))
    }
}

fn lock_path(pod_dir: &Path) -> PathBuf {
    pod_dir.join(ENGINE_LOCK)
}

/// Takes requests for a pod until it is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl ControlSocket {
    /// Listens in the pod's folder. Only root can ask.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen(pod_dir: &Path, handle: PodHandle) -> io::Result<Self> {
        let path = socket_path(pod_dir);
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = UnixListener::bind(&path)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One after the other: a request is a line, and nobody sends many.
                if let Err(error) = serve(stream, &handle).await {
                    tracing::debug!(%error, "a request was not understood");
                }
            }
        });
        Ok(Self { path, task })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, handle: &PodHandle) -> io::Result<()> {
    let by = asker(&stream);
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reading.take(REQUEST_MAX_BYTES)).read_line(&mut line).await?;
    match serde_json::from_str(&line)? {
        Request::Kill(kill) => handle.kill_by(kill, by),
        Request::Session { session } => handle.tell_session(SessionFacts { by: session.by.clone().or(Some(by)), ..session }),
    }
    writing.write_all(b"ok\n").await
}

/// Who is at the other end, in words for the journal.
fn asker(stream: &UnixStream) -> String {
    let Ok(peer) = stream.peer_cred() else { return "somebody on the control socket".to_owned() };
    let name = peer.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
    match (name, peer.pid()) {
        (Some(name), Some(pid)) => format!("{} (process {pid}, user {})", name.trim(), peer.uid()),
        _ => format!("user {}", peer.uid()),
    }
}

/// Asks the engine that drives a pod to have it go; returns when the engine has heard it.
///
/// # Errors
/// When nobody listens, or the engine does not understand.
pub async fn ask_to_kill(pod_dir: &Path, kill: KillPod) -> io::Result<()> {
    ask(pod_dir, &Request::Kill(kill)).await
}

/// Tells the engine that drives a pod of a session, for the journal; returns when it has heard it.
///
/// # Errors
/// When nobody listens, the engine does not understand, or it takes too long.
pub async fn tell_session(pod_dir: &Path, session: SessionFacts) -> io::Result<()> {
    let told = tokio::time::timeout(TELL_WITHIN, ask(pod_dir, &Request::Session { session })).await;
    told.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

async fn ask(pod_dir: &Path, request: &Request) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket_path(pod_dir)).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    stream.take(REQUEST_MAX_BYTES).read_to_string(&mut answer).await?;
    if answer == "ok\n" { Ok(()) } else { Err(io::Error::other("the engine did not understand the request")) }
}

/// Socket addresses hold 107 bytes: a long root is reached through the folder's descriptor instead.
fn socket_path(pod_dir: &Path) -> PathBuf {
    pod_dir.join(ENGINE_SOCKET)
}
