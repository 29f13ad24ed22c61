//! A terminal in which a test runs a program, as a person would.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::PATIENCE;

/// A program in a terminal of its own. It is killed when this is dropped.
pub(crate) struct InTerminal {
    child: Child,
    side: File,
    pieces: mpsc::Receiver<Vec<u8>>,
    shown: String,
}

impl InTerminal {
    /// Starts a program in a terminal of 24 lines and 80 columns.
    pub(crate) fn start(program: &Command) -> Self {
        let side = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&side).expect("granted");
        unlockpt(&side).expect("unlocked");
        let name = ptsname(&side, Vec::new()).expect("a name").into_string().expect("text");
        let their_side = File::options().read(true).write(true).open(name).expect("the other side");
        // Only a terminal that controls its program's session tells it of signals and sizes.
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).arg(program.get_program()).args(program.get_args());
        for (name, value) in program.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let same = || their_side.try_clone().expect("a descriptor");
        let child = command.stdin(same()).stdout(same()).stderr(their_side).spawn().expect("the program starts");
        let side = File::from(side);
        let mut reader = side.try_clone().expect("a descriptor");
        let (sender, pieces) = mpsc::channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        let terminal = Self { child, side, pieces, shown: String::new() };
        terminal.resize(24, 80);
        terminal
    }

    /// Types.
    pub(crate) fn write(&mut self, text: &str) {
        self.side.write_all(text.as_bytes()).expect("the terminal is there");
    }

    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.side, size).expect("a size");
    }

    /// Waits until a text is shown, and gives everything shown since the last such text.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.find(text) {
                return self.shown.drain(..at + text.len()).collect();
            }
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(_) => panic!("{text:?} is not shown, but {:?}", self.shown),
            }
        }
    }

    /// Waits for the end of the program; what it showed last.
    #[track_caller]
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.shown.push_str(&String::from_utf8_lossy(&piece)),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end; it shows {:?}", self.shown),
            }
        }
        (self.child.wait().expect("it is waited for"), std::mem::take(&mut self.shown))
    }
}

impl Drop for InTerminal {
    fn drop(&mut self) {
        // `setsid` passes nothing on, but the terminal hangs up.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
