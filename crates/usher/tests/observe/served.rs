//! A served machine, asked through its socket: no client but the standard library's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Machine, PATIENCE};

const PODS: &str = "/api/v1/namespaces/default/pods";

/// A served machine. The daemon is killed when this is dropped; the machine then cleans up its pods.
pub(crate) struct Served<'m> {
    pub(crate) machine: &'m Machine,
    child: Child,
}

/// An answer of the API.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl<'m> Served<'m> {
    /// Starts `usher serve` and waits until it serves.
    pub(crate) fn start(machine: &'m Machine, more: &[&str]) -> Self {
        // Whatever the disk of the machine that tests: nothing is evicted.
        let arguments = [&["serve", "--listen", "127.0.0.1:6443", "--eviction-hard", "memory.available<1Mi"], more].concat();
        let mut child = machine.usher(arguments).stdout(Stdio::piped()).spawn().expect("usher starts");
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let ready = lines.by_ref().map_while(Result::ok).any(|line| line.starts_with("export KUBECONFIG="));
        let served = Self { machine, child };
        assert!(ready, "the daemon says that it serves");
        served
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.machine.root().join("api.sock"));
        let stream = stream.expect("the daemon listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
        stream
    }

    /// Asks as root of this machine, or as whoever a token of `pki` belongs to.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> Answer {
        let mut stream = self.connect();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        // At once: the daemon may answer and close before it has read all of it.
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: usher\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
        stream.write_all(request.as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        Answer { code, head: head.to_lowercase(), body: body.to_owned() }
    }

    /// The body of something that is there.
    pub(crate) fn get(&self, path: &str) -> String {
        let answer = self.ask("GET", path, &[], "");
        assert_eq!(answer.code, 200, "{path}: {answer:?}");
        answer.body
    }

    /// The lines of an answer as they come, its head among them.
    pub(crate) fn lines(&self, path: &str) -> impl Iterator<Item = String> + use<> {
        let mut stream = self.connect();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: usher\r\n\r\n").expect("asked");
        BufReader::new(stream).lines().map_while(Result::ok)
    }

    /// The header that makes a request one of the user who only looks.
    pub(crate) fn read_only(&self) -> String {
        format!("Authorization: Bearer {}", self.token("read-only"))
    }

    /// The token of a role: `admin` or `read-only`.
    pub(crate) fn token(&self, role: &str) -> String {
        let path = self.machine.root().join("server/pki").join(format!("{role}.token"));
        std::fs::read_to_string(path).expect("a token").trim().to_owned()
    }

    /// Makes a pod of this specification, written as YAML without indentation.
    pub(crate) fn create_pod(&self, name: &str, spec: &str) {
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        let pod = format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n{spec}");
        let answer = self.ask("POST", PODS, &["Content-Type: application/yaml"], &pod);
        assert_eq!(answer.code, 201, "{answer:?}");
    }

    /// Asks that a pod go.
    pub(crate) fn delete_pod(&self, name: &str) {
        let answer = self.ask("DELETE", &format!("{PODS}/{name}"), &[], "");
        assert!(answer.code < 300, "{answer:?}");
    }

    /// Waits until the API says of a pod what is wanted; `None` is said of one that is gone.
    pub(crate) fn wait(&self, name: &str, what: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let lines = self.lines(&format!("{PODS}?watch=true&fieldSelector=metadata.name%3D{name}"));
        let list: Value = serde_json::from_str(&self.get(&format!("{PODS}?fieldSelector=metadata.name%3D{name}"))).expect("JSON");
        if wanted(list["items"].get(0)) {
            return;
        }
        let mut seen = Vec::new();
        for line in lines {
            let Ok(change) = serde_json::from_str::<Value>(&line) else { continue };
            if wanted((change["type"] != "DELETED").then_some(&change["object"])) {
                return;
            }
            seen.push(change);
        }
        panic!("{name}: {what} did not come: {seen:#?}");
    }

    pub(crate) fn wait_ready(&self, name: &str) {
        self.wait(name, "Ready", |pod| {
            let conditions = pod.and_then(|pod| pod["status"]["conditions"].as_array());
            conditions.is_some_and(|all| all.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"))
        });
    }

    pub(crate) fn wait_gone(&self, name: &str) {
        self.wait(name, "its end", |pod| pod.is_none());
    }
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
