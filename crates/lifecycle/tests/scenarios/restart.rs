//! Restarts: whether (section 5.a) and when (section 5.b).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 5.a.1, 5.a.2, 5.b.4, 12.c.3
#[test]
fn always_restarts_whatever_the_exit_code() {
    assert_snapshot!(play(
        "app a
         life a#0 5s exit 0
         until 6s
         from 5s
         hide events"
    ), @"
    5.000 a: Terminated 0 Completed
    5.000 InspectImage a
    5.000 CreateContainer a#1
    5.000 StartContainer a#1
    5.000 a: Running, restarts 1, last 0 Completed, ready
    5.000 Stalled
    ");
}

// k8s: 5.a.3, 5.a.2
#[test]
fn on_failure_restarts_what_did_not_exit_with_zero() {
    assert_snapshot!(play(
        "pod restart OnFailure
         app bad
         app good
         life bad#0 5s exit 1
         life good 5s exit 0
         until 6s
         from 5s
         hide events does"
    ), @"
    5.000 bad: Terminated 1 Error
    5.000 good: Terminated 0 Completed
    5.000 bad: Running, restarts 1, last 1 Error, ready
    5.000 Stalled
    ");
}

// k8s: 5.a.3
#[test]
fn a_signal_counts_as_a_failure_by_its_exit_code() {
    assert_snapshot!(play(
        "pod restart OnFailure
         app a
         life a#0 5s signal 11
         until 6s
         from 5s
         hide events does"
    ), @"
    5.000 a: Terminated 139 Error
    5.000 a: Running, restarts 1, last 139 Error, ready
    5.000 Stalled
    ");
}

// k8s: 5.a.2, 8.a.7, 5.c.4
#[test]
fn never_restarts_nothing() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         app b
         life a 5s exit 1
         life b 9s exit 0
         from 5s
         hide events"
    ), @"
    5.000 a: Terminated 1 Error
    9.000 b: Terminated 0 Completed
    9.000 StopSandbox
    9.000 CleanUpPod
    9.000 phase Failed
    9.000 Gone
    ");
}

// k8s: 5.a.2
#[test]
fn the_policy_of_a_container_comes_before_that_of_its_pod() {
    assert_snapshot!(play(
        "pod restart Never
         app a restart Always
         app b
         life a#0 5s exit 0
         life b 6s exit 0
         until 7s
         from 5s
         hide events does"
    ), @"
    5.000 a: Terminated 0 Completed
    5.000 a: Running, restarts 1, last 0 Completed, ready
    6.000 b: Terminated 0 Completed
    6.000 Stalled
    ");
}

// k8s: 5.a.2, 5.a.4, 5.b.17, 1.e.7
#[test]
fn the_first_matching_rule_comes_before_the_policy_of_its_container() {
    assert_snapshot!(play(
        "pod restart Never
         app a restart Never rule In 42,43
         life a 5s exit 42
         until 40s
         only CreateContainer phase"
    ), @"
    0.000 phase Pending
    0.000 CreateContainer a#0
    0.000 phase Running
    5.000 CreateContainer a#1
    20.000 CreateContainer a#2
    25.000 TimeUp
    ");
}

// k8s: 5.a.4
#[test]
fn a_rule_that_names_the_codes_it_does_not_mean() {
    assert_snapshot!(play(
        "pod restart Never
         app a restart Never rule NotIn 1,2
         life a#0 5s exit 3
         life a#1 5s exit 2
         from 5s
         only a: phase"
    ), @r#"
    5.000 a: Terminated 3 Error
    5.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    5.000 Normal Created a: Container created
    5.000 Normal Started a: Container started
    5.000 a: Running, restarts 1, last 3 Error, ready
    10.000 a: Terminated 2 Error, restarts 1, last 3 Error
    10.000 phase Failed
    10.000 Gone
    "#);
}

// k8s: 5.a.2
#[test]
fn rules_without_a_policy_of_the_container_are_not_looked_at() {
    assert_snapshot!(play(
        "pod restart Never
         app a rule In 42
         life a 5s exit 42
         from 5s
         only a: phase"
    ), @"
    5.000 a: Terminated 42 Error
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 1.e.7, 5.a.4
#[test]
fn an_empty_list_of_codes_never_matches_or_always() {
    assert_snapshot!(play(
        "pod restart Never
         app a restart Never rule In none
         app b restart Never rule NotIn none
         life a 5s exit 1
         life b#0 5s exit 1
         until 8s
         from 5s
         only CreateContainer a: b:"
    ), @r#"
    5.000 a: Terminated 1 Error
    5.000 b: Terminated 1 Error
    5.000 Normal Pulled b: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer b#1
    5.000 Normal Created b: Container created
    5.000 Normal Started b: Container started
    5.000 b: Running, restarts 1, last 1 Error, ready
    5.000 Stalled
    "#);
}

// k8s: 5.a.10, 6.b.6, 6.c.12
#[test]
fn a_sidecar_restarts_whatever_its_exit_code_and_the_policy_of_the_pod() {
    assert_snapshot!(play(
        "pod restart Never
         sidecar s
         app a
         life s#0 5s exit 0
         until 8s
         from 5s
         hide events"
    ), @"
    5.000 s: Terminated 0 Completed
    5.000 InspectImage s
    5.000 CreateContainer s#1
    5.000 StartContainer s#1
    5.000 s: Running, restarts 1, last 0 Completed, ready
    5.000 Stalled
    ");
}

// k8s: 5.b.1, 5.b.2, 5.b.3
#[test]
fn pauses_after_a_crash_are_0_10_20_40_80_160_300_and_300_seconds() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         until 1300s
         only StartContainer"
    ), @"
    0.000 StartContainer a#0
    1.000 StartContainer a#1
    12.000 StartContainer a#2
    33.000 StartContainer a#3
    74.000 StartContainer a#4
    155.000 StartContainer a#5
    316.000 StartContainer a#6
    617.000 StartContainer a#7
    918.000 StartContainer a#8
    1219.000 StartContainer a#9
    1220.000 TimeUp
    ");
}

// k8s: 5.b.6, 12.c.2
#[test]
fn ten_minutes_of_running_make_the_pauses_begin_anew() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         life a#3 601s exit 1
         until 720s
         only StartContainer"
    ), @"
    0.000 StartContainer a#0
    1.000 StartContainer a#1
    12.000 StartContainer a#2
    33.000 StartContainer a#3
    634.000 StartContainer a#4
    645.000 StartContainer a#5
    666.000 StartContainer a#6
    707.000 StartContainer a#7
    708.000 TimeUp
    ");
}

// k8s: 5.b.6, 12.c.2
#[test]
fn a_little_less_than_ten_minutes_keeps_the_pause() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         life a#3 599s exit 1
         until 750s
         only StartContainer"
    ), @"
    0.000 StartContainer a#0
    1.000 StartContainer a#1
    12.000 StartContainer a#2
    33.000 StartContainer a#3
    672.000 StartContainer a#4
    673.000 TimeUp
    ");
}

// k8s: 5.b.5, 5.b.10, 10.c.6, 8.c.9
#[test]
fn a_pause_shows_first_the_end_and_then_crash_loop_back_off() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         until 13s
         from 1s
         hide does"
    ), @r#"
    1.000 a: Terminated 1 Error
    1.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    1.000 Normal Created a: Container created
    1.000 Normal Started a: Container started
    1.000 a: Running, restarts 1, last 1 Error, ready
    2.000 a: Terminated 1 Error, restarts 1, last 1 Error
    2.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    2.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), restarts 1, last 1 Error
    12.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    12.000 Normal Created a: Container created
    12.000 Normal Started a: Container started
    12.000 a: Running, restarts 2, last 1 Error, ready
    13.000 a: Terminated 1 Error, restarts 2, last 1 Error
    13.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    13.000 a: Waiting CrashLoopBackOff (back-off 20s restarting failed container=a pod=p_ns(u)), restarts 2, last 1 Error
    13.000 TimeUp
    "#);
}

// k8s: 5.b.8, 11.b.11
#[test]
fn pauses_go_on_over_a_restart_of_the_engine() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         at 5s engine away 1s
         until 40s
         only StartContainer starts"
    ), @"
    0.000 StartContainer a#0
    1.000 StartContainer a#1
    1.000 a: Running, restarts 1, last 1 Error, ready
    2.000 a: Terminated 1 Error, restarts 1, last 1 Error
    2.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), restarts 1, last 1 Error
    6.000 starts
    12.000 StartContainer a#2
    12.000 a: Running, restarts 2, last 1 Error, ready
    13.000 a: Terminated 1 Error, restarts 2, last 1 Error
    13.000 a: Waiting CrashLoopBackOff (back-off 20s restarting failed container=a pod=p_ns(u)), restarts 2, last 1 Error
    33.000 StartContainer a#3
    33.000 a: Running, restarts 3, last 1 Error, ready
    34.000 a: Terminated 1 Error, restarts 3, last 1 Error
    34.000 a: Waiting CrashLoopBackOff (back-off 40s restarting failed container=a pod=p_ns(u)), restarts 3, last 1 Error
    34.000 TimeUp
    ");
}

// k8s: 5.b.3
#[test]
fn a_pause_that_went_by_while_the_engine_was_away_is_over() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         at 5s engine away 20s
         until 30s
         only StartContainer starts"
    ), @"
    0.000 StartContainer a#0
    1.000 StartContainer a#1
    1.000 a: Running, restarts 1, last 1 Error, ready
    2.000 a: Terminated 1 Error, restarts 1, last 1 Error
    2.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), restarts 1, last 1 Error
    25.000 starts
    25.000 StartContainer a#2
    25.000 a: Running, restarts 2, last 1 Error, ready
    26.000 a: Terminated 1 Error, restarts 2, last 1 Error
    26.000 a: Waiting CrashLoopBackOff (back-off 20s restarting failed container=a pod=p_ns(u)), restarts 2, last 1 Error
    26.000 TimeUp
    ");
}

// k8s: 11.b.5, 11.b.7, 12.b.6
#[test]
fn a_stop_goes_on_over_a_restart_of_the_engine_with_the_grace_that_is_left() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 10s
         term a ignored
         at 5s delete
         at 8s engine away 4s
         from 5s
         hide shows"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    8.000 stops
    12.000 starts
    15.000 StopContainer a#0 kill after 20s
    35.000 KillContainer a#0
    35.000 StopSandbox
    35.000 CleanUpPod
    35.000 Gone
    ");
}

// k8s: 5.a.6, 4.a.4
#[test]
fn rules_are_not_asked_before_an_unhealthy_container_is_killed_but_after_its_exit() {
    assert_snapshot!(play(
        "pod restart Never
         app a restart Never rule In 0 liveness every 1 fails 1
         app b
         probe a liveness fails from 3s
         until 4s
         from 3s"
    ), @r#"
    3.000 RunProbe a#0 Liveness
    3.000 Warning Unhealthy a: Liveness probe failed: bad
    3.000 Normal Killing a: Container a failed liveness probe
    3.000 StopContainer a#0 kill after 30s
    3.000 a: Terminated 0 Completed
    3.000 InspectImage a
    3.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    3.000 CreateContainer a#1
    3.000 Normal Created a: Container created
    3.000 StartContainer a#1
    3.000 Normal Started a: Container started
    3.000 a: Running, restarts 1, last 0 Completed, ready
    3.000 RunProbe a#1 Liveness
    4.000 RunProbe a#1 Liveness
    4.000 TimeUp
    "#);
}

// k8s: 5.b.13
#[test]
fn pauses_grow_no_longer_than_the_node_has_it() {
    assert_snapshot!(play(
        "pod maxPause 25s
         app a
         life a 1s exit 1
         until 90s
         only CreateContainer"
    ), @"
    0.000 CreateContainer a#0
    1.000 CreateContainer a#1
    12.000 CreateContainer a#2
    33.000 CreateContainer a#3
    59.000 CreateContainer a#4
    85.000 CreateContainer a#5
    86.000 TimeUp
    ");
}

// k8s: 5.b.13
#[test]
fn the_first_pause_is_no_longer_than_the_longest() {
    assert_snapshot!(play(
        "pod maxPause 3s
         app a
         life a 1s exit 1
         until 10s
         only CreateContainer BackOff"
    ), @"
    0.000 CreateContainer a#0
    1.000 CreateContainer a#1
    2.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    2.000 a: Waiting CrashLoopBackOff (back-off 3s restarting failed container=a pod=p_ns(u)), restarts 1, last 1 Error
    5.000 CreateContainer a#2
    6.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    6.000 a: Waiting CrashLoopBackOff (back-off 3s restarting failed container=a pod=p_ns(u)), restarts 2, last 1 Error
    9.000 CreateContainer a#3
    10.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    10.000 a: Waiting CrashLoopBackOff (back-off 3s restarting failed container=a pod=p_ns(u)), restarts 3, last 1 Error
    10.000 TimeUp
    ");
}
