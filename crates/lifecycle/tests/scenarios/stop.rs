//! Stopping: the grace period, its order and its triggers (sections 3 and 4).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 3.b.1, 3.b.2, 3.b.6, 3.b.9, 4.a.1, 10.c.5, 10.f.1
#[test]
fn killing_is_told_then_pre_stop_runs_then_the_signal_goes_out_then_sigkill() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 10s
         term a ignored
         at 5s delete
         from 5s"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    15.000 StopContainer a#0 kill after 20s
    35.000 KillContainer a#0
    35.000 StopSandbox
    35.000 a: Terminated 137 Error
    35.000 CleanUpPod
    35.000 phase Failed
    35.000 Gone
    ");
}

// k8s: 3.b.3, 3.e.5
#[test]
fn time_used_by_pre_stop_counts_in_whole_seconds_rounded_down() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 3.9s
         term a ignored
         at 5s delete grace 10
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 10
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    8.900 StopContainer a#0 kill after 7s
    15.900 KillContainer a#0
    15.900 StopSandbox
    15.900 CleanUpPod
    15.900 Gone
    ");
}

// k8s: 3.b.5, 3.b.11
#[test]
fn a_pre_stop_that_used_up_the_grace_leaves_two_seconds() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 5s
         term a 3s
         at 5s delete grace 6
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 6
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    10.000 StopContainer a#0 kill after 2s
    12.000 KillContainer a#0
    12.000 StopSandbox
    12.000 CleanUpPod
    12.000 Gone
    ");
}

// k8s: 2.b.4, 3.b.14, 6.c.3, 12.a.12
#[test]
fn all_containers_of_a_pod_stop_at_the_same_time() {
    assert_snapshot!(play(
        "app a preStop exec
         app b preStop exec
         app c
         hook a preStop 2s
         hook b preStop 4s
         term c 1s
         at 5s delete
         from 5s
         hide shows"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    5.000 Normal Killing b: Stopping container b
    5.000 RunHook b#0 preStop
    5.000 Normal Killing c: Stopping container c
    5.000 StopContainer c#0 kill after 30s
    7.000 StopContainer a#0 kill after 28s
    9.000 StopContainer b#0 kill after 26s
    9.000 StopSandbox
    9.000 CleanUpPod
    9.000 Gone
    ");
}

// k8s: 3.b.13, 4.b.4, 6.c.6
#[test]
fn what_has_ended_is_not_stopped() {
    assert_snapshot!(play(
        "pod restart Never
         app a preStop exec
         app b
         life a 2s exit 0
         at 5s delete
         from 5s"
    ), @"
    5.000 delete
    5.000 Normal Killing b: Stopping container b
    5.000 StopContainer b#0 kill after 30s
    5.000 StopSandbox
    5.000 b: Terminated 0 Completed
    5.000 CleanUpPod
    5.000 phase Succeeded
    5.000 Gone
    ");
}

// k8s: 3.b.14, 3.f.4, 3.f.8, 5.c.7
#[test]
fn the_sandbox_goes_when_the_last_container_is_gone() {
    assert_snapshot!(play(
        "app a
         app b
         term a 1s
         term b 7s
         at 5s delete
         from 5s
         hide shows events"
    ), @"
    5.000 delete
    5.000 StopContainer a#0 kill after 30s
    5.000 StopContainer b#0 kill after 30s
    12.000 StopSandbox
    12.000 CleanUpPod
    12.000 Gone
    ");
}

// k8s: 3.b.7, 3.b.15, 10.d.4
#[test]
fn a_stop_signal_that_cannot_be_sent_is_told_and_sigkill_comes_at_the_end_of_the_grace() {
    assert_snapshot!(play(
        "app a
         stop a fails
         at 5s delete grace 7
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 7
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 7s
    5.000 Warning FailedKillPod pod: error killing pod: runtime is away
    12.000 KillContainer a#0
    12.000 StopSandbox
    12.000 CleanUpPod
    12.000 Gone
    ");
}

// k8s: 3.b.15, 10.d.4
#[test]
fn sigkill_is_sent_again_to_what_outlives_it() {
    assert_snapshot!(play(
        "app a
         term a ignored
         kill a takes 15s
         at 5s delete grace 3
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 3
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 3s
    8.000 KillContainer a#0
    18.000 Warning FailedKillPod pod: error killing pod: container a is still alive after SIGKILL
    18.000 KillContainer a#0
    23.000 StopSandbox
    23.000 CleanUpPod
    23.000 Gone
    ");
}

// k8s: 3.a.5, 3.a.6, 4.a.2
#[test]
fn a_forced_delete_gives_pre_stop_one_second_and_the_signal_two() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop hangs
         term a ignored
         at 5s delete grace 0
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 0
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    6.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    6.000 CancelHook of RunHook a#0 preStop
    6.000 StopContainer a#0 kill after 2s
    8.000 KillContainer a#0
    8.000 StopSandbox
    8.000 CleanUpPod
    8.000 Gone
    ");
}

// k8s: 3.a.6, 3.e.6
#[test]
fn a_spec_without_grace_is_deleted_with_one_second() {
    assert_snapshot!(play(
        "pod grace 0
         app a preStop exec
         hook a preStop hangs
         term a ignored
         at 5s delete
         from 5s
         hide shows"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    6.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    6.000 CancelHook of RunHook a#0 preStop
    6.000 StopContainer a#0 kill after 2s
    8.000 KillContainer a#0
    8.000 StopSandbox
    8.000 CleanUpPod
    8.000 Gone
    ");
}

// k8s: 3.a.8, 1.b.11
#[test]
fn a_longer_grace_changes_nothing() {
    assert_snapshot!(play(
        "app a
         term a ignored
         at 5s delete grace 5
         at 6s delete grace 60
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 5
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 5s
    6.000 delete grace 60
    10.000 KillContainer a#0
    10.000 StopSandbox
    10.000 CleanUpPod
    10.000 Gone
    ");
}

// k8s: 3.f.11, 12.b.1, 1.b.12
#[test]
fn a_shorter_grace_counts_at_once_while_pre_stop_runs() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop hangs
         term a ignored
         at 10s delete grace 60
         at 15s delete grace 8
         from 10s
         hide shows"
    ), @"
    10.000 delete grace 60
    10.000 Normal Killing a: Stopping container a
    10.000 RunHook a#0 preStop
    15.000 delete grace 8
    18.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    18.000 CancelHook of RunHook a#0 preStop
    18.000 StopContainer a#0 kill after 2s
    20.000 KillContainer a#0
    20.000 StopSandbox
    20.000 CleanUpPod
    20.000 Gone
    ");
}

// k8s: 3.f.11, 1.b.13
#[test]
fn a_shorter_grace_that_is_over_already_ends_pre_stop_now() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop hangs
         term a ignored
         at 10s delete grace 60
         at 15s delete grace 1
         from 10s
         hide shows"
    ), @"
    10.000 delete grace 60
    10.000 Normal Killing a: Stopping container a
    10.000 RunHook a#0 preStop
    15.000 delete grace 1
    15.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    15.000 CancelHook of RunHook a#0 preStop
    15.000 StopContainer a#0 kill after 2s
    17.000 KillContainer a#0
    17.000 StopSandbox
    17.000 CleanUpPod
    17.000 Gone
    ");
}

// k8s: 3.f.11, 1.b.12
#[test]
fn a_shorter_grace_counts_at_once_while_the_signal_is_out() {
    assert_snapshot!(play(
        "app a
         term a ignored
         at 10s delete grace 60
         at 15s delete grace 8
         from 10s
         hide shows"
    ), @"
    10.000 delete grace 60
    10.000 Normal Killing a: Stopping container a
    10.000 StopContainer a#0 kill after 1m0s
    15.000 delete grace 8
    18.000 KillContainer a#0
    18.000 StopSandbox
    18.000 CleanUpPod
    18.000 Gone
    ");
}

// k8s: 3.f.11, 3.b.5
#[test]
fn a_shorter_grace_leaves_two_seconds_after_the_signal() {
    assert_snapshot!(play(
        "app a
         term a ignored
         at 10s delete grace 60
         at 11s delete grace 1
         from 10s
         hide shows"
    ), @"
    10.000 delete grace 60
    10.000 Normal Killing a: Stopping container a
    10.000 StopContainer a#0 kill after 1m0s
    11.000 delete grace 1
    12.000 KillContainer a#0
    12.000 StopSandbox
    12.000 CleanUpPod
    12.000 Gone
    ");
}

// k8s: 3.f.11, 6.c.7
#[test]
fn a_shorter_grace_counts_at_once_while_a_sidecar_waits_for_its_turn() {
    assert_snapshot!(play(
        "sidecar s
         app a
         term a ignored
         term s ignored
         at 10s delete grace 60
         at 15s delete grace 8
         from 10s
         hide shows"
    ), @"
    10.000 delete grace 60
    10.000 Normal Killing s: Stopping container s
    10.000 Normal Killing a: Stopping container a
    10.000 StopContainer a#0 kill after 1m0s
    15.000 delete grace 8
    18.000 StopContainer s#0 kill after 2s
    18.000 KillContainer a#0
    20.000 KillContainer s#0
    20.000 StopSandbox
    20.000 CleanUpPod
    20.000 Gone
    ");
}

// k8s: 3.a.9, 1.b.12
#[test]
fn the_grace_of_a_delete_counts_from_the_delete_when_the_pod_was_ending_by_itself() {
    assert_snapshot!(play(
        "pod restart Never
         sidecar s preStop exec
         app a
         hook s preStop hangs
         term s ignored
         life a 5s exit 0
         at 15s delete grace 5
         from 5s
         hide shows"
    ), @"
    5.000 Normal Killing s: Stopping container s
    5.000 RunHook s#0 preStop
    15.000 delete grace 5
    20.000 Warning FailedPreStopHook s: PreStopHook did not finish within the grace period
    20.000 CancelHook of RunHook s#0 preStop
    20.000 StopContainer s#0 kill after 2s
    22.000 KillContainer s#0
    22.000 StopSandbox
    22.000 CleanUpPod
    22.000 Gone
    ");
}

// k8s: 3.a.9, 4.a.16
#[test]
fn a_pod_that_ends_by_itself_leaves_each_container_the_grace_of_the_spec() {
    assert_snapshot!(play(
        "pod grace 7 restart Never
         sidecar s
         app a
         term s ignored
         life a 5s exit 0
         from 5s
         hide shows"
    ), @"
    5.000 Normal Killing s: Stopping container s
    5.000 StopContainer s#0 kill after 7s
    12.000 KillContainer s#0
    12.000 StopSandbox
    12.000 CleanUpPod
    12.000 Gone
    ");
}

// k8s: 4.b.7
#[test]
fn at_once_there_is_no_hook_no_signal_and_no_wait() {
    assert_snapshot!(play(
        "app a preStop exec
         sidecar s preStop exec
         at 5s kill
         from 5s
         hide shows"
    ), @"
    5.000 delete at once
    5.000 Normal Killing s: Stopping container s
    5.000 KillContainer s#0
    5.000 Normal Killing a: Stopping container a
    5.000 KillContainer a#0
    5.000 StopSandbox
    5.000 CleanUpPod
    5.000 Gone
    ");
}

// k8s: 4.b.7
#[test]
fn at_once_also_ends_a_stop_that_is_under_way() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop hangs
         at 5s delete
         at 8s kill
         from 5s
         hide shows"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    8.000 delete at once
    8.000 CancelHook of RunHook a#0 preStop
    8.000 KillContainer a#0
    8.000 StopSandbox
    8.000 CleanUpPod
    8.000 Gone
    ");
}

// k8s: 4.a.17, 8.a.14, 8.a.15, 8.a.16, 10.d.11
#[test]
fn the_deadline_ends_a_pod_with_the_grace_of_its_spec_and_is_told_once() {
    assert_snapshot!(play(
        "pod deadline 5 grace 10
         app a preStop exec
         hook a preStop 2s
         from 1s"
    ), @"
    5.000 Normal DeadlineExceeded pod: Pod was active on the node longer than the specified deadline
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    7.000 StopContainer a#0 kill after 8s
    7.000 StopSandbox
    7.000 a: Terminated 0 Completed
    7.000 CleanUpPod
    7.000 phase Failed DeadlineExceeded (Pod was active on the node longer than the specified deadline)
    7.000 Gone
    ");
}

// k8s: 4.a.18, 8.a.18, 4.a.19
#[test]
fn an_eviction_gives_one_second() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop hangs
         term a ignored
         at 5s evict grace 1
         from 5s"
    ), @"
    5.000 evict grace 1
    5.000 Warning Evicted pod: The node was low on resource: memory. 
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    6.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    6.000 CancelHook of RunHook a#0 preStop
    6.000 StopContainer a#0 kill after 2s
    8.000 KillContainer a#0
    8.000 StopSandbox
    8.000 a: Terminated 137 Error
    8.000 CleanUpPod
    8.000 phase Failed Evicted (The node was low on resource: memory. )
    8.000 Gone
    ");
}

// k8s: 3.f.12
#[test]
fn an_evicted_pod_that_does_not_go_in_time_is_told_so_and_goes_later() {
    assert_snapshot!(play(
        "app a
         term a ignored
         kill a takes 12s
         at 5s evict grace 1
         from 5s
         hide shows"
    ), @"
    5.000 evict grace 1
    5.000 Warning Evicted pod: The node was low on resource: memory. 
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 2s
    7.000 KillContainer a#0
    15.000 Warning ExceededGracePeriod pod: Container runtime did not kill the pod within specified grace period.
    17.000 Warning FailedKillPod pod: error killing pod: container a is still alive after SIGKILL
    17.000 KillContainer a#0
    19.000 StopSandbox
    19.000 CleanUpPod
    19.000 Gone
    ");
}

// k8s: 3.f.12
#[test]
fn the_nodes_patience_is_half_as_long_again_as_the_grace() {
    assert_snapshot!(play(
        "pod grace 20
         app a
         term a ignored
         kill a takes 12s
         at 5s shutdown
         from 5s
         hide shows"
    ), @"
    5.000 shutdown
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 20s
    25.000 KillContainer a#0
    35.000 Warning ExceededGracePeriod pod: Container runtime did not kill the pod within specified grace period.
    35.000 Warning FailedKillPod pod: error killing pod: container a is still alive after SIGKILL
    35.000 KillContainer a#0
    37.000 StopSandbox
    37.000 CleanUpPod
    37.000 Gone
    ");
}

// k8s: 4.a.20, 8.a.20, 8.b.14, 8.b.15, 8.b.16, 3.f.1
#[test]
fn a_preempted_pod_has_failed_with_the_grace_of_its_spec() {
    assert_snapshot!(play(
        "app a
         at 5s preempt
         from 5s
         show conditions"
    ), @"
    5.000 preempt
    5.000 Warning Preempting pod: Preempted in order to admit critical pod
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 30s
    5.000 Ready=False PodFailed
    5.000 ContainersReady=False PodFailed
    5.000 StopSandbox
    5.000 a: Terminated 0 Completed
    5.000 CleanUpPod
    5.000 DisruptionTarget=True TerminationByKubelet (Pod was preempted by Kubelet to accommodate a critical pod.)
    5.000 PodReadyToStartContainers=False
    5.000 phase Failed Preempting (Preempted in order to admit critical pod)
    5.000 Gone
    ");
}

// k8s: 4.a.21, 8.a.21, 8.b.14, 8.b.15
#[test]
fn a_pod_that_the_machine_shut_down_has_failed_whatever_its_exit_code() {
    assert_snapshot!(play(
        "app a
         at 5s shutdown grace 10
         from 5s
         show conditions"
    ), @"
    5.000 shutdown grace 10
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 10s
    5.000 Ready=False PodFailed
    5.000 ContainersReady=False PodFailed
    5.000 StopSandbox
    5.000 a: Terminated 0 Completed
    5.000 CleanUpPod
    5.000 DisruptionTarget=True TerminationByKubelet (Pod was terminated in response to imminent node shutdown.)
    5.000 PodReadyToStartContainers=False
    5.000 phase Failed Terminated (Pod was terminated in response to imminent node shutdown.)
    5.000 Gone
    ");
}

// k8s: 4.a.24
#[test]
fn a_delete_during_the_kill_of_an_unhealthy_container_never_makes_it_longer() {
    assert_snapshot!(play(
        "app a preStop exec liveness every 1 fails 1 grace 5
         hook a preStop hangs
         term a ignored
         probe a liveness fails from 3s
         at 4s delete grace 60
         from 3s
         hide shows"
    ), @"
    3.000 RunProbe a#0 Liveness
    3.000 Warning Unhealthy a: Liveness probe failed: bad
    3.000 Normal Killing a: Container a failed liveness probe, will be restarted
    3.000 RunHook a#0 preStop
    4.000 delete grace 60
    8.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    8.000 CancelHook of RunHook a#0 preStop
    8.000 StopContainer a#0 kill after 2s
    10.000 KillContainer a#0
    10.000 StopSandbox
    10.000 CleanUpPod
    10.000 Gone
    ");
}

// k8s: 4.b.11
#[test]
fn a_container_killed_from_outside_has_just_ended() {
    assert_snapshot!(play(
        "app a preStop exec
         at 5s exit a 137
         until 6s
         from 5s"
    ), @r#"
    5.000 a: Terminated 137 Error
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#1
    5.000 Normal Created a: Container created
    5.000 StartContainer a#1
    5.000 Normal Started a: Container started
    5.000 a: Running, restarts 1, last 137 Error, ready
    5.000 Stalled
    "#);
}

// k8s: 4.a.16, 1.b.8
#[test]
fn a_pod_that_has_ended_is_gone_without_hooks() {
    assert_snapshot!(play(
        "pod restart Never
         app a preStop exec
         life a 5s exit 0
         at 9s delete
         from 5s"
    ), @"
    5.000 a: Terminated 0 Completed
    5.000 StopSandbox
    5.000 CleanUpPod
    5.000 phase Succeeded
    9.000 delete
    9.000 Gone
    ");
}

// k8s: 3.a.3, 3.a.4, 1.b.7
#[test]
fn the_grace_of_a_delete_replaces_that_of_the_spec_even_if_it_is_longer() {
    assert_snapshot!(play(
        "pod grace 5
         app a
         term a ignored
         at 5s delete grace 20
         from 5s
         hide shows"
    ), @"
    5.000 delete grace 20
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 20s
    25.000 KillContainer a#0
    25.000 StopSandbox
    25.000 CleanUpPod
    25.000 Gone
    ");
}

// k8s: 4.b.8
#[test]
fn a_restart_of_the_engine_leaves_containers_alone() {
    assert_snapshot!(play(
        "app a preStop exec
         at 5s engine away 60s
         until 100s
         from 5s"
    ), @"
    5.000 stops
    65.000 starts
    65.000 Stalled
    ");
}

// k8s: 3.f.5
#[test]
fn addresses_stay_in_the_status_to_the_end() {
    assert_snapshot!(play(
        "app a
         at 5s delete
         show addresses
         only addresses phase"
    ), @"
    0.000 phase Pending
    0.000 addresses [10.0.0.1]
    0.000 phase Running
    5.000 phase Succeeded
    5.000 Gone
    ");
}
