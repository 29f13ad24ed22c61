//! A daemon that is started, killed and started anew.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Machine, PATIENCE};

/// One life of `usher serve`. It is killed when this is dropped.
pub(crate) struct Daemon {
    child: Child,
    lines: mpsc::Receiver<String>,
    log: PathBuf,
}

impl Daemon {
    /// Starts it and returns at once.
    pub(crate) fn start(machine: &Machine) -> Self {
        let log = machine.path().join("daemon.log");
        let errors: File = OpenOptions::new().create(true).append(true).open(&log).expect("a file for what it complains about");
        let mut child = machine
            // Whatever the disk of the machine that tests: nothing is evicted.
            .usher(["serve", "--listen", "127.0.0.1:6443", "--eviction-hard", "memory.available<1Mi"])
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("usher starts");
        let stdout = child.stdout.take().expect("piped");
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines, log }
    }

    /// Waits until it says that it serves; how long that took.
    pub(crate) fn wait_ready(&self) -> Duration {
        let begun = Instant::now();
        loop {
            match self.lines.recv_timeout(PATIENCE.saturating_sub(begun.elapsed())) {
                Ok(line) if line.starts_with("export KUBECONFIG=") => return begun.elapsed(),
                Ok(_) => {}
                Err(error) => panic!("the daemon does not say that it serves ({error}): {}", self.complaints()),
            }
        }
    }

    /// Lets it live for so long, unless it ends by itself.
    pub(crate) fn live_for(&self, time: Duration) {
        let until = Instant::now() + time;
        // Its end is the only thing that can come.
        while let Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if Instant::now() >= until {
                return;
            }
        }
        panic!("the daemon ended by itself: {}", self.complaints());
    }

    /// Kills it; it had not ended before.
    pub(crate) fn kill(mut self) {
        let ended = self.child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "the daemon ended by itself ({ended:?}): {}", self.complaints());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Has it end in order.
    pub(crate) fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is there");
        let status = self.child.wait().expect("it is ours");
        assert!(status.success(), "{status}: {}", self.complaints());
    }

    /// What all daemons said on stderr.
    pub(crate) fn complaints(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
