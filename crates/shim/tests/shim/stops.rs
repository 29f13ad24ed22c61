//! Grace periods, kept by the shim alone.

use shim::client::ShimRecord;
use shim::protocol::{Answer, Call, SignalNumber};
use shim::records::{End, Sender};

use crate::fixture::{Calls as _, Pod, container_id, wait_until};

const KILLED: End = End::Signaled { signal: SignalNumber::KILL };
/// How late a kill may be on a machine that is busy, or emulated: far from a kill that waits for the end of a flood, which has none.
const LATE_NS_MAX: u64 = 10_000_000_000;

#[test]
fn a_container_that_ignores_the_signal_is_killed_at_the_deadline_though_the_client_has_gone() {
    let name = "a_container_that_ignores_the_signal_is_killed_at_the_deadline_though_the_client_has_gone";
    let Some(pod) = Pod::start(name) else { return };
    let mut client = pod.client();
    client.run(pod.shell("a", "trap '' TERM; echo ready; while :; do sleep 1; done"));
    client.wait_for_log(&pod, "a", "ready");
    client.stop("a", 300);
    let deadline = client.state().containers[0].stop_deadline.clone().expect("a stop is under way").at;
    drop(client);

    let record = pod.state_dir().join("containers/a/exit.json");
    wait_until("the exit is recorded", || record.exists());
    let loaded = ShimRecord::load(&pod.state_dir()).expect("readable").expect("a shim is here");
    let exit = loaded.containers[0].exit.clone().expect("recorded");
    assert_eq!(exit.end, KILLED);
    let killer = exit.killed_by_shim().expect("the shim killed it");
    assert_eq!((killer.by, killer.why.as_str()), (Sender::StopDeadline, "test"));
    let late = exit.exited_at.boot_ns.checked_sub(deadline.boot_ns).expect("it was killed before the deadline");
    assert!(late < LATE_NS_MAX, "killed {late} ns after the deadline");
}

#[test]
fn a_flood_of_output_does_not_put_off_the_end_of_a_grace_period() {
    let Some(pod) = Pod::start("a_flood_of_output_does_not_put_off_the_end_of_a_grace_period") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "trap '' TERM; busybox yes & busybox yes >&2 & echo ready; while :; do sleep 1; done"));
    client.wait_for_log(&pod, "a", "ready");
    client.stop("a", 200);
    let deadline = client.state().containers[0].stop_deadline.clone().expect("a stop is under way").at;
    let exit = client.container_exit("a");
    let late = exit.exited_at.boot_ns.saturating_sub(deadline.boot_ns);
    assert!(exit.end == KILLED && late < LATE_NS_MAX, "killed {late} ns after the deadline: {exit:?}");
}

#[test]
fn a_container_that_heeds_the_signal_ends_in_its_own_way() {
    let Some(pod) = Pod::start("a_container_that_heeds_the_signal_ends_in_its_own_way") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.01; done"));
    client.wait_for_log(&pod, "a", "ready");
    client.stop("a", 60_000);
    let exit = client.container_exit("a");
    assert_eq!((&exit.end, exit.killed_by_shim()), (&End::Exited { code: 5 }, None));
    assert_eq!(exit.last_signal.map(|sent| (sent.signal, sent.by)), Some((SignalNumber::TERM, Sender::Client)));
    assert_eq!(pod.log("a"), ["stdout F ready", "stdout F bye"]);
}

#[test]
fn a_shorter_grace_wins_and_a_longer_one_does_not() {
    let Some(pod) = Pod::start("a_shorter_grace_wins_and_a_longer_one_does_not") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "trap '' TERM; echo ready; while :; do sleep 1; done"));
    client.wait_for_log(&pod, "a", "ready");
    client.stop("a", 600_000);
    let first = client.state().containers[0].stop_deadline.clone().expect("armed").at;
    client.stop("a", 900_000);
    assert_eq!(client.state().containers[0].stop_deadline.clone().expect("armed").at, first);
    client.stop("a", 100);
    assert_eq!(client.container_exit("a").end, KILLED);
}

#[test]
fn the_stop_signal_goes_out_once() {
    let Some(pod) = Pod::start("the_stop_signal_goes_out_once") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "trap 'echo term' TERM; trap 'exit 0' USR1; echo ready; while :; do sleep 0.01; done"));
    client.wait_for_log(&pod, "a", "ready");
    for timeout_ms in [60_000, 50_000, 40_000] {
        client.stop("a", timeout_ms);
        client.wait_for_log(&pod, "a", "term");
    }
    let signal = SignalNumber::try_from(10).expect("SIGUSR1");
    client.call(Call::SignalContainer { container: container_id("a"), signal, why: String::new() }).expect("it runs");
    client.container_exit("a");
    assert_eq!(pod.log("a"), ["stdout F ready", "stdout F term"]);
}

#[test]
fn without_grace_the_whole_container_is_killed_without_another_signal() {
    let Some(pod) = Pod::start("without_grace_the_whole_container_is_killed_without_another_signal") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "trap 'echo term' TERM; echo ready; sleep 1000 & while :; do sleep 0.01; done"));
    client.wait_for_log(&pod, "a", "ready");
    client.stop("a", 0);
    let exit = client.container_exit("a");
    assert_eq!((&exit.end, exit.killed_by_shim().map(|sent| sent.by)), (&KILLED, Some(Sender::Client)));
    assert_eq!(pod.log("a"), ["stdout F ready"]);
}

#[test]
fn a_container_that_was_never_started_is_stopped_at_once() {
    let Some(pod) = Pod::start("a_container_that_was_never_started_is_stopped_at_once") else { return };
    let mut client = pod.subscriber();
    client.create(pod.shell("a", "echo never"));
    client.stop("a", 60_000);
    let exit = client.container_exit("a");
    assert_eq!((&exit.end, exit.started_at), (&KILLED, None));
}

#[test]
fn the_answer_to_a_stop_tells_when_the_container_will_be_gone() {
    let Some(pod) = Pod::start("the_answer_to_a_stop_tells_when_the_container_will_be_gone") else { return };
    let mut client = pod.subscriber();
    client.run(pod.shell("a", "trap '' TERM; echo ready; while :; do sleep 1; done"));
    client.wait_for_log(&pod, "a", "ready");
    let stop =
        |timeout_ms| Call::StopContainer { container: container_id("a"), signal: SignalNumber::TERM, timeout_ms, why: String::new() };
    let answers = [10_000, 20_000].map(|timeout_ms| match client.call(stop(timeout_ms)).expect("it runs") {
        Answer::Stopping(accepted) => accepted,
        other => panic!("not a stop: {other:?}"),
    });
    assert_eq!(answers[0].signaled_at.plus_ms(10_000).boot_ns, answers[0].deadline.boot_ns);
    assert_eq!(answers[0], answers[1], "a later stop changed something");
}
