use std::time::{Duration, Instant};

use shim::log::Stream;
use shim::moment::Moment;
use shim::protocol::{
    ContainerId, ContainerState, ContainerStatus, Event, ExecId, ExecState, ExecStatus, RawBytes, Recorded, SignalNumber, Snapshot, Target,
};
use shim::records::{ContainerExit, End, ExecExit, ExecStarted, ProcessIdentity, Sender, SentSignal};

use super::{HOLD_ENDING, HOLD_UNCLEAR, Story, Told};
use crate::RuntimeEvent;

const KILLED: End = End::Signaled { signal: SignalNumber::KILL };

#[test]
fn a_container_ends_before_the_execs_that_die_with_it() {
    let mut story = Started::new();
    story.exec_exits("e", KILLED, |exit| exit.container_exiting = true);
    story.check(&["exec e started"]);
    story.container_exits("c");
    story.check(&["container c exited 137", "exec e ended 137 with its container"]);
}

#[test]
fn an_exec_of_a_container_that_is_being_killed_waits_for_it() {
    let mut story = Started::new();
    story.event(Event::SignalSent { target: Target::Container(id("c")), signal: sent(Sender::StopDeadline) });
    story.exec_exits("e", KILLED, |_| {});
    story.passes(HOLD_UNCLEAR);
    story.check(&["exec e started", "container c got 9 for deadline"]);
    story.container_exits("c");
    story.check(&["container c exited 137", "exec e ended 137 with its container"]);
}

#[test]
fn an_exec_that_somebody_else_killed_is_told_soon() {
    let mut story = Started::new();
    story.exec_exits("e", KILLED, |_| {});
    story.passes(HOLD_UNCLEAR - Duration::from_millis(1));
    story.check(&["exec e started"]);
    story.passes(Duration::from_millis(1));
    story.check(&["exec e ended 137"]);
    story.container_exits("c");
    story.check(&["container c exited 137"]);
}

#[test]
fn a_container_that_hangs_does_not_hold_its_execs_for_ever() {
    let mut story = Started::new();
    story.exec_exits("e", KILLED, |exit| exit.container_exiting = true);
    story.passes(HOLD_ENDING);
    story.check(&["exec e started", "exec e ended 137 with its container"]);
    assert_eq!(story.story.poll_timeout(), None);
}

#[test]
fn ends_that_were_asked_for_or_made_by_the_command_itself_are_told_at_once() {
    for (end, by, expected) in [
        (KILLED, Some(Sender::Client), "exec e ended 137"),
        (KILLED, Some(Sender::ExecTimeout), "exec e ended 137"),
        (End::Exited { code: 0 }, None, "exec e ended 0"),
        (End::Exited { code: 137 }, None, "exec e ended 137"),
        (End::Signaled { signal: SignalNumber::TERM }, None, "exec e ended 143"),
    ] {
        let mut story = Started::new();
        story.exec_exits("e", end, |exit| {
            exit.container_exiting = true;
            exit.last_signal = by.map(sent);
        });
        story.check(&["exec e started", expected]);
    }
}

#[test]
fn an_exec_that_outlives_its_container_for_a_moment_died_with_it() {
    let mut story = Started::new();
    story.container_exits("c");
    story.exec_exits("e", KILLED, |_| {});
    story.check(&["exec e started", "container c exited 137", "exec e ended 137 with its container"]);

    let mut story = Started::new();
    story.exec_exits("e", KILLED, |exit| exit.last_signal = Some(sent(Sender::ContainerExit)));
    story.container_exits("c");
    story.check(&["exec e started", "container c exited 137", "exec e ended 137 with its container"]);
}

#[test]
fn output_is_told_in_lines_and_the_rest_at_the_end() {
    let mut story = Started::new();
    for (stream, bytes) in [(Stream::Stdout, "one\ntw"), (Stream::Stderr, "bad"), (Stream::Stdout, "o\nthree")] {
        let bytes = RawBytes(bytes.as_bytes().to_vec());
        story.event(Event::ExecOutput { exec: exec_id("e"), stream, bytes, at: Moment::default() });
    }
    story.check(&["exec e started", "exec e stdout one", "exec e stdout two"]);
    story.exec_exits("e", End::Exited { code: 1 }, |_| {});
    story.check(&["exec e stdout three", "exec e stderr bad", "exec e ended 1"]);
}

#[test]
fn a_new_listener_gets_the_exits_in_their_order() {
    let mut story = Story::default();
    let snapshot = Snapshot {
        at: Moment::default(),
        sequence: 7,
        containers: vec![status("a", Some(5)), status("b", Some(3)), status("c", None)],
        execs: Vec::new(),
    };
    story.handle_snapshot(snapshot, Instant::now());
    let exits: Vec<String> = story.exits().iter().map(shown).collect();
    assert_eq!(exits, ["container b exited 137", "container a exited 137"]);
    story.forget_container(&id("b"));
    assert_eq!(story.exits().len(), 1);
}

#[test]
fn after_a_broken_connection_only_the_news_is_told() {
    let mut story = Started::new();
    story.exec_exits("e", End::Exited { code: 0 }, |_| {});
    story.check(&["exec e started", "exec e ended 0"]);
    let mut known = exec_exit("e", End::Exited { code: 0 });
    known.exited_at = Moment::default();
    let snapshot = Snapshot {
        at: Moment::default(),
        sequence: 9,
        containers: vec![status("c", Some(5))],
        execs: vec![exited_exec(known), exited_exec(exec_exit("f", KILLED))],
    };
    story.story.handle_snapshot(snapshot.clone(), story.now);
    story.check(&["container c exited 137", "exec f started", "exec f ended 137 with its container"]);
    story.story.handle_snapshot(snapshot, story.now);
    story.check(&[]);
    assert_eq!(story.story.ended_execs(), [exec_id("e"), exec_id("f")]);
}

#[test]
fn a_lost_sandbox_releases_what_is_held() {
    let mut story = Started::new();
    story.exec_exits("e", KILLED, |_| {});
    story.story.handle_lost();
    story.check(&["exec e started", "exec e ended 137 with its container"]);
}

#[test]
fn an_answer_that_is_ahead_of_the_events_is_not_told_twice() {
    let mut story = Started::new();
    let exit = exec_exit("f", End::Exited { code: 4 });
    story.story.handle_exec_status(exited_exec(exit.clone()), story.now);
    story.event(Event::ExecStarted(exec_started("f")));
    story.event(Event::ExecExited { exit: Box::new(exit), recorded: Recorded::Saved });
    story.check(&["exec e started", "exec f started", "exec f ended 4"]);
    assert!(story.story.exec_end(&exec_id("f")).is_some());
}

/// A story with container `c` and exec `e` in it.
struct Started {
    story: Story,
    now: Instant,
}

impl Started {
    fn new() -> Self {
        let mut started = Self { story: Story::default(), now: Instant::now() };
        let snapshot = Snapshot { at: Moment::default(), sequence: 0, containers: vec![status("c", None)], execs: Vec::new() };
        started.story.handle_snapshot(snapshot, started.now);
        started.event(Event::ExecStarted(exec_started("e")));
        started
    }

    fn event(&mut self, event: Event) {
        self.story.handle_event(event, self.now);
    }

    fn exec_exits(&mut self, exec: &str, end: End, change: impl Fn(&mut ExecExit)) {
        let mut exit = exec_exit(exec, end);
        change(&mut exit);
        self.event(Event::ExecExited { exit: Box::new(exit), recorded: Recorded::Saved });
    }

    fn container_exits(&mut self, container: &str) {
        self.event(Event::ContainerExited { exit: Box::new(container_exit(container, 9)), recorded: Recorded::Saved });
    }

    fn passes(&mut self, time: Duration) {
        self.now += time;
        self.story.handle_timeout(self.now);
    }

    fn check(&mut self, expected: &[&str]) {
        let told: Vec<String> = std::iter::from_fn(|| self.story.poll_told())
            .map(|told| match told {
                Told::Event(event) => shown(&event),
                Told::ExecEnded(end) => {
                    let with = if end.container_ended { " with its container" } else { "" };
                    format!("exec {} ended {}{with}", end.exit.exec, end.exit.end.exit_code())
                }
            })
            .collect();
        assert_eq!(told, expected);
    }
}

fn shown(event: &RuntimeEvent) -> String {
    match event {
        RuntimeEvent::ContainerExited { container_id, exit } => format!("container {container_id} exited {}", exit.code),
        RuntimeEvent::SignalSent { container_id, signal, why, .. } => format!("container {container_id} got {signal} for {why}"),
        RuntimeEvent::ExecStarted { exec_id, .. } => format!("exec {exec_id} started"),
        RuntimeEvent::ExecOutput { exec_id, stream, line, .. } => format!("exec {exec_id} {stream} {line}"),
        RuntimeEvent::OomKilled { container_id, count, .. } => format!("container {container_id} oom {count}"),
        RuntimeEvent::SandboxLost { message } => format!("lost: {message}"),
    }
}

fn id(id: &str) -> ContainerId {
    id.parse().expect("an id")
}

fn exec_id(id: &str) -> ExecId {
    id.parse().expect("an id")
}

fn process() -> ProcessIdentity {
    ProcessIdentity { pid: 1, start_ticks: 1 }
}

fn sent(by: Sender) -> SentSignal {
    SentSignal { signal: SignalNumber::KILL, by, why: String::new(), at: Moment::default(), handling: None }
}

fn container_exit(container: &str, at_ms: u64) -> ContainerExit {
    ContainerExit {
        container: id(container),
        process: process(),
        started_at: None,
        exited_at: Moment::default().plus_ms(at_ms),
        end: KILLED,
        oom_kills: 0,
        last_signal: None,
        log_lines_lost: 0,
    }
}

fn status(container: &str, exited_ms: Option<u64>) -> ContainerStatus {
    ContainerStatus {
        container: id(container),
        process: process(),
        created_at: Moment::default(),
        state: exited_ms.map_or(ContainerState::Running { started_at: Moment::default() }, |at| {
            ContainerState::Exited(Box::new(container_exit(container, at)))
        }),
        stop_deadline: None,
        last_signal: None,
        clamped: Vec::new(),
    }
}

fn exec_started(exec: &str) -> ExecStarted {
    ExecStarted { exec: exec_id(exec), container: id("c"), process: process(), at: Moment::default() }
}

fn exec_exit(exec: &str, end: End) -> ExecExit {
    ExecExit {
        exec: exec_id(exec),
        container: id("c"),
        process: Some(process()),
        started_at: Some(Moment::default()),
        exited_at: Moment::default().plus_ms(8),
        end,
        timed_out: false,
        container_exiting: false,
        output_bytes: 0,
        output_truncated: false,
        output_open: false,
        last_signal: None,
    }
}

fn exited_exec(exit: ExecExit) -> ExecStatus {
    ExecStatus { exec: exit.exec.clone(), container: exit.container.clone(), state: ExecState::Exited(Box::new(exit)) }
}
