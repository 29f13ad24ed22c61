//! The bar of a pull that takes its time: on a terminal it comes, moves, and goes without a trace; elsewhere there is none.

#[path = "support/registry.rs"]
mod registry;
mod support;

use std::fs::File;
use std::io::Read as _;
use std::process::Stdio;

use registry::{Registry, shell_layer};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use support::{Machine, PATIENCE};

/// Size of the terminal. A line of the story must not be wider.
const COLUMNS: u16 = 150;
const ROWS: u16 = 60;
/// What a bar has, and no line of a story.
const BAR: char = '━';

/// A pod whose image is pulled over a slow line.
fn pod(registry: &Registry, name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  restartPolicy: Never\n  containers:\n  - name: app\n    \
         image: {}\n    imagePullPolicy: Always\n    command: [sh, -c, echo pulled and run]\n",
        registry.image()
    )
}

/// What a terminal shows: enough of one for what usher and its bars write. What it does not know is a failure.
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

impl Screen {
    const fn new() -> Self {
        Self { lines: Vec::new(), row: 0, column: 0 }
    }

    fn write(&mut self, text: &str) {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            match character {
                '\n' => self.row += 1,
                '\r' => self.column = 0,
                '\u{1b}' => {
                    assert_eq!(characters.next(), Some('['), "only control sequences");
                    let mut arguments = String::new();
                    let command = characters.by_ref().find(|character| {
                        let is_end = character.is_ascii_alphabetic();
                        if !is_end {
                            arguments.push(*character);
                        }
                        is_end
                    });
                    self.obey(&arguments, command.expect("a whole sequence"));
                }
                other => self.put(other),
            }
        }
    }

    /// A line that is full goes on in the next when more comes, as terminals have it.
    fn put(&mut self, character: char) {
        if self.column == usize::from(COLUMNS) {
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let line = self.line();
        line.resize(line.len().max(column + 1), ' ');
        line[column] = character;
        self.column += 1;
    }

    fn obey(&mut self, arguments: &str, command: char) {
        let count = arguments.parse().unwrap_or(1);
        let column = self.column;
        match (command, arguments) {
            ('A', _) => self.row = self.row.saturating_sub(count),
            ('B', _) => self.row += count,
            ('C', _) => self.column += count,
            ('D', _) => self.column = self.column.saturating_sub(count),
            ('K', "2") => self.line().clear(),
            ('K', "" | "0") => self.line().truncate(column),
            ('J', "" | "0") => {
                self.line().truncate(column);
                let row = self.row;
                self.lines.truncate(row + 1);
            }
            // Colours, and whether the cursor is seen.
            ('m', _) | ('h' | 'l', "?25") => {}
            (command, arguments) => panic!("a terminal of this test does not know {arguments}{command}"),
        }
    }

    fn line(&mut self) -> &mut Vec<char> {
        let row = self.row;
        self.lines.resize(self.lines.len().max(row + 1), Vec::new());
        &mut self.lines[row]
    }

    fn text(&self) -> String {
        let line = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned() + "\n";
        self.lines.iter().map(line).collect()
    }
}

/// Runs pods on a terminal; returns what was on it after each read.
fn on_terminal(machine: &Machine, files: &[std::path::PathBuf]) -> Vec<String> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    grantpt(&ours).expect("a terminal");
    unlockpt(&ours).expect("a terminal");
    tcsetwinsize(&ours, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).expect("a terminal");
    let name = ptsname(&ours, Vec::new()).expect("a terminal");
    let theirs = || -> Stdio { File::options().read(true).write(true).open(name.to_str().expect("a path")).expect("a terminal").into() };
    let mut command = machine.usher(["run"]);
    command.args(files).env("TERM", "xterm").stdin(Stdio::null()).stdout(theirs()).stderr(theirs());
    let mut child = command.spawn().expect("usher starts");
    drop(command);
    let watched =
        rustix::process::pidfd_open(rustix::process::Pid::from_child(&child), rustix::process::PidfdFlags::empty()).expect("it runs");
    let watchdog = std::thread::spawn(move || {
        let timeout = rustix::time::Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
        let ended = rustix::event::poll(&mut [rustix::event::PollFd::new(&watched, rustix::event::PollFlags::IN)], Some(&timeout));
        if ended == Ok(0) {
            let _ = rustix::process::pidfd_send_signal(&watched, rustix::process::Signal::KILL);
        }
    });
    let mut screen = Screen::new();
    let mut pictures = Vec::new();
    let mut terminal = File::from(ours);
    let (mut pending, mut buffer) = (Vec::new(), [0; 4096]);
    // The terminal fails when nobody has its other side any more.
    while let Ok(length @ 1..) = terminal.read(&mut buffer) {
        pending.extend_from_slice(&buffer[..length]);
        // What was read may end within a character or a sequence; only the picture after a whole one counts.
        let Ok(text) = std::str::from_utf8(&pending) else { continue };
        let is_whole = text.rfind('\u{1b}').is_none_or(|at| text[at + 1..].contains(|end: char| end.is_ascii_alphabetic()));
        if is_whole {
            screen.write(text);
            pending.clear();
            pictures.push(screen.text());
        }
    }
    watchdog.join().expect("the watchdog ends with usher");
    let status = child.wait().expect("usher is waited for");
    assert!(status.success(), "{}", pictures.last().cloned().unwrap_or_default());
    pictures
}

/// The percentages that stood in the bars, each once, in their order.
fn percentages(pictures: &[String]) -> Vec<u32> {
    let bars = pictures.iter().flat_map(|picture| picture.lines()).filter(|line| line.contains(BAR));
    let mut percentages: Vec<u32> = bars.filter_map(|line| line.split(" %").next()?.rsplit(' ').next()?.parse().ok()).collect();
    percentages.dedup();
    percentages
}

/// A line of a story: time, who, what; or one of the grace account.
fn is_of_story(line: &str) -> bool {
    let time = line.trim_start().split(' ').next().unwrap_or_default();
    line.is_empty() || time.split_once('.').is_some_and(|(secs, millis)| secs.parse::<u32>().is_ok() && millis.len() == 3)
}

#[test]
fn the_bar_of_a_slow_pull_comes_moves_and_goes() {
    let Some(machine) = Machine::without_images("the_bar_of_a_slow_pull_comes_moves_and_goes") else { return };
    let registry = Registry::slow(shell_layer(machine.path()));
    let file = machine.file("slow.yaml", &pod(&registry, "slow"));
    let pictures = on_terminal(&machine, &[file]);
    let seen = percentages(&pictures);
    assert!(seen.len() >= 5 && seen.is_sorted(), "the bar moves, and forwards only: {seen:?}");
    assert!(*seen.last().expect("some") > 80, "up to the end: {seen:?}");
    let last = pictures.last().expect("a picture");
    assert!(!last.contains(BAR), "nothing of the bar is left:\n{last}");
    assert!(last.contains("│ pulled and run"), "{last}");
    let torn: Vec<&str> = last.lines().filter(|line| !is_of_story(line)).collect();
    assert_eq!(torn, Vec::<&str>::new(), "{last}");
    // In every picture the bar stands below the story, never within.
    for picture in &pictures {
        let bar = picture.lines().position(|line| line.contains(BAR));
        let told_after = bar.map(|at| picture.lines().skip(at + 1).filter(|line| !line.is_empty()).count());
        assert!(matches!(told_after, None | Some(0)), "{picture}");
    }
}

#[test]
fn the_bars_of_two_pods_do_not_tear_each_other() {
    let Some(machine) = Machine::without_images("the_bars_of_two_pods_do_not_tear_each_other") else { return };
    let layer = shell_layer(machine.path());
    let mut other = layer.clone();
    // After the end of the archive anything may stand: the same files, and another image.
    other.extend_from_slice(&[0; 512]);
    let registries = [Registry::slow(layer), Registry::slow(other)];
    let files = [("one", 0), ("two", 1)].map(|(name, at)| machine.file(&format!("{name}.yaml"), &pod(&registries[at], name)));
    let pictures = on_terminal(&machine, &files);
    let most = pictures.iter().map(|picture| picture.lines().filter(|line| line.contains(BAR)).count()).max();
    assert_eq!(most, Some(2), "one bar for each, at the same time");
    let last = pictures.last().expect("a picture");
    assert!(!last.contains(BAR), "{last}");
    assert_eq!(last.lines().find(|line| !is_of_story(line)), None, "{last}");
    assert_eq!(last.matches("│ pulled and run").count(), 2, "{last}");
}

#[test]
fn without_a_terminal_nothing_of_a_bar_is_printed() {
    let Some(machine) = Machine::without_images("without_a_terminal_nothing_of_a_bar_is_printed") else { return };
    let registry = Registry::slow(shell_layer(machine.path()));
    let file = machine.file("slow.yaml", &pod(&registry, "slow")).display().to_string();
    let output = machine.output(["run", &file]);
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}");
    assert!(text.contains("│ pulled and run"), "{text}");
    assert!(!text.contains([BAR, '\u{1b}', '\r']), "{text:?}");
    let json = machine.output(["run", &file, "-o", "json"]);
    for line in String::from_utf8_lossy(&json.stdout).lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn a_pull_is_kept_with_its_bytes_its_time_and_its_speed() {
    let Some(machine) = Machine::without_images("a_pull_is_kept_with_its_bytes_its_time_and_its_speed") else { return };
    let layer = shell_layer(machine.path());
    let bytes = layer.len() as u64;
    let registry = Registry::slow(layer);
    let ended = machine.run(&pod(&registry, "slow"), &[]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.story());
    let pull = &ended.find(|entry| entry["pull"].is_object()).expect("the pull is kept")["pull"];
    assert_eq!((&pull["bytes"], &pull["totalBytes"], &pull["layers"]), (&bytes.into(), &bytes.into(), &1.into()), "{pull}");
    let took = &pull["took"];
    let took = took["secs"].as_f64().expect("seconds") + took["nanos"].as_f64().expect("nanoseconds") / 1e9;
    // The registry pauses after each of more than ten pieces.
    assert!((0.4..60.0).contains(&took), "{pull}");
    let told = machine.output(["journal", "slow"]);
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let line = told.lines().find(|line| line.contains("the pull of")).unwrap_or_else(|| panic!("no pull in {told}"));
    let mib = |bytes: f64| format!("{:.1} MiB", bytes / f64::from(1 << 20));
    assert!(line.contains(&format!("brought {} in ", mib(bytes as f64))), "{line}");
    assert!(line.ends_with(&format!(", {}/s", mib(bytes as f64 / took))), "{line}, {took} s");
}
