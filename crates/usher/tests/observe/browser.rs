//! A headless Chromium, driven through its debugging pipe: JSON messages that end with a zero byte.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::PATIENCE;

/// A browser with one page.
pub(crate) struct Browser {
    child: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    next_id: u64,
    session: String,
    /// What went wrong in the page: errors, warnings, exceptions.
    pub(crate) complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

/// More than there is to be reached on any page of a test.
const TABS_MAX: usize = 60;

const SCRIPT: &str = "exec chromium --headless --no-sandbox --disable-gpu --disable-background-networking --disable-dev-shm-usage \
    --disable-component-update --no-first-run --ignore-certificate-errors --hide-scrollbars --remote-debugging-pipe \
    --user-data-dir=\"$1\" about:blank 3<&0 4>&1 </dev/null >/dev/null 2>&1";

impl Browser {
    /// Starts a browser; `None`, with a word on stderr, where there is none.
    #[expect(clippy::print_stderr, reason = "tests say why they skip")]
    pub(crate) fn start(test: &str) -> Option<Self> {
        if Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            eprintln!("SKIP {test}: there is no chromium");
            return None;
        }
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(profile.path()).env("HOME", profile.path());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("chromium starts");
        let pipe = child.stdin.take().expect("piped");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, messages) = mpsc::channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while answers.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                let value = serde_json::from_slice(message.strip_suffix(&[0]).unwrap_or(&message)).unwrap_or_default();
                message.clear();
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        let session = String::new();
        let mut browser = Self { child, pipe, messages, next_id: 0, session, complaints: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }));
        attached["sessionId"].as_str().expect("a session").clone_into(&mut browser.session);
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(browser)
    }

    /// Calls a method and gives its result.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.next_id += 1;
        let mut message = json!({ "id": self.next_id, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        self.pipe.write_all(format!("{message}\0").as_bytes()).expect("the browser listens");
        let id = self.next_id;
        let answer = self.receive(method, |answer| answer["id"] == id);
        assert!(answer["error"].is_null(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    #[track_caller]
    fn receive(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let message = self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let message = message.unwrap_or_else(|error| panic!("{what}: {error}; the page complains: {:#?}", self.complaints));
            if let Some(complaint) = complaint(&message) {
                self.complaints.push(complaint);
            }
            if wanted(&message) {
                return message;
            }
        }
    }

    /// Opens an address and waits until it is loaded.
    pub(crate) fn open(&mut self, address: &str) {
        // Another fragment of the same page would load nothing.
        self.call("Page.navigate", &json!({ "url": "about:blank" }));
        self.receive("about:blank", |message| message["method"] == "Page.loadEventFired");
        self.call("Page.navigate", &json!({ "url": address }));
        self.receive(address, |message| message["method"] == "Page.loadEventFired");
    }

    /// The value of an expression in the page; a promise is awaited.
    #[track_caller]
    pub(crate) fn value(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let result = self.call("Runtime.evaluate", &parameters);
        assert!(result["exceptionDetails"].is_null(), "{expression}: {}", result["exceptionDetails"]);
        result["result"]["value"].clone()
    }

    /// Waits until an expression is true; it is looked at after each change of the page.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let promise = format!(
            "new Promise((done, fail) => {{
                const observer = new MutationObserver(look);
                function look() {{ if ({expression}) {{ observer.disconnect(); done(true); }} }}
                observer.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
                setTimeout(() => fail(new Error(document.body.innerText)), 30000);
                look();
            }})"
        );
        self.value(&promise);
    }

    /// Presses a key as a hand does: with its code, and with what it types, so that the browser does by itself what the key is for.
    pub(crate) fn press(&mut self, key: &str) {
        let (code, number, text) = match key {
            "Enter" => ("Enter", 13, "\r"),
            "Tab" => ("Tab", 9, ""),
            "Escape" => ("Escape", 27, ""),
            "ArrowLeft" => ("ArrowLeft", 37, ""),
            "ArrowUp" => ("ArrowUp", 38, ""),
            "ArrowRight" => ("ArrowRight", 39, ""),
            "ArrowDown" => ("ArrowDown", 40, ""),
            "/" => ("Slash", 191, "/"),
            other => panic!("this keyboard has no {other}"),
        };
        let event =
            |kind: &str| json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number, "nativeVirtualKeyCode": number });
        let mut down = event(if text.is_empty() { "rawKeyDown" } else { "keyDown" });
        down["text"] = json!(text);
        self.call("Input.dispatchKeyEvent", &down);
        self.call("Input.dispatchKeyEvent", &event("keyUp"));
    }

    /// Types a text into what has the focus.
    pub(crate) fn type_in(&mut self, text: &str) {
        self.call("Input.insertText", &json!({ "text": text }));
    }

    /// Presses Tab until what has the focus is wanted.
    #[track_caller]
    pub(crate) fn tab_to(&mut self, wanted: &str) {
        for _ in 0..TABS_MAX {
            self.press("Tab");
            if self.value(&format!("((at) => Boolean({wanted}))(document.activeElement)")) == true {
                return;
            }
        }
        panic!("Tab does not come to {wanted}: {}", self.value("document.activeElement.outerHTML"));
    }

    /// The size of the window, and whether its user likes it dark.
    pub(crate) fn look(&mut self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.call("Emulation.setDeviceMetricsOverride", &metrics);
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.call("Emulation.setEmulatedMedia", &media);
    }

    /// Takes a picture of the whole page into a file.
    pub(crate) fn picture(&mut self, path: &Path) {
        use base64::Engine as _;
        let taken = self.call("Page.captureScreenshot", &json!({ "format": "png", "captureBeyondViewport": true }));
        let bytes = base64::engine::general_purpose::STANDARD.decode(taken["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(path, bytes).expect("a picture is written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends its own processes; if it cannot any more, it is killed.
        let _ = self.pipe.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        while self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a message says that went wrong. Chromium breaks its connections whenever an interface of the machine comes or goes, and pods
/// bring theirs: it complains, and the page has to go on all the same.
fn complaint(message: &Value) -> Option<String> {
    let parameters = &message["params"];
    let is_bad = |word: &Value| matches!(word.as_str(), Some("error" | "warning" | "assert"));
    if parameters["entry"]["text"].as_str().is_some_and(|text| text.ends_with("net::ERR_NETWORK_CHANGED")) {
        return None;
    }
    match message["method"].as_str()? {
        "Runtime.exceptionThrown" => Some(parameters["exceptionDetails"].to_string()),
        "Runtime.consoleAPICalled" if is_bad(&parameters["type"]) => Some(parameters["args"].to_string()),
        "Log.entryAdded" if is_bad(&parameters["entry"]["level"]) => Some(parameters["entry"].to_string()),
        _ => None,
    }
}
