//! The streams of a process in a container, on the terminal or the streams of this one.

use std::io::{IsTerminal as _, Read as _, Write};
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use runtime::{ContainerStreams, StreamReader, StreamWriter, StreamsEnd, Terminal, TerminalSize};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Duration;

/// How long a stream may stay silent after the command ended before it is given up: something that the command started may hold it
/// open.
const DRAIN_TIME: Duration = Duration::from_millis(1500);

/// The largest piece carried at once.
const PIECE_BYTES_MAX: usize = 32 * 1024;

/// Whether what is typed can be read here.
pub(crate) fn stdin_is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// Names a command run uniquely, also among those of an engine before this one.
pub(crate) fn exec_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let begun = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("exec-{begun:x}-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// How a container takes input, as its pod says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InputOf {
    pub(crate) stdin: bool,
    pub(crate) stdin_once: bool,
    pub(crate) tty: bool,
}

impl InputOf {
    /// Of one container of the pod, whatever kind it is.
    pub(crate) fn container(pod: &node::Pod, name: &str) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers).filter(|container| container.name == name);
        let ephemeral = spec.ephemeral_containers.iter().flatten().filter(|container| container.name == name);
        let mut inputs = containers
            .map(|container| (container.stdin, container.stdin_once, container.tty))
            .chain(ephemeral.map(|container| (container.stdin, container.stdin_once, container.tty)));
        let (stdin, stdin_once, tty) = inputs.next().unwrap_or_default();
        Self { stdin: stdin.unwrap_or_default(), stdin_once: stdin_once.unwrap_or_default(), tty: tty.unwrap_or_default() }
    }
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// The code of its process; `None` if that lives on, or nobody can tell.
    pub(crate) code: Option<i32>,
}

impl End {
    /// The code with which this process ends.
    pub(crate) fn exit_code(self) -> ExitCode {
        self.code.map_or(ExitCode::SUCCESS, |code| ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX)))
    }
}

/// Carries everything both ways until the process has ended.
pub(crate) async fn carry(streams: ContainerStreams) -> anyhow::Result<End> {
    let ContainerStreams { stdin, stdout, stderr, terminal, exit } = streams;
    let terminal = terminal.filter(|_| stdin_is_terminal());
    let takes_keys = terminal.is_some() && stdin.is_some();
    if let Some(terminal) = terminal {
        follow_size(terminal)?;
    }
    let _raw = if takes_keys { Some(Raw::begin().context("cannot read single keys from the terminal")?) } else { None };
    if let Some(stdin) = stdin {
        tokio::spawn(feed(stdin));
    }
    let (over, is_over) = watch::channel(false);
    let out = tokio::spawn(drain(stdout, |bytes| print(std::io::stdout(), bytes), is_over.clone()));
    let err = tokio::spawn(drain(stderr, |bytes| print(std::io::stderr(), bytes), is_over));
    let ended = exit.await;
    over.send_replace(true);
    if matches!(ended, Ok(StreamsEnd::Detached)) {
        // The container goes on, and its output with it.
        out.abort();
        err.abort();
    }
    let _ = out.await;
    let _ = err.await;
    match ended? {
        StreamsEnd::Exited(code) => Ok(End { code: Some(code) }),
        StreamsEnd::ContainerEnded | StreamsEnd::Detached => Ok(End { code: None }),
    }
}

/// A thread of its own reads: nobody can wait for a terminal and for something else at once.
async fn feed(mut stdin: StreamWriter) {
    let (typed, mut pieces) = mpsc::channel::<Vec<u8>>(1);
    std::thread::spawn(move || {
        let mut buffer = vec![0; PIECE_BYTES_MAX];
        while let Ok(read @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if typed.blocking_send(buffer[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    while let Some(piece) = pieces.recv().await {
        if stdin.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

fn print(mut to: impl Write, bytes: &[u8]) -> std::io::Result<()> {
    to.write_all(bytes)?;
    to.flush()
}

/// Whoever reads our output slowly holds up the reading, and with it the process.
async fn drain(reader: Option<StreamReader>, print: fn(&[u8]) -> std::io::Result<()>, mut is_over: watch::Receiver<bool>) {
    let Some(mut reader) = reader else { return };
    let mut buffer = vec![0; PIECE_BYTES_MAX];
    loop {
        let read = tokio::select! {
            biased;
            read = reader.read(&mut buffer) => read,
            () = silence(&mut is_over) => return,
        };
        let Ok(read @ 1..) = read else { return };
        if tokio::task::block_in_place(|| print(&buffer[..read])).is_err() {
            return;
        }
    }
}

async fn silence(is_over: &mut watch::Receiver<bool>) {
    if is_over.wait_for(|over| *over).await.is_ok() {
        tokio::time::sleep(DRAIN_TIME).await;
    }
}

/// The size of this terminal, if it is one.
pub(crate) fn size() -> Option<TerminalSize> {
    let size = tcgetwinsize(std::io::stdin().as_fd()).ok()?;
    Some(TerminalSize { columns: size.ws_col, rows: size.ws_row })
}

/// Gives the terminal the size of this one, now and whenever it changes.
fn follow_size(terminal: Terminal) -> anyhow::Result<()> {
    let mut changes = signal(SignalKind::window_change()).context("cannot watch the size of the terminal")?;
    tokio::spawn(async move {
        loop {
            if let Some(size) = size()
                && terminal.resize(size).is_err()
            {
                return;
            }
            if changes.recv().await.is_none() {
                return;
            }
        }
    });
    Ok(())
}

/// This terminal without a line discipline of its own, until this is dropped.
struct Raw {
    before: Termios,
}

impl Raw {
    fn begin() -> rustix::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}
