//! A server of its own on a loopback port, with a node that is made up, and kubectl to talk to it.

#![allow(dead_code, reason = "each test binary uses what it needs")]
#![expect(clippy::print_stderr, reason = "skipped tests say so")]

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use server::backend::{Backend, BackendError, Connection, ExecOptions, Exit, LogOptions, PodRef, Reader, Session, Usage, Writer};
use server::{Config, Patience, Server};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// How long any one kubectl may take.
const KUBECTL_TIME: Duration = Duration::from_secs(40);

/// A server that is gone with the test.
pub(crate) struct Scene {
    pub(crate) server: Server,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) kubectl: PathBuf,
}

/// Starts a server.
pub(crate) async fn scene() -> Scene {
    scene_with(Arc::new(MadeUp)).await
}

pub(crate) async fn scene_with(backend: Arc<dyn Backend>) -> Scene {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start(folder.path(), backend).await;
    Scene { server, folder, kubectl: kubectl() }
}

/// Starts a server that waits for its clients for so long.
pub(crate) async fn scene_with_patience(patience: Patience) -> Scene {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = start_with(folder.path(), Arc::new(MadeUp), patience).await;
    Scene { server, folder, kubectl: kubectl() }
}

pub(crate) async fn start(folder: &Path, backend: Arc<dyn Backend>) -> Server {
    start_with(folder, backend, Patience::default()).await
}

pub(crate) async fn start_with(folder: &Path, backend: Arc<dyn Backend>, patience: Patience) -> Server {
    let server = start_unready(folder, backend, patience).await;
    server.ready();
    server
}

/// A server whose engine has not taken up its pods yet.
pub(crate) async fn start_unready(folder: &Path, backend: Arc<dyn Backend>, patience: Patience) -> Server {
    let config = Config {
        folder: folder.join("root"),
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        socket: Some(folder.join("api.sock")),
        node: "here".to_owned(),
        names: Vec::new(),
        backend,
        lives: Arc::new(server::lives::NoLives::default()),
        patience,
        metrics: prometheus::Registry::new(),
        support: api::NodeSupport::default(),
    };
    Server::start(config).await.expect("the server starts")
}

fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from)
}

/// Whether there is a kubectl; says so if not.
pub(crate) fn has_kubectl(test: &str) -> bool {
    let found = std::process::Command::new(kubectl()).args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("SKIP {test}: there is no kubectl; set KUBECTL to its path");
    }
    found
}

/// What a kubectl came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The output of a kubectl that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self.stdout
    }

    /// The errors of a kubectl that must have failed.
    #[track_caller]
    pub(crate) fn failed(self) -> String {
        assert_ne!(self.code, Some(0), "{self:#?}");
        self.stderr
    }
}

impl Scene {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and gives its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a path of text").to_owned()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_as(&self.server.kubeconfig(), arguments)
    }

    pub(crate) fn command_as(&self, kubeconfig: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.kubectl);
        command.arg("--kubeconfig").arg(kubeconfig).arg("--cache-dir").arg(self.path("cache")).args(arguments);
        command.env("HOME", self.folder.path()).env_remove("KUBECONFIG").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs kubectl as the administrator.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments), arguments).await
    }

    /// Runs kubectl as the user who only looks.
    pub(crate) async fn run_read_only(&self, arguments: &[&str]) -> Ran {
        let kubeconfig = self.server.kubeconfig().with_file_name(server::READ_ONLY_KUBECONFIG_FILE);
        finish(self.command_as(&kubeconfig, arguments), arguments).await
    }

    /// Runs kubectl with an input.
    pub(crate) async fn run_with_input(&self, arguments: &[&str], input: &[u8]) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        let feeding = tokio::spawn(async move {
            let _ = stdin.write_all(&input).await;
        });
        let output = tokio::time::timeout(KUBECTL_TIME, child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("kubectl {arguments:?} takes too long")).expect("kubectl runs");
        let _ = feeding.await;
        Ran::of(&output)
    }
}

async fn finish(mut command: Command, arguments: &[&str]) -> Ran {
    let output = tokio::time::timeout(KUBECTL_TIME, command.output()).await;
    Ran::of(&output.unwrap_or_else(|_| panic!("kubectl {arguments:?} takes too long")).expect("kubectl runs"))
}

/// A node whose containers are shells on this machine, and whose ports are those of the loopback.
pub(crate) struct MadeUp;

impl Backend for MadeUp {
    fn logs(&self, _: PodRef, options: LogOptions) -> BoxFuture<'_, Result<Reader, BackendError>> {
        Box::pin(async move {
            if options.previous {
                let message = format!("previous terminated container \"{}\" in pod not found", options.container);
                return Err(BackendError::Invalid(message));
            }
            let lines: Vec<String> = (0..5).map(|line| format!("{} line {line}\n", options.container)).collect();
            let skipped = options.tail_lines.map_or(0, |tail| lines.len().saturating_sub(usize::try_from(tail).expect("few")));
            let (reader, mut writer) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                for line in &lines[skipped..] {
                    let _ = writer.write_all(line.as_bytes()).await;
                    if options.follow {
                        tokio::task::yield_now().await;
                    }
                }
            });
            Ok(Box::new(reader) as Reader)
        })
    }

    fn exec(&self, _: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>> {
        Box::pin(async move { if options.streams.tty { on_terminal(&options) } else { plain(&options) } })
    }

    fn attach(&self, pod: PodRef, options: ExecOptions) -> BoxFuture<'_, Result<Session, BackendError>> {
        let command = ["sh", "-c", "echo attached; cat"].map(ToOwned::to_owned).to_vec();
        self.exec(pod, ExecOptions { command, ..options })
    }

    fn port_forward(&self, _: PodRef, port: u16) -> BoxFuture<'_, Result<Connection, BackendError>> {
        Box::pin(async move {
            let stream =
                tokio::net::TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| BackendError::Failed(error.to_string()))?;
            let (reader, writer) = stream.into_split();
            Ok(Connection { reader: Box::new(reader), writer: Box::new(writer) })
        })
    }

    fn usage(&self, _: Vec<String>) -> BoxFuture<'_, Result<Usage, BackendError>> {
        Box::pin(std::future::ready(Ok(Usage::default())))
    }
}

fn failed(error: &std::io::Error) -> BackendError {
    BackendError::Failed(error.to_string())
}

fn plain(options: &ExecOptions) -> Result<Session, BackendError> {
    let (program, arguments) = options.command.split_first().ok_or_else(|| BackendError::Invalid("no command".to_owned()))?;
    let piped = |wanted: bool| if wanted { Stdio::piped() } else { Stdio::null() };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(piped(options.streams.stdin))
        .stdout(piped(options.streams.stdout))
        .stderr(piped(options.streams.stderr))
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&error))?;
    Ok(Session {
        stdin: child.stdin.take().map(|stdin| Box::new(stdin) as Writer),
        stdout: child.stdout.take().map(|stdout| Box::new(stdout) as Reader),
        stderr: child.stderr.take().map(|stderr| Box::new(stderr) as Reader),
        resize: None,
        exit: Box::pin(async move { exit(child.wait().await) }),
    })
}

fn exit(status: std::io::Result<std::process::ExitStatus>) -> Result<Exit, BackendError> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = status.map_err(|error| failed(&error))?;
    Ok(Exit::Code(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))))
}

/// `script` gives the command a terminal; sizes are told to the test by a file that the command reads.
fn on_terminal(options: &ExecOptions) -> Result<Session, BackendError> {
    let command = options.command.join(" ");
    let inner = ExecOptions {
        command: ["script", "-qefc", &command, "/dev/null"].map(ToOwned::to_owned).to_vec(),
        streams: server::backend::Streams { stdin: true, stderr: false, ..options.streams },
        ..options.clone()
    };
    let mut session = plain(&inner)?;
    let (sizes, mut taken) = tokio::sync::mpsc::channel(4);
    tokio::spawn(async move { while taken.recv().await.is_some() {} });
    session.resize = Some(sizes);
    Ok(session)
}
