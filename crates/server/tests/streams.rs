//! Logs, terminals and tunnels, with a real kubectl and a node that is made up.

mod support;

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use support::{Scene, has_kubectl, scene};

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: main, image: x}
";

const TWO: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: two}
spec:
  containers:
  - {name: a, image: x}
  - {name: b, image: x}
";

/// Turns kubectl from WebSocket to SPDY.
const NO_WEBSOCKETS: [(&str, &str); 2] = [("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false"), ("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")];

async fn with_pods() -> Scene {
    let scene = scene().await;
    let file = scene.file("pods.yaml", &[POD, TWO].join("---\n"));
    scene.run(&["apply", "-f", &file]).await.ok();
    let client = scene.server.client();
    for name in ["web", "two"] {
        let pod = client.pod("default", name).expect("there");
        let mut status = pod.status.clone().unwrap_or_default();
        status.phase = Some("Running".to_owned());
        client.set_status("default", name, &pod.metadata.uid.unwrap_or_default(), &status).await.expect("set");
    }
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_from_the_container_that_is_meant() {
    if !has_kubectl("logs_come_from_the_container_that_is_meant") {
        return;
    }
    let scene = with_pods().await;
    assert_eq!(scene.run(&["logs", "web", "--tail=2"]).await.ok(), "main line 3\nmain line 4\n");
    assert_eq!(scene.run(&["logs", "two", "-c", "b", "-f", "--tail=1"]).await.ok(), "b line 4\n");
    let error = scene.run(&["logs", "two", "-c", "z"]).await.failed();
    assert!(error.contains("container z is not valid for pod two"), "{error}");
    let error = scene.run(&["logs", "web", "--previous"]).await.failed();
    assert!(error.contains("previous terminated container \"main\" in pod not found"), "{error}");
    let error = scene.run_read_only(&["logs", "web"]).await.failed();
    assert!(error.contains("cannot get resource \"pods/log\""), "{error}");
}

async fn exec_carries_streams_and_exit_codes(environment: &[(&str, &str)]) {
    let scene = with_pods().await;
    let run = async |arguments: &[&str], input: &'static [u8]| {
        let mut command = scene.command(arguments);
        command.envs(environment.iter().copied()).stdin(Stdio::piped());
        let mut child = command.spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        let feeding = tokio::spawn(async move {
            let _ = stdin.write_all(input).await;
        });
        let output = tokio::time::timeout(Duration::from_secs(30), child.wait_with_output()).await;
        let output = output.unwrap_or_else(|_| panic!("{arguments:?} takes too long")).expect("kubectl runs");
        feeding.await.expect("fed");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, out, err) = run(&["exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"], b"").await;
    assert_eq!((code, out.as_str()), (Some(7), "out\n"), "{err}");
    assert!(err.starts_with("err\n") && err.contains("exit code 7"), "{err}");
    let (code, out, err) = run(&["exec", "-i", "web", "--", "cat"], b"hello").await;
    assert_eq!((code, out.as_str()), (Some(0), "hello"), "{err}");
    let (code, out, err) = run(&["exec", "web", "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"], b"").await;
    assert_eq!((code, out.len()), (Some(0), 3_000_000), "{err}");
    let (code, _, err) = run(&["exec", "web", "--", "/no/such/program"], b"").await;
    assert_ne!(code, Some(0), "{err}");
    let (code, _, err) = run(&["exec", "nothing", "--", "true"], b"").await;
    assert_eq!(code, Some(1));
    assert!(err.contains("pods \"nothing\" not found"), "{err}");
    let (code, out, err) = run(&["attach", "-i", "web"], b"typed\n").await;
    assert_eq!((code, out.as_str()), (Some(0), "attached\ntyped\n"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_and_attach_work_over_websocket() {
    if has_kubectl("exec_and_attach_work_over_websocket") {
        exec_carries_streams_and_exit_codes(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_and_attach_work_over_spdy() {
    if has_kubectl("exec_and_attach_work_over_spdy") {
        exec_carries_streams_and_exit_codes(&NO_WEBSOCKETS).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_input_arrives_whole() {
    if !has_kubectl("a_large_input_arrives_whole") {
        return;
    }
    let scene = with_pods().await;
    let input: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let ran = scene.run_with_input(&["exec", "-i", "web", "--", "cksum"], &input).await;
    let mut own = std::process::Command::new("cksum").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("cksum starts");
    std::io::Write::write_all(&mut own.stdin.take().expect("piped"), &input).expect("fed");
    let own = String::from_utf8(own.wait_with_output().expect("cksum runs").stdout).expect("text");
    assert_eq!(ran.ok(), own);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_copied_in_and_out() {
    if !has_kubectl("files_are_copied_in_and_out") {
        return;
    }
    let scene = with_pods().await;
    let (there, back) = (scene.path("there"), scene.path("back"));
    let source = scene.file("source", "content\n");
    scene.run(&["cp", &source, &format!("web:{}", there.display())]).await.ok();
    scene.run(&["cp", &format!("web:{}", there.display()), &back.display().to_string()]).await.ok();
    assert_eq!(std::fs::read_to_string(back).expect("copied"), "content\n");
}

async fn ports_are_forwarded(environment: &[(&str, &str)]) {
    let scene = with_pods().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut all = Vec::new();
                let (mut reader, mut writer) = stream.split();
                let _ = reader.read_to_end(&mut all).await;
                all.reverse();
                let _ = writer.write_all(&all).await;
            });
        }
    });
    let mut command = scene.command(&["port-forward", "pod/web", &format!(":{port}")]);
    let mut child = command.envs(environment.iter().copied()).spawn().expect("kubectl starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let line =
        tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.expect("it forwards").expect("readable").unwrap_or_default();
    let local =
        line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap_or_else(|| panic!("no port in {line:?}")).to_owned();
    let talk = async |text: Vec<u8>| {
        let mut stream = TcpStream::connect(format!("127.0.0.1:{local}")).await.expect("connected");
        let (mut reader, mut writer) = stream.split();
        let mut answer = Vec::new();
        let length = text.len();
        let talking = async {
            writer.write_all(&text).await.expect("written");
            writer.shutdown().await.expect("ended");
        };
        let listening = async {
            reader.read_to_end(&mut answer).await.expect("read");
        };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(talking, listening) }).await.expect("answered");
        assert_eq!(answer.len(), length);
        answer
    };
    assert_eq!(talk(b"olleh".to_vec()).await, b"hello");
    let large: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (first, second) = tokio::join!(talk(large.clone()), talk(b"drow".to_vec()));
    assert!(first.iter().rev().eq(large.iter()), "the bytes are the same");
    assert_eq!(second, b"word");
    child.kill().await.expect("killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_over_websocket() {
    if has_kubectl("ports_are_forwarded_over_websocket") {
        ports_are_forwarded(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded_over_spdy() {
    if has_kubectl("ports_are_forwarded_over_spdy") {
        ports_are_forwarded(&NO_WEBSOCKETS).await;
    }
}
