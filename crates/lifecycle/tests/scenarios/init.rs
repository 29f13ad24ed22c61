//! Init containers and sidecars: their order at start and at stop (section 6).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 6.a.1, 6.a.5, 6.a.8, 6.a.12, 6.a.15, 8.b.4, 8.b.5, 6.a.7
#[test]
fn init_containers_run_one_at_a_time_and_each_must_succeed() {
    assert_snapshot!(play(
        "init i1
         init i2
         app a
         life i1 2s exit 0
         life i2 3s exit 0
         until 10s
         hide events
         show conditions"
    ), @"
    0.000 CreateSandbox 0
    0.000 i1: Waiting PodInitializing
    0.000 i2: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 PodReadyToStartContainers=False
    0.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [i1 i2])
    0.000 Ready=False ContainersNotReady (containers with unready status: [a])
    0.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    0.000 PodScheduled=True
    0.000 phase Pending
    0.000 InspectImage i1
    0.000 PodReadyToStartContainers=True
    0.000 CreateContainer i1#0
    0.000 StartContainer i1#0
    0.000 i1: Running, started
    2.000 i1: Terminated 0 Completed, done
    2.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [i2])
    2.000 InspectImage i2
    2.000 CreateContainer i2#0
    2.000 StartContainer i2#0
    2.000 i2: Running, started
    5.000 i2: Terminated 0 Completed, done
    5.000 Initialized=True
    5.000 InspectImage a
    5.000 CreateContainer a#0
    5.000 StartContainer a#0
    5.000 a: Running, ready
    5.000 Ready=True
    5.000 ContainersReady=True
    5.000 phase Running
    5.000 Stalled
    ");
}

// k8s: 6.a.9, 5.a.8, 5.b.4, 8.a.1
#[test]
fn an_init_container_that_fails_is_tried_again_with_pauses() {
    assert_snapshot!(play(
        "init i
         app a
         life i 1s exit 1
         life i#3 1s exit 0
         until 60s
         only StartContainer phase"
    ), @"
    0.000 phase Pending
    0.000 StartContainer i#0
    1.000 StartContainer i#1
    12.000 StartContainer i#2
    33.000 StartContainer i#3
    34.000 StartContainer a#0
    34.000 phase Running
    34.000 Stalled
    ");
}

// k8s: 5.a.8
#[test]
fn an_init_container_that_succeeded_is_not_run_again_under_always() {
    assert_snapshot!(play(
        "init i
         app a
         life i 1s exit 0
         until 60s
         only StartContainer"
    ), @"
    0.000 StartContainer i#0
    1.000 StartContainer a#0
    1.000 Stalled
    ");
}

// k8s: 5.a.9, 8.d.3
#[test]
fn an_init_container_that_ran_out_of_memory_has_failed() {
    assert_snapshot!(play(
        "pod restart Never
         init i
         app a
         at 3s oom i
         from 3s"
    ), @"
    3.000 i: Terminated 137 OOMKilled
    3.000 StopSandbox
    3.000 CleanUpPod
    3.000 phase Failed
    3.000 Gone
    ");
}

// k8s: 6.a.10, 4.a.14, 8.a.2, 8.b.10, 8.c.1
#[test]
fn an_init_container_that_failed_for_good_ends_the_pod_and_stops_its_sidecars() {
    assert_snapshot!(play(
        "pod restart Never
         sidecar s preStop exec
         init i
         app a
         hook s preStop 2s
         life i 3s exit 5
         from 3s
         show conditions"
    ), @"
    3.000 i: Terminated 5 Error
    3.000 Ready=False PodFailed
    3.000 ContainersReady=False PodFailed
    3.000 Normal Killing s: Stopping container s
    3.000 RunHook s#0 preStop
    5.000 StopContainer s#0 kill after 28s
    5.000 StopSandbox
    5.000 s: Terminated 0 Completed
    5.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [s i])
    5.000 CleanUpPod
    5.000 PodReadyToStartContainers=False
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 6.a.6, 2.b.18
#[test]
fn an_init_container_that_cannot_be_started_is_started_again() {
    assert_snapshot!(play(
        "init i
         app a
         life i 1s exit 0
         start i fails 1
         until 5s
         hide events"
    ), @"
    0.000 CreateSandbox 0
    0.000 i: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 InspectImage i
    0.000 CreateContainer i#0
    0.000 StartContainer i#0
    0.000 i: Waiting RunContainerError (no such file), last 128 StartError (no such file)
    0.000 InspectImage i
    0.000 CreateContainer i#1
    0.000 StartContainer i#1
    0.000 i: Running, restarts 1, last 128 StartError (no such file), started
    1.000 i: Terminated 0 Completed, restarts 1, last 128 StartError (no such file), done
    1.000 InspectImage a
    1.000 CreateContainer a#0
    1.000 StartContainer a#0
    1.000 a: Running, ready
    1.000 phase Running
    1.000 Stalled
    ");
}

// k8s: 6.a.13, 12.c.4
#[test]
fn a_restart_of_a_regular_container_does_not_run_init_containers_again() {
    assert_snapshot!(play(
        "init i
         app a
         life i 1s exit 0
         life a#0 5s exit 1
         until 10s
         only StartContainer"
    ), @"
    0.000 StartContainer i#0
    1.000 StartContainer a#0
    6.000 StartContainer a#1
    6.000 Stalled
    ");
}

// k8s: 6.b.1, 2.d.5
#[test]
fn the_next_container_waits_for_the_post_start_of_a_sidecar() {
    assert_snapshot!(play(
        "sidecar s postStart exec
         app a
         hook s postStart 4s
         until 10s
         hide events"
    ), @"
    0.000 CreateSandbox 0
    0.000 s: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 InspectImage s
    0.000 CreateContainer s#0
    0.000 StartContainer s#0
    0.000 RunHook s#0 postStart
    4.000 InspectImage a
    4.000 s: Running, ready
    4.000 CreateContainer a#0
    4.000 StartContainer a#0
    4.000 a: Running, ready
    4.000 phase Running
    4.000 Stalled
    ");
}

// k8s: 6.b.2, 8.a.3, 7.b.8
#[test]
fn the_next_container_waits_for_the_startup_probe_of_a_sidecar() {
    assert_snapshot!(play(
        "sidecar s startup every 1 fails 10
         app a
         probe s startup fails until 3s
         until 10s
         hide events
         only StartContainer s: a: phase"
    ), @"
    0.000 s: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 StartContainer s#0
    0.000 s: Running
    3.000 s: Running, ready
    3.000 StartContainer a#0
    3.000 a: Running, ready
    3.000 phase Running
    3.000 Stalled
    ");
}

// k8s: 6.b.3, 4.a.7
#[test]
fn a_sidecar_whose_startup_probe_fails_is_restarted_and_holds_back_the_rest() {
    assert_snapshot!(play(
        "sidecar s startup every 1 fails 2 preStop exec
         app a
         probe s startup fails
         until 15s
         hide events does"
    ), @"
    0.000 s: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 s: Running
    1.000 s: Terminated 0 Completed
    1.000 s: Running, restarts 1, last 0 Completed
    2.000 s: Terminated 0 Completed, restarts 1, last 0 Completed
    2.000 s: Waiting CrashLoopBackOff (back-off 10s restarting failed container=s pod=p_ns(u)), restarts 1, last 0 Completed
    12.000 s: Running, restarts 2, last 0 Completed
    13.000 s: Terminated 0 Completed, restarts 2, last 0 Completed
    13.000 s: Waiting CrashLoopBackOff (back-off 20s restarting failed container=s pod=p_ns(u)), restarts 2, last 0 Completed
    13.000 TimeUp
    ");
}

// k8s: 6.b.4, 4.a.7
#[test]
fn a_sidecar_whose_liveness_probe_fails_is_killed_and_restarted() {
    assert_snapshot!(play(
        "sidecar s liveness every 1 fails 2
         app a
         probe s liveness fails from 5s
         until 7s
         from 5s"
    ), @r#"
    5.000 RunProbe s#0 Liveness
    5.000 Warning Unhealthy s: Liveness probe failed: bad
    6.000 RunProbe s#0 Liveness
    6.000 Warning Unhealthy s: Liveness probe failed: bad
    6.000 Normal Killing s: Init container s failed liveness probe
    6.000 StopContainer s#0 kill after 30s
    6.000 s: Terminated 0 Completed
    6.000 InspectImage s
    6.000 Normal Pulled s: Container image "img" already present on machine and can be accessed by the pod
    6.000 CreateContainer s#1
    6.000 Normal Created s: Container created
    6.000 StartContainer s#1
    6.000 Normal Started s: Container started
    6.000 s: Running, restarts 1, last 0 Completed, ready
    6.000 RunProbe s#1 Liveness
    7.000 RunProbe s#1 Liveness
    7.000 TimeUp
    "#);
}

// k8s: 6.b.5, 8.b.7, 8.b.8
#[test]
fn the_readiness_of_a_sidecar_counts_for_the_pod() {
    assert_snapshot!(play(
        "sidecar s readiness every 1
         app a
         probe s readiness fails from 5s
         until 8s
         from 5s
         show conditions"
    ), @"
    5.000 RunProbe s#0 Readiness
    5.000 Warning Unhealthy s: Readiness probe failed: bad
    6.000 RunProbe s#0 Readiness
    6.000 Warning Unhealthy s: Readiness probe failed: bad
    7.000 RunProbe s#0 Readiness
    7.000 Warning Unhealthy s: Readiness probe failed: bad
    7.000 s: Running, started
    7.000 Ready=False ContainersNotReady (containers with unready status: [s])
    7.000 ContainersReady=False ContainersNotReady (containers with unready status: [s])
    8.000 RunProbe s#0 Readiness
    8.000 Warning Unhealthy s: Readiness probe failed: bad
    8.000 TimeUp
    ");
}

// k8s: 6.b.6, 6.b.9, 6.b.10, 8.a.3
#[test]
fn a_sidecar_that_crashes_before_it_was_reached_keeps_the_pod_pending() {
    assert_snapshot!(play(
        "sidecar s startup every 1
         app a
         probe s startup fails
         life s 2s exit 1
         until 16s
         hide does events"
    ), @"
    0.000 s: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 s: Running
    2.000 s: Terminated 1 Error
    2.000 s: Running, restarts 1, last 1 Error
    4.000 s: Terminated 1 Error, restarts 1, last 1 Error
    4.000 s: Waiting CrashLoopBackOff (back-off 10s restarting failed container=s pod=p_ns(u)), restarts 1, last 1 Error
    14.000 s: Running, restarts 2, last 1 Error
    16.000 s: Terminated 1 Error, restarts 2, last 1 Error
    16.000 s: Waiting CrashLoopBackOff (back-off 20s restarting failed container=s pod=p_ns(u)), restarts 2, last 1 Error
    16.000 TimeUp
    ");
}

// k8s: 6.b.9, 2.b.18
#[test]
fn a_sidecar_that_cannot_start_does_not_hold_back_others_that_restart() {
    assert_snapshot!(play(
        "sidecar s1
         sidecar s2
         app a
         life s1#0 5s exit 1
         life s2#0 5s exit 1
         create s1 passes 1 fails 1
         until 8s
         from 5s
         hide events"
    ), @r#"
    5.000 s1: Terminated 1 Error
    5.000 InspectImage s1
    5.000 s2: Terminated 1 Error
    5.000 CreateContainer s1#1
    5.000 InspectImage s2
    5.000 s1: Waiting CreateContainerConfigError (secret "s" not found), last 1 Error
    5.000 CreateContainer s2#1
    5.000 StartContainer s2#1
    5.000 s2: Running, restarts 1, last 1 Error, ready
    5.000 TimeUp
    "#);
}

// k8s: 6.b.11, 4.a.15, 6.c.11, 8.a.10
#[test]
fn when_the_last_regular_container_is_done_the_sidecars_stop_and_do_not_count() {
    assert_snapshot!(play(
        "pod restart Never
         sidecar s preStop exec
         app a
         hook s preStop 2s
         term s dies
         life a 5s exit 0
         from 5s"
    ), @"
    5.000 a: Terminated 0 Completed
    5.000 Normal Killing s: Stopping container s
    5.000 RunHook s#0 preStop
    7.000 StopContainer s#0 kill after 28s
    7.000 StopSandbox
    7.000 s: Terminated 143 Error
    7.000 CleanUpPod
    7.000 phase Succeeded
    7.000 Gone
    ");
}

// k8s: 6.c.1, 6.c.2, 6.c.3, 6.c.4
#[test]
fn hooks_run_at_once_but_sidecars_get_their_signal_in_reverse_order_after_the_rest() {
    assert_snapshot!(play(
        "sidecar s1 preStop exec
         sidecar s2 preStop exec
         app a preStop exec
         app b
         hook s1 preStop 1s
         hook s2 preStop 1s
         hook a preStop 2s
         term a 3s
         term b 1s
         term s2 2s
         at 5s delete
         from 5s
         show notes"
    ), @"
    5.000 delete
    5.000 termination begins: Deleted, grace 30s
    5.000 Normal Killing s1: Stopping container s1
    5.000 stop of s1#0 begins: Deleted, grace 30s
    5.000 RunHook s1#0 preStop
    5.000 Normal Killing s2: Stopping container s2
    5.000 stop of s2#0 begins: Deleted, grace 30s
    5.000 RunHook s2#0 preStop
    5.000 Normal Killing a: Stopping container a
    5.000 stop of a#0 begins: Deleted, grace 30s
    5.000 RunHook a#0 preStop
    5.000 Normal Killing b: Stopping container b
    5.000 stop of b#0 begins: Deleted, grace 30s
    5.000 StopContainer b#0 kill after 30s
    6.000 s1 waits for its turn to stop
    6.000 s2 waits for its turn to stop
    6.000 b: Terminated 0 Completed
    7.000 StopContainer a#0 kill after 28s
    10.000 StopContainer s2#0 kill after 25s
    10.000 a: Terminated 0 Completed
    12.000 StopContainer s1#0 kill after 23s
    12.000 s2: Terminated 0 Completed
    12.000 StopSandbox
    12.000 s1: Terminated 0 Completed
    12.000 CleanUpPod
    12.000 phase Succeeded
    12.000 Gone
    ");
}

// k8s: 6.c.4, 3.b.4
#[test]
fn seconds_that_a_sidecar_waited_are_taken_from_its_grace() {
    assert_snapshot!(play(
        "sidecar s
         app a
         term a 4.5s
         term s ignored
         at 5s delete grace 10
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 10
    5.000 Normal Killing s: Stopping container s
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 10s
    9.500 StopContainer s#0 kill after 6s
    15.500 KillContainer s#0
    15.500 StopSandbox
    15.500 CleanUpPod
    15.500 Gone
    ");
}

// k8s: 6.c.7, 6.c.8, 3.b.5, 3.b.11
#[test]
fn a_regular_container_that_uses_up_the_grace_leaves_its_sidecars_two_seconds() {
    assert_snapshot!(play(
        "sidecar s1
         sidecar s2
         app a
         term a ignored
         term s1 ignored
         term s2 ignored
         at 5s delete grace 10
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 10
    5.000 Normal Killing s1: Stopping container s1
    5.000 Normal Killing s2: Stopping container s2
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 10s
    15.000 StopContainer s1#0 kill after 2s
    15.000 StopContainer s2#0 kill after 2s
    15.000 KillContainer a#0
    17.000 KillContainer s1#0
    17.000 KillContainer s2#0
    17.000 StopSandbox
    17.000 CleanUpPod
    17.000 Gone
    ");
}

// k8s: 6.c.7, 3.b.11
#[test]
fn the_wait_of_a_sidecar_ends_with_the_grace_even_after_a_hook_of_broken_seconds() {
    assert_snapshot!(play(
        "sidecar s preStop exec
         app a
         hook s preStop 3.7s
         term a ignored
         term s ignored
         at 5s delete grace 10
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 10
    5.000 Normal Killing s: Stopping container s
    5.000 RunHook s#0 preStop
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 10s
    15.000 StopContainer s#0 kill after 2s
    15.000 KillContainer a#0
    17.000 KillContainer s#0
    17.000 StopSandbox
    17.000 CleanUpPod
    17.000 Gone
    ");
}

// k8s: 6.c.5
#[test]
fn an_init_container_that_runs_is_stopped_at_once_and_holds_back_nobody() {
    assert_snapshot!(play(
        "sidecar s
         init i
         app a
         term i ignored
         term s 1s
         at 5s delete grace 10
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 10
    5.000 Normal Killing s: Stopping container s
    5.000 StopContainer s#0 kill after 10s
    5.000 Normal Killing i: Stopping container i
    5.000 StopContainer i#0 kill after 10s
    15.000 KillContainer i#0
    15.000 StopSandbox
    15.000 CleanUpPod
    15.000 Gone
    ");
}

// k8s: 6.c.6
#[test]
fn what_does_not_run_holds_back_no_sidecar() {
    assert_snapshot!(play(
        "sidecar s
         app a
         app b
         create b takes 60s
         life a 2s exit 1
         at 4s delete
         from 4s
         hide shows"
    ), @"
    4.000 delete
    4.000 Normal Killing s: Stopping container s
    4.000 StopContainer s#0 kill after 30s
    60.000 RemoveContainer b#0
    60.000 StopSandbox
    60.000 CleanUpPod
    60.000 Gone
    ");
}

// k8s: 6.c.9, 3.b.8
#[test]
fn a_stop_signal_that_failed_leaves_the_sidecar_waiting_until_its_grace_is_over() {
    assert_snapshot!(play(
        "sidecar s
         app a
         stop a fails
         term s 1s
         at 5s delete grace 10
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 10
    5.000 Normal Killing s: Stopping container s
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 10s
    5.000 Warning FailedKillPod pod: error killing pod: runtime is away
    15.000 StopContainer s#0 kill after 2s
    15.000 KillContainer a#0
    16.000 StopSandbox
    16.000 CleanUpPod
    16.000 Gone
    ");
}

// k8s: 6.c.10
#[test]
fn a_sidecar_that_ends_early_is_not_restarted_while_the_pod_goes() {
    assert_snapshot!(play(
        "sidecar s
         app a
         term a 5s
         at 5s delete
         at 7s exit s 1
         from 5s
         hide shows"
    ), @"
    5.000 delete
    5.000 Normal Killing s: Stopping container s
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 30s
    10.000 StopSandbox
    10.000 CleanUpPod
    10.000 Gone
    ");
}

// k8s: 3.f.9, 8.a.23
#[test]
fn of_a_pod_that_never_got_through_its_init_containers_the_rest_stays_waiting() {
    assert_snapshot!(play(
        "init i1
         init i2
         app a
         at 5s delete
         from 5s
         show conditions"
    ), @"
    5.000 delete
    5.000 Normal Killing i1: Stopping container i1
    5.000 StopContainer i1#0 kill after 30s
    5.000 StopSandbox
    5.000 i1: Terminated 0 Completed, done
    5.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [i2])
    5.000 CleanUpPod
    5.000 PodReadyToStartContainers=False
    5.000 Ready=False PodFailed
    5.000 ContainersReady=False PodFailed
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 3.f.9
#[test]
fn of_a_pod_that_never_started_only_the_first_init_container_is_missed() {
    assert_snapshot!(play(
        "sandbox takes 5s
         init i1
         init i2
         app a
         at 2s delete"
    ), @"
    0.000 CreateSandbox 0
    0.000 i1: Waiting PodInitializing
    0.000 i2: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    2.000 delete
    5.000 StopSandbox
    5.000 CleanUpPod
    5.000 i1: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 3.f.9
#[test]
fn of_a_pod_that_got_through_its_init_containers_the_regular_ones_are_missed() {
    assert_snapshot!(play(
        "init i
         app a
         life i 1s exit 0
         create a takes 60s
         at 5s delete
         from 5s"
    ), @"
    5.000 delete
    61.000 RemoveContainer a#0
    61.000 StopSandbox
    61.000 CleanUpPod
    61.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    61.000 phase Failed
    61.000 Gone
    ");
}
