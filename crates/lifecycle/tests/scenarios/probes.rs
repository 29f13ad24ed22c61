//! Probes: when, how often, and what follows (section 7).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 7.a.1, 7.a.3, 7.a.8, 7.g.1, 7.b.2, 7.b.9, 4.a.4, 10.c.9
#[test]
fn the_first_probe_comes_after_its_delay_then_one_each_period_until_the_threshold_kills() {
    assert_snapshot!(play(
        "app a liveness every 2 after 3 fails 2
         probe a liveness fails from 7s
         until 9s
         show tells
         from 1s
         hide shows"
    ), @r#"
    3.000 RunProbe a#0 Liveness
    3.000 RunProbe a#0 Liveness: success
    5.000 RunProbe a#0 Liveness
    5.000 RunProbe a#0 Liveness: success
    7.000 RunProbe a#0 Liveness
    7.000 RunProbe a#0 Liveness: failure: bad
    7.000 Warning Unhealthy a: Liveness probe failed: bad
    9.000 RunProbe a#0 Liveness
    9.000 RunProbe a#0 Liveness: failure: bad
    9.000 Warning Unhealthy a: Liveness probe failed: bad
    9.000 Normal Killing a: Container a failed liveness probe, will be restarted
    9.000 StopContainer a#0 kill after 30s
    9.000 StopContainer a#0 kill after 30s: done
    9.000 a#0 exited 0 Completed
    9.000 InspectImage a
    9.000 InspectImage a: present
    9.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    9.000 CreateContainer a#1
    9.000 CreateContainer a#1: done
    9.000 Normal Created a: Container created
    9.000 StartContainer a#1
    9.000 StartContainer a#1: done
    9.000 Normal Started a: Container started
    9.000 TimeUp
    "#);
}

// k8s: 7.a.8, 7.a.10, 7.a.16, 7.a.20
#[test]
fn the_delay_counts_anew_after_each_restart() {
    assert_snapshot!(play(
        "app a readiness every 10 after 5
         life a#0 12s exit 1
         until 20s
         only RunProbe StartContainer"
    ), @"
    0.000 StartContainer a#0
    5.000 RunProbe a#0 Readiness
    12.000 StartContainer a#1
    17.000 RunProbe a#1 Readiness
    17.000 TimeUp
    ");
}

/// Difference 26 of docs/differences.md.
#[test]
fn attempts_come_in_their_period_and_over_the_network_on_a_common_grid_as_soon_as_they_go_well() {
    assert_snapshot!(play(
        "app a readiness every 2 http
         start a takes 1234ms
         until 8s
         only RunProbe"
    ), @"
    1.234 RunProbe a#0 Readiness
    3.234 RunProbe a#0 Readiness
    5.000 RunProbe a#0 Readiness
    7.000 RunProbe a#0 Readiness
    7.000 TimeUp
    ");
}

// k8s: 7.a.8
#[test]
fn commands_come_in_their_period_and_on_no_grid() {
    assert_snapshot!(play(
        "app a readiness every 2
         start a takes 1234ms
         until 8s
         only RunProbe"
    ), @"
    1.234 RunProbe a#0 Readiness
    3.234 RunProbe a#0 Readiness
    5.234 RunProbe a#0 Readiness
    7.234 RunProbe a#0 Readiness
    7.234 TimeUp
    ");
}

// k8s: 7.a.9
#[test]
fn attempts_of_one_probe_never_overlap_and_a_slow_one_delays_the_next() {
    assert_snapshot!(play(
        "app a readiness every 2
         probe a readiness ok takes 5s
         until 12s
         show tells
         only Probe"
    ), @"
    0.000 RunProbe a#0 Readiness
    5.000 RunProbe a#0 Readiness: success
    5.000 RunProbe a#0 Readiness
    10.000 RunProbe a#0 Readiness: success
    10.000 RunProbe a#0 Readiness
    10.000 TimeUp
    ");
}

// k8s: 7.a.10, 7.c.4
#[test]
fn a_container_is_not_ready_before_its_readiness_probe_succeeded() {
    assert_snapshot!(play(
        "app a readiness every 1 after 3
         until 4s
         show conditions
         hide events does"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 PodReadyToStartContainers=False
    0.000 Initialized=True
    0.000 Ready=False ContainersNotReady (containers with unready status: [a])
    0.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    0.000 PodScheduled=True
    0.000 phase Pending
    0.000 PodReadyToStartContainers=True
    0.000 a: Running, started
    0.000 phase Running
    3.000 a: Running, ready
    3.000 Ready=True
    3.000 ContainersReady=True
    4.000 TimeUp
    ");
}

// k8s: 7.a.11, 7.a.12, 7.c.1, 6.b.2
#[test]
fn nothing_else_is_probed_before_the_startup_probe_succeeded_and_it_is_not_run_again() {
    assert_snapshot!(play(
        "app a startup every 1 liveness every 1 readiness every 1
         probe a startup fails until 2s
         until 4s
         only RunProbe a:"
    ), @r#"
    0.000 a: Waiting ContainerCreating
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 Normal Created a: Container created
    0.000 Normal Started a: Container started
    0.000 a: Running
    0.000 RunProbe a#0 Startup
    0.000 Warning Unhealthy a: Startup probe failed: bad
    1.000 RunProbe a#0 Startup
    1.000 Warning Unhealthy a: Startup probe failed: bad
    2.000 RunProbe a#0 Startup
    2.000 a: Running, started
    2.000 RunProbe a#0 Liveness
    2.000 RunProbe a#0 Readiness
    2.000 a: Running, ready
    3.000 RunProbe a#0 Liveness
    3.000 RunProbe a#0 Readiness
    4.000 RunProbe a#0 Liveness
    4.000 RunProbe a#0 Readiness
    4.000 TimeUp
    "#);
}

// k8s: 7.a.13
#[test]
fn a_result_turns_only_after_so_many_equal_ones_in_a_row() {
    assert_snapshot!(play(
        "app a readiness every 1 passes 2 fails 3
         probe a readiness fails from 5s until 7s
         probe a readiness fails from 9s until 13s
         until 16s
         hide events does"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 a: Running, started
    0.000 phase Running
    1.000 a: Running, ready
    11.000 a: Running, started
    14.000 a: Running, ready
    16.000 TimeUp
    ");
}

// k8s: 7.a.15, 7.b.6
#[test]
fn after_its_failure_liveness_is_not_probed_until_the_next_instance() {
    assert_snapshot!(play(
        "app a liveness every 1 fails 1 preStop exec
         hook a preStop 5s
         probe a liveness fails from 3s
         until 9s
         only RunProbe Killing StartContainer"
    ), @"
    0.000 StartContainer a#0
    0.000 RunProbe a#0 Liveness
    1.000 RunProbe a#0 Liveness
    2.000 RunProbe a#0 Liveness
    3.000 RunProbe a#0 Liveness
    3.000 Normal Killing a: Container a failed liveness probe, will be restarted
    8.000 StartContainer a#1
    8.000 RunProbe a#1 Liveness
    9.000 RunProbe a#1 Liveness
    9.000 TimeUp
    ");
}

// k8s: 7.a.19, 3.f.2, 7.g.4, 12.d.1
#[test]
fn while_the_pod_goes_only_readiness_is_probed() {
    assert_snapshot!(play(
        "sidecar s liveness every 1 readiness every 1
         app a liveness every 1 readiness every 1
         term a 2s
         at 5s delete
         from 5s
         only RunProbe StopContainer"
    ), @"
    5.000 StopContainer a#0 kill after 30s
    5.000 RunProbe s#0 Readiness
    5.000 RunProbe a#0 Readiness
    6.000 RunProbe s#0 Readiness
    6.000 RunProbe a#0 Readiness
    7.000 RunProbe s#0 Readiness
    7.000 RunProbe a#0 Readiness
    7.000 StopContainer s#0 kill after 28s
    7.000 Gone
    ");
}

// k8s: 3.f.3, 7.b.7, 8.b.20
#[test]
fn readiness_still_turns_while_the_pod_goes() {
    assert_snapshot!(play(
        "app a readiness every 1 fails 1
         probe a readiness fails from 7s
         term a 4s
         at 5s delete
         from 5s
         show conditions
         hide does"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    7.000 Warning Unhealthy a: Readiness probe failed: bad
    7.000 a: Running, started
    7.000 Ready=False ContainersNotReady (containers with unready status: [a])
    7.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    8.000 Warning Unhealthy a: Readiness probe failed: bad
    9.000 Warning Unhealthy a: Readiness probe failed: bad
    9.000 a: Terminated 0 Completed
    9.000 PodReadyToStartContainers=False
    9.000 Initialized=True PodCompleted
    9.000 Ready=False PodCompleted
    9.000 ContainersReady=False PodCompleted
    9.000 phase Succeeded
    9.000 Gone
    ");
}

// k8s: 7.b.1, 12.d.3, 7.e.8
#[test]
fn a_probe_that_cannot_be_made_is_tried_three_times_and_then_counts_for_nothing() {
    assert_snapshot!(play(
        "app a liveness every 5 fails 1
         probe a liveness errors
         until 6s
         from 0s
         only Probe Unhealthy"
    ), @"
    0.000 RunProbe a#0 Liveness
    0.000 RunProbe a#0 Liveness
    0.000 RunProbe a#0 Liveness
    0.000 Warning Unhealthy a: Liveness probe errored and resulted in unknown state: no exec
    5.000 RunProbe a#0 Liveness
    5.000 RunProbe a#0 Liveness
    5.000 RunProbe a#0 Liveness
    5.000 Warning Unhealthy a: Liveness probe errored and resulted in unknown state: no exec
    5.000 TimeUp
    ");
}

// k8s: 7.b.3, 10.c.9
#[test]
fn a_warning_is_a_success_with_something_to_say() {
    assert_snapshot!(play(
        "app a readiness every 5
         probe a readiness warns
         until 1s
         only Probe a:"
    ), @r#"
    0.000 a: Waiting ContainerCreating
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 Normal Created a: Container created
    0.000 Normal Started a: Container started
    0.000 a: Running, started
    0.000 RunProbe a#0 Readiness
    0.000 Warning ProbeWarning a: Readiness probe warning: elsewhere
    0.000 a: Running, ready
    0.000 TimeUp
    "#);
}

// k8s: 7.b.7, 7.b.10, 8.b.11
#[test]
fn readiness_turns_the_conditions_at_once() {
    assert_snapshot!(play(
        "app a readiness every 1 fails 2
         probe a readiness fails from 3s until 6s
         until 7s
         from 1s
         show conditions
         hide does"
    ), @"
    3.000 Warning Unhealthy a: Readiness probe failed: bad
    4.000 Warning Unhealthy a: Readiness probe failed: bad
    4.000 a: Running, started
    4.000 Ready=False ContainersNotReady (containers with unready status: [a])
    4.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    5.000 Warning Unhealthy a: Readiness probe failed: bad
    6.000 a: Running, ready
    6.000 Ready=True
    6.000 ContainersReady=True
    7.000 TimeUp
    ");
}

// k8s: 7.b.8
#[test]
fn startup_turns_started_at_once() {
    assert_snapshot!(play(
        "app a startup every 1 fails 10
         probe a startup fails until 3s
         until 4s
         hide does events"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 a: Running
    0.000 phase Running
    3.000 a: Running, ready
    3.000 Stalled
    ");
}

// k8s: 7.c.2, 7.c.3
#[test]
fn a_plain_init_container_is_started_while_it_runs_and_ready_when_it_succeeded() {
    assert_snapshot!(play(
        "init i
         app a
         life i 2s exit 0
         until 2s
         only i:"
    ), @r#"
    0.000 i: Waiting PodInitializing
    0.000 Normal Pulled i: Container image "img" already present on machine and can be accessed by the pod
    0.000 Normal Created i: Container created
    0.000 Normal Started i: Container started
    0.000 i: Running, started
    2.000 i: Terminated 0 Completed, done
    2.000 Stalled
    "#);
}

// k8s: 7.c.5
#[test]
fn without_probes_a_container_is_started_and_ready_as_soon_as_it_runs() {
    assert_snapshot!(play(
        "app a
         until 0s
         only a:
         hide events"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 a: Running, ready
    0.000 Stalled
    ");
}

// k8s: 4.a.4, 3.a.1, 7.g.2, 1.b.5, 4.d.1
#[test]
fn the_grace_of_the_probe_comes_before_that_of_the_spec() {
    assert_snapshot!(play(
        "pod grace 30
         app a liveness every 1 fails 1 grace 3 preStop exec
         hook a preStop hangs
         term a ignored
         probe a liveness fails from 5s
         until 11s
         from 5s
         hide shows"
    ), @r#"
    5.000 RunProbe a#0 Liveness
    5.000 Warning Unhealthy a: Liveness probe failed: bad
    5.000 Normal Killing a: Container a failed liveness probe, will be restarted
    5.000 RunHook a#0 preStop
    8.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    8.000 CancelHook of RunHook a#0 preStop
    8.000 StopContainer a#0 kill after 2s
    10.000 KillContainer a#0
    10.000 InspectImage a
    10.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    10.000 CreateContainer a#1
    10.000 Normal Created a: Container created
    10.000 StartContainer a#1
    10.000 Normal Started a: Container started
    10.000 RunProbe a#1 Liveness
    11.000 RunProbe a#1 Liveness
    11.000 TimeUp
    "#);
}

// k8s: 4.a.5, 3.a.1
#[test]
fn a_startup_probe_that_fails_kills_with_its_own_grace() {
    assert_snapshot!(play(
        "pod grace 30
         app a startup every 1 fails 2 grace 4
         term a ignored
         probe a startup fails
         until 6s
         hide shows"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 RunProbe a#0 Startup
    0.000 Warning Unhealthy a: Startup probe failed: bad
    1.000 RunProbe a#0 Startup
    1.000 Warning Unhealthy a: Startup probe failed: bad
    1.000 Normal Killing a: Container a failed startup probe, will be restarted
    1.000 StopContainer a#0 kill after 4s
    5.000 KillContainer a#0
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#1
    5.000 Normal Created a: Container created
    5.000 StartContainer a#1
    5.000 Normal Started a: Container started
    5.000 RunProbe a#1 Startup
    5.000 Warning Unhealthy a: Startup probe failed: bad
    6.000 RunProbe a#1 Startup
    6.000 Warning Unhealthy a: Startup probe failed: bad
    6.000 Normal Killing a: Container a failed startup probe, will be restarted
    6.000 StopContainer a#1 kill after 4s
    6.000 TimeUp
    "#);
}

// k8s: 4.a.4, 5.a.6, 5.a.7
#[test]
fn an_unhealthy_container_that_never_restarts_is_killed_alone_while_others_live() {
    assert_snapshot!(play(
        "pod restart Never
         app a liveness every 1 fails 1
         app b
         probe a liveness fails from 3s
         life b 6s exit 0
         from 3s"
    ), @"
    3.000 RunProbe a#0 Liveness
    3.000 Warning Unhealthy a: Liveness probe failed: bad
    3.000 Normal Killing a: Container a failed liveness probe
    3.000 StopContainer a#0 kill after 30s
    3.000 a: Terminated 0 Completed
    6.000 b: Terminated 0 Completed
    6.000 StopSandbox
    6.000 CleanUpPod
    6.000 phase Succeeded
    6.000 Gone
    ");
}

// k8s: 4.a.6, 12.b.5, 5.a.7, 12.c.6
#[test]
fn the_last_container_that_is_unhealthy_and_never_restarts_takes_the_pod_with_it_and_the_grace_of_the_spec() {
    assert_snapshot!(play(
        "pod restart Never grace 8
         app a liveness every 1 fails 1 grace 3 preStop exec
         hook a preStop hangs
         probe a liveness fails from 3s
         from 3s"
    ), @"
    3.000 RunProbe a#0 Liveness
    3.000 Warning Unhealthy a: Liveness probe failed: bad
    3.000 Normal Killing a: Stopping container a
    3.000 RunHook a#0 preStop
    11.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    11.000 CancelHook of RunHook a#0 preStop
    11.000 StopContainer a#0 kill after 2s
    11.000 StopSandbox
    11.000 a: Terminated 0 Completed
    11.000 CleanUpPod
    11.000 phase Succeeded
    11.000 Gone
    ");
}

// k8s: 7.g.3, 5.b.4
#[test]
fn crash_pauses_follow_the_restarts_of_an_unhealthy_container() {
    assert_snapshot!(play(
        "app a liveness every 1 fails 1
         probe a liveness fails from 2s
         until 40s
         only StartContainer"
    ), @"
    0.000 StartContainer a#0
    2.000 StartContainer a#1
    14.000 StartContainer a#2
    36.000 StartContainer a#3
    38.000 TimeUp
    ");
}

// k8s: 3.a.2, 7.a.18
#[test]
fn once_the_pod_is_deleted_a_probe_kills_nothing_and_its_grace_is_not_used() {
    assert_snapshot!(play(
        "app a liveness every 1 fails 1 grace 1
         probe a liveness fails from 5s takes 2s
         term a 6s
         at 6s delete grace 20
         from 5s
         show tells
         hide shows"
    ), @"
    5.000 RunProbe a#0 Liveness
    6.000 delete grace 20
    6.000 Normal Killing a: Stopping container a
    6.000 StopContainer a#0 kill after 20s
    6.000 StopContainer a#0 kill after 20s: done
    7.000 RunProbe a#0 Liveness: failure: bad
    7.000 Warning Unhealthy a: Liveness probe failed: bad
    12.000 a#0 exited 0 Completed
    12.000 StopSandbox
    12.000 the sandbox is stopped
    12.000 CleanUpPod
    12.000 the pod is cleaned up
    12.000 Gone
    ");
}

// k8s: 12.f.7
#[test]
fn two_unhealthy_containers_do_not_wait_for_each_other() {
    assert_snapshot!(play(
        "app a liveness every 1 fails 1
         app b liveness every 1 fails 1
         term a 5s
         probe a liveness fails from 3s
         probe b liveness fails from 3s
         until 4s
         from 3s
         hide shows"
    ), @r#"
    3.000 RunProbe a#0 Liveness
    3.000 RunProbe b#0 Liveness
    3.000 Warning Unhealthy a: Liveness probe failed: bad
    3.000 Normal Killing a: Container a failed liveness probe, will be restarted
    3.000 StopContainer a#0 kill after 30s
    3.000 Warning Unhealthy b: Liveness probe failed: bad
    3.000 Normal Killing b: Container b failed liveness probe, will be restarted
    3.000 StopContainer b#0 kill after 30s
    3.000 InspectImage b
    3.000 Normal Pulled b: Container image "img" already present on machine and can be accessed by the pod
    3.000 CreateContainer b#1
    3.000 Normal Created b: Container created
    3.000 StartContainer b#1
    3.000 Normal Started b: Container started
    3.000 RunProbe b#1 Liveness
    4.000 RunProbe b#1 Liveness
    4.000 TimeUp
    "#);
}

// k8s: 7.a.4
#[test]
fn probes_that_fell_due_while_no_engine_was_there_are_spread_over_their_period_and_the_others_keep_their_time() {
    assert_snapshot!(play(
        "app a readiness every 10 liveness every 10 after 75
         app b readiness every 10 liveness every 10
         at 12s engine away 60s
         until 90s
         from 72s
         only RunProbe"
    ), @"
    72.857 RunProbe b#0 Liveness
    73.338 RunProbe b#0 Readiness
    75.000 RunProbe a#0 Liveness
    81.505 RunProbe a#0 Readiness
    82.857 RunProbe b#0 Liveness
    83.338 RunProbe b#0 Readiness
    85.000 RunProbe a#0 Liveness
    85.000 TimeUp
    ");
}
