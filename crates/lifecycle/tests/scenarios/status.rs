//! What is shown: phase, conditions, container states (section 8).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 8.a.1, 8.a.4, 8.a.5
#[test]
fn a_pod_is_pending_until_each_regular_container_started_once() {
    assert_snapshot!(play(
        "app a
         app b
         create b takes 5s
         until 6s
         hide events does"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 phase Pending
    0.000 a: Running, ready
    5.000 b: Running, ready
    5.000 phase Running
    5.000 Stalled
    ");
}

// k8s: 8.a.5
#[test]
fn a_pod_runs_while_one_container_runs() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         app b
         life a 3s exit 1
         until 9s
         from 3s
         hide events does"
    ), @"
    3.000 a: Terminated 1 Error
    3.000 Stalled
    ");
}

// k8s: 8.a.6, 8.a.24
#[test]
fn a_deleted_pod_succeeded_if_every_regular_container_exits_with_zero() {
    assert_snapshot!(play(
        "app a
         app b
         at 5s delete
         from 5s
         hide events does"
    ), @"
    5.000 delete
    5.000 a: Terminated 0 Completed
    5.000 b: Terminated 0 Completed
    5.000 phase Succeeded
    5.000 Gone
    ");
}

// k8s: 8.a.6, 8.a.24, 3.g.3, 8.d.2
#[test]
fn a_deleted_pod_failed_if_one_container_dies_of_its_signal() {
    assert_snapshot!(play(
        "app a
         app b
         term b dies
         at 5s delete
         from 5s
         hide events does"
    ), @"
    5.000 delete
    5.000 a: Terminated 0 Completed
    5.000 b: Terminated 143 Error
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 8.a.8, 8.a.7
#[test]
fn a_pod_in_crash_loop_back_off_keeps_running() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         until 30s
         only phase"
    ), @"
    0.000 phase Pending
    0.000 phase Running
    13.000 TimeUp
    ");
}

// k8s: 8.a.12, 8.a.13, 7.a.17
#[test]
fn an_ended_pod_stays_what_it_is() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         life a 2s exit 0
         at 1s delete
         at 5s evict grace 1
         from 1s"
    ), @"
    1.000 delete
    1.000 Normal Killing a: Stopping container a
    1.000 StopContainer a#0 kill after 30s
    1.000 StopSandbox
    1.000 a: Terminated 0 Completed
    1.000 CleanUpPod
    1.000 phase Succeeded
    5.000 evict grace 1
    5.000 Gone
    ");
}

// k8s: 8.a.17, 3.f.7
#[test]
fn a_terminal_phase_is_held_back_while_a_process_may_live() {
    assert_snapshot!(play(
        "pod restart Never
         sidecar s preStop exec
         app a
         hook s preStop 3s
         life a 2s exit 3
         from 2s
         show conditions"
    ), @"
    2.000 a: Terminated 3 Error
    2.000 Ready=False ContainersNotReady (containers with unready status: [a])
    2.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    2.000 Normal Killing s: Stopping container s
    2.000 RunHook s#0 preStop
    5.000 StopContainer s#0 kill after 27s
    5.000 StopSandbox
    5.000 s: Terminated 0 Completed
    5.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [s])
    5.000 Ready=False PodFailed
    5.000 ContainersReady=False PodFailed
    5.000 CleanUpPod
    5.000 PodReadyToStartContainers=False
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 8.b.1, 8.b.13
#[test]
fn conditions_stand_in_a_fixed_order() {
    assert_snapshot!(play(
        "init i
         app a
         until 0s
         show conditions
         only ="
    ), @"
    0.000 PodReadyToStartContainers=False
    0.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [i])
    0.000 Ready=False ContainersNotReady (containers with unready status: [a])
    0.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    0.000 PodScheduled=True
    0.000 PodReadyToStartContainers=True
    0.000 Stalled
    ");
}

// k8s: 8.b.9, 8.b.17, 8.b.4
#[test]
fn a_pod_that_succeeded_is_not_ready_because_it_completed() {
    assert_snapshot!(play(
        "pod restart Never
         init i
         app a
         life i 1s exit 0
         life a 2s exit 0
         from 3s
         show conditions
         hide does events"
    ), @"
    3.000 a: Terminated 0 Completed
    3.000 Initialized=True PodCompleted
    3.000 Ready=False PodCompleted
    3.000 ContainersReady=False PodCompleted
    3.000 PodReadyToStartContainers=False
    3.000 phase Succeeded
    3.000 Gone
    ");
}

// k8s: 8.b.10, 8.b.17
#[test]
fn a_pod_that_failed_is_not_ready_because_it_failed() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         life a 2s exit 1
         from 2s
         show conditions
         hide does events"
    ), @"
    2.000 a: Terminated 1 Error
    2.000 Ready=False PodFailed
    2.000 ContainersReady=False PodFailed
    2.000 PodReadyToStartContainers=False
    2.000 phase Failed
    2.000 Gone
    ");
}

// k8s: 8.b.3, 12.f.3
#[test]
fn a_pod_is_ready_to_start_containers_while_it_has_a_sandbox() {
    assert_snapshot!(play(
        "app a
         sandbox takes 2s
         at 5s delete
         show conditions
         only PodReadyToStartContainers"
    ), @"
    0.000 PodReadyToStartContainers=False
    2.000 PodReadyToStartContainers=True
    5.000 PodReadyToStartContainers=False
    5.000 Gone
    ");
}

// k8s: 8.b.20
#[test]
fn a_delete_alone_does_not_make_a_pod_unready() {
    assert_snapshot!(play(
        "app a
         term a 3s
         at 5s delete
         from 5s
         show conditions
         hide events"
    ), @"
    5.000 delete
    5.000 StopContainer a#0 kill after 30s
    8.000 StopSandbox
    8.000 a: Terminated 0 Completed
    8.000 Ready=False ContainersNotReady (containers with unready status: [a])
    8.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    8.000 CleanUpPod
    8.000 PodReadyToStartContainers=False
    8.000 Initialized=True PodCompleted
    8.000 Ready=False PodCompleted
    8.000 ContainersReady=False PodCompleted
    8.000 phase Succeeded
    8.000 Gone
    ");
}

// k8s: 8.c.1, 6.a.15
#[test]
fn waiting_is_for_initializing_if_there_is_any_init_container() {
    assert_snapshot!(play(
        "sidecar s
         app a
         sandbox takes 1s
         until 0s
         hide does events"
    ), @"
    0.000 s: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 TimeUp
    ");
}

// k8s: 8.c.3, 8.c.5, 8.c.12
#[test]
fn the_state_before_is_kept_as_last_state() {
    assert_snapshot!(play(
        "app a
         life a#0 1s exit 3
         life a#1 1s exit 4
         until 13s
         only a:
         hide events"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 a: Running, ready
    1.000 a: Terminated 3 Error
    1.000 a: Running, restarts 1, last 3 Error, ready
    2.000 a: Terminated 4 Error, restarts 1, last 3 Error
    2.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), restarts 1, last 4 Error
    12.000 a: Running, restarts 2, last 4 Error, ready
    12.000 Stalled
    ");
}

// k8s: 8.c.9, 8.c.14
#[test]
fn a_start_that_succeeds_forgets_the_failure_before_it() {
    assert_snapshot!(play(
        "app a
         create a fails 1
         life a#0 5s exit 1
         until 20s
         only a:
         hide events"
    ), @r#"
    0.000 a: Waiting ContainerCreating
    0.000 a: Waiting CreateContainerConfigError (secret "s" not found)
    10.000 a: Running, ready
    15.000 a: Terminated 1 Error
    15.000 a: Running, restarts 1, last 1 Error, ready
    15.000 Stalled
    "#);
}

// k8s: 8.c.10
#[test]
fn an_init_container_that_succeeded_is_shown_so_for_ever() {
    assert_snapshot!(play(
        "init i
         app a
         life i 1s exit 0
         life a 1s exit 1
         until 60s
         only i:
         hide events"
    ), @"
    0.000 i: Waiting PodInitializing
    0.000 i: Running, started
    1.000 i: Terminated 0 Completed, done
    35.000 TimeUp
    ");
}

// k8s: 8.c.18
#[test]
fn regular_containers_are_shown_by_name_and_init_containers_in_order() {
    assert_snapshot!(play(
        "init z
         init y
         app b
         app a
         until 0s
         hide does events"
    ), @"
    0.000 z: Waiting PodInitializing
    0.000 y: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 b: Waiting PodInitializing
    0.000 phase Pending
    0.000 z: Running, started
    0.000 Stalled
    ");
}

// k8s: 8.d.1, 8.d.3
#[test]
fn reasons_come_from_the_runtime() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         app b
         life a 1s oom
         life b 2s exit 0
         from 1s
         only a: b:"
    ), @"
    1.000 a: Terminated 137 OOMKilled
    2.000 b: Terminated 0 Completed
    2.000 Gone
    ");
}

// k8s: 8.a.21
#[test]
fn a_pod_that_ended_before_the_machine_went_down_keeps_its_end() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         life a 2s exit 0
         at 5s shutdown grace 10
         from 2s
         hide does events"
    ), @"
    2.000 a: Terminated 0 Completed
    2.000 phase Succeeded
    5.000 shutdown grace 10
    5.000 Gone
    ");
}
