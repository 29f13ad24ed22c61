//! Other resources for containers that run (rows 10.d.18, 4.a.10, 8.b.1).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 10.d.18
#[test]
fn more_is_given_to_the_pod_before_the_container_gets_it() {
    assert_snapshot!(play(
        "app a cpu 100/200 memory 1048576/2097152
         at 5s resize a cpu 150/400 memory 1048576/4194304
         until 20s
         from 5s"
    ), @r#"
    5.000 MeasureRoom
    5.000 Normal ResizeStarted pod: Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"cpu":"400m","memory":"4Mi"},"requests":{"cpu":"150m","memory":"1Mi"}}}],"generation":2}
    5.000 ResizePod a cpu 150m/400m memory 1Mi/4Mi
    5.000 a: Running, ready, has cpu 100m/200m memory 1Mi/2Mi, is to have cpu 150m/400m memory 1Mi/4Mi
    5.000 ResizeContainer a#0 cpu 150m/400m memory 1Mi/4Mi
    5.000 Normal ResizeCompleted pod: Pod resize completed: {"containers":[{"name":"a","resources":{"limits":{"cpu":"400m","memory":"4Mi"},"requests":{"cpu":"150m","memory":"1Mi"}}}],"generation":2}
    5.000 a: Running, ready, has cpu 150m/400m memory 1Mi/4Mi
    5.000 Stalled
    "#);
}

#[test]
fn less_is_taken_from_the_containers_before_the_pod_loses_it() {
    assert_snapshot!(play(
        "app a cpu 100/400 memory -/-
         app b cpu 100/400 memory -/-
         at 5s resize a cpu 100/200
         until 20s
         from 5s
         hide events"
    ), @"
    5.000 MeasureRoom
    5.000 ResizeContainer a#0 cpu 100m/200m
    5.000 a: Running, ready, has cpu 100m/400m, is to have cpu 100m/200m
    5.000 ResizePod a cpu 100m/200m, b cpu 100m/400m
    5.000 a: Running, ready, has cpu 100m/200m
    5.000 Stalled
    ");
}

#[test]
fn what_one_container_gives_another_can_have() {
    assert_snapshot!(play(
        "app a cpu 100/400
         app b cpu 100/400
         at 5s resize a cpu 100/800
         at 5s resize b cpu 100/100
         until 20s
         from 5s
         hide events"
    ), @"
    5.000 MeasureRoom
    5.000 MeasureRoom
    5.000 ResizePod a cpu 100m/800m, b cpu 100m/400m
    5.000 a: Running, ready, has cpu 100m/400m, is to have cpu 100m/800m
    5.000 b: Running, ready, has cpu 100m/400m, is to have cpu 100m/100m
    5.000 ResizeContainer b#0 cpu 100m/100m
    5.000 ResizeContainer a#0 cpu 100m/800m
    5.000 b: Running, ready, has cpu 100m/100m
    5.000 ResizePod a cpu 100m/800m, b cpu 100m/100m
    5.000 a: Running, ready, has cpu 100m/800m
    5.000 Stalled
    ");
}

// k8s: 4.a.10
#[test]
fn a_container_whose_policy_asks_for_it_is_restarted_with_its_hook_and_grace_whatever_the_restart_policy() {
    assert_snapshot!(play(
        "pod grace 10 restart OnFailure
         app a memory -/1048576 restartOnMemory preStop exec
         hook a preStop 3s
         at 5s resize a memory -/2097152
         until 30s
         from 5s"
    ), @r#"
    5.000 MeasureRoom
    5.000 Normal ResizeStarted pod: Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"memory":"2Mi"}}}],"generation":2}
    5.000 ResizePod a memory -/2Mi
    5.000 a: Running, ready, has memory -/1Mi, is to have memory -/2Mi
    5.000 Normal Killing a: Container a resize requires restart
    5.000 RunHook a#0 preStop
    8.000 StopContainer a#0 kill after 7s
    8.000 a: Terminated 0 Completed, is to have memory -/2Mi
    8.000 InspectImage a
    8.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    8.000 CreateContainer a#1
    8.000 Normal Created a: Container created
    8.000 StartContainer a#1
    8.000 Normal ResizeCompleted pod: Pod resize completed: {"containers":[{"name":"a","resources":{"limits":{"memory":"2Mi"}}}],"generation":2}
    8.000 Normal Started a: Container started
    8.000 a: Running, restarts 1, last 0 Completed, ready, has memory -/2Mi
    8.000 Stalled
    "#);
}

#[test]
fn the_policy_of_one_resource_does_not_restart_for_the_other() {
    assert_snapshot!(play(
        "app a cpu 100/- memory -/1048576 restartOnMemory
         at 5s resize a cpu 200/- memory -/1048576
         until 30s
         from 5s
         hide events"
    ), @"
    5.000 MeasureRoom
    5.000 ResizePod a cpu 200m/- memory -/1Mi
    5.000 a: Running, ready, has cpu 100m/- memory -/1Mi, is to have cpu 200m/- memory -/1Mi
    5.000 ResizeContainer a#0 cpu 200m/- memory -/1Mi
    5.000 a: Running, ready, has cpu 200m/- memory -/1Mi
    5.000 Stalled
    ");
}

// k8s: 10.d.18, 8.b.1
#[test]
fn what_the_node_can_never_give_is_infeasible_and_leaves_everything_as_it_is() {
    assert_snapshot!(play(
        "app a cpu 100/200
         room cpu 4000
         at 5s resize a cpu 5000/6000
         at 8s resize a cpu 100/200
         until 20s
         from 5s
         show conditions"
    ), @r#"
    5.000 MeasureRoom
    5.000 Warning ResizeInfeasible pod: Pod resize Infeasible: {"containers":[{"name":"a","resources":{"limits":{"cpu":"6"},"requests":{"cpu":"5"}}}],"generation":2,"error":"Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000"}
    5.000 PodResizePending=True Infeasible (Node didn't have enough capacity: cpu, requested: 5000, capacity: 4000)
    8.000 Stalled
    "#);
}

#[test]
fn what_other_pods_have_is_deferred_until_they_make_place() {
    assert_snapshot!(play(
        "app a cpu 100/-
         room cpu 4000 usedCpu 3500
         room cpu 4000 usedCpu 3400
         room cpu 4000 usedCpu 0
         at 5s resize a cpu 1000/-
         at 6s room
         until 300s
         from 5s
         show conditions"
    ), @r#"
    5.000 MeasureRoom
    5.000 Warning ResizeDeferred pod: Pod resize Deferred: {"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"generation":2,"error":"Node didn't have enough resource: cpu, requested: 1000, used: 3500, capacity: 4000"}
    5.000 PodResizePending=True Deferred (Node didn't have enough resource: cpu, requested: 1000, used: 3500, capacity: 4000)
    6.000 MeasureRoom
    6.000 Warning ResizeDeferred pod: Pod resize Deferred: {"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"generation":2,"error":"Node didn't have enough resource: cpu, requested: 1000, used: 3400, capacity: 4000"}
    6.000 PodResizePending=True Deferred (Node didn't have enough resource: cpu, requested: 1000, used: 3400, capacity: 4000)
    186.000 MeasureRoom
    186.000 Normal ResizeStarted pod: Pod resize started: {"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"generation":2}
    186.000 ResizePod a cpu 1/-
    186.000 a: Running, ready, has cpu 100m/-, is to have cpu 1/-
    186.000 PodResizeInProgress=True
    186.000 ResizeContainer a#0 cpu 1/-
    186.000 Normal ResizeCompleted pod: Pod resize completed: {"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"generation":2}
    186.000 a: Running, ready, has cpu 1/-
    186.000 Stalled
    "#);
}

// k8s: 10.d.18
#[test]
fn a_limit_below_what_is_in_use_is_refused_told_once_and_tried_again() {
    assert_snapshot!(play(
        "app a memory -/4194304
         at 5s resize a memory -/1048576
         resize a fails 2 in_use
         until 40s
         from 5s
         show conditions"
    ), @r#"
    5.000 MeasureRoom
    5.000 Normal ResizeStarted pod: Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"memory":"1Mi"}}}],"generation":2}
    5.000 CheckMemory a memory -/1Mi and pod
    5.000 a: Running, ready, has memory -/4Mi, is to have memory -/1Mi
    5.000 PodResizeInProgress=True
    5.000 ResizeContainer a#0 memory -/1Mi
    5.000 Warning ResizeError pod: Pod resize error: {"containers":[{"name":"a","resources":{"limits":{"memory":"1Mi"}}}],"generation":2,"error":"in use"}
    5.000 PodResizeInProgress=True Error (in use)
    15.000 CheckMemory a memory -/1Mi and pod
    15.000 ResizeContainer a#0 memory -/1Mi
    25.000 CheckMemory a memory -/1Mi and pod
    25.000 ResizeContainer a#0 memory -/1Mi
    25.000 ResizePod a memory -/1Mi
    25.000 a: Running, ready, has memory -/1Mi
    25.000 Normal ResizeCompleted pod: Pod resize completed: {"containers":[{"name":"a","resources":{"limits":{"memory":"1Mi"}}}],"generation":2}
    25.000 Stalled
    "#);
}

// k8s: 10.d.18
#[test]
fn nothing_is_written_before_all_memory_that_is_to_be_taken_is_free() {
    assert_snapshot!(play(
        "app a memory -/4194304
         app b memory -/4194304 cpu 100/200
         app c memory -/4194304 restartOnMemory
         at 5s resize a memory -/1048576
         at 5s resize b memory -/2097152 cpu 100/400
         resize memory fails 2 in_use
         until 40s
         from 5s
         show conditions"
    ), @r#"
    5.000 MeasureRoom
    5.000 MeasureRoom
    5.000 Normal ResizeStarted pod: Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"memory":"1Mi"}}},{"name":"b","resources":{"limits":{"cpu":"400m","memory":"2Mi"},"requests":{"cpu":"100m"}}},{"name":"c","resources":{"limits":{"memory":"4Mi"}}}],"generation":3}
    5.000 CheckMemory a memory -/1Mi, b cpu 100m/400m memory -/2Mi and pod
    5.000 a: Running, ready, has memory -/4Mi, is to have memory -/1Mi
    5.000 b: Running, ready, has cpu 100m/200m memory -/4Mi, is to have cpu 100m/400m memory -/2Mi
    5.000 PodResizeInProgress=True
    5.000 Warning ResizeError pod: Pod resize error: {"containers":[{"name":"a","resources":{"limits":{"memory":"1Mi"}}},{"name":"b","resources":{"limits":{"cpu":"400m","memory":"2Mi"},"requests":{"cpu":"100m"}}},{"name":"c","resources":{"limits":{"memory":"4Mi"}}}],"generation":3,"error":"in use"}
    5.000 PodResizeInProgress=True Error (in use)
    15.000 CheckMemory a memory -/1Mi, b cpu 100m/400m memory -/2Mi and pod
    25.000 CheckMemory a memory -/1Mi, b cpu 100m/400m memory -/2Mi and pod
    25.000 ResizePod a memory -/4Mi, b cpu 100m/400m memory -/4Mi, c memory -/4Mi
    25.000 ResizeContainer a#0 memory -/1Mi
    25.000 ResizeContainer b#0 cpu 100m/400m memory -/2Mi
    25.000 a: Running, ready, has memory -/1Mi
    25.000 ResizePod a memory -/1Mi, b cpu 100m/400m memory -/2Mi, c memory -/4Mi
    25.000 b: Running, ready, has cpu 100m/400m memory -/2Mi
    25.000 Normal ResizeCompleted pod: Pod resize completed: {"containers":[{"name":"a","resources":{"limits":{"memory":"1Mi"}}},{"name":"b","resources":{"limits":{"cpu":"400m","memory":"2Mi"},"requests":{"cpu":"100m"}}},{"name":"c","resources":{"limits":{"memory":"4Mi"}}}],"generation":3}
    25.000 Stalled
    "#);
}

// k8s: 4.a.10
#[test]
fn what_is_restarted_for_a_resize_need_not_have_its_memory_free() {
    assert_snapshot!(play(
        "app a memory -/4194304 restartOnMemory
         app b memory -/4194304
         at 5s resize a memory -/1048576
         at 5s resize b memory -/2097152
         until 40s
         from 5s
         hide events"
    ), @"
    5.000 MeasureRoom
    5.000 MeasureRoom
    5.000 CheckMemory b memory -/2Mi
    5.000 a: Running, ready, has memory -/4Mi, is to have memory -/1Mi
    5.000 b: Running, ready, has memory -/4Mi, is to have memory -/2Mi
    5.000 StopContainer a#0 kill after 30s
    5.000 ResizeContainer b#0 memory -/2Mi
    5.000 b: Running, ready, has memory -/2Mi
    5.000 a: Terminated 0 Completed, is to have memory -/1Mi
    5.000 InspectImage a
    5.000 CreateContainer a#1
    5.000 StartContainer a#1
    5.000 ResizePod a memory -/1Mi, b memory -/2Mi
    5.000 a: Running, restarts 1, last 0 Completed, ready, has memory -/1Mi
    5.000 Stalled
    ");
}

#[test]
fn a_container_that_is_not_there_begins_with_what_is_allocated() {
    assert_snapshot!(play(
        "app a cpu 100/200
         app b cpu 100/200
         life a#0 1s exit 1
         life a#1 1s exit 1
         at 5s image b img2
         create b passes 1 fails 1
         at 6s resize b cpu 100/300
         until 20s
         from 5s
         only b
         hide events"
    ), @r#"
    5.000 StopContainer b#0 kill after 30s
    5.000 b: Terminated 0 Completed, is to have cpu 100m/200m
    5.000 InspectImage b
    5.000 CreateContainer b#1
    5.000 b: Waiting CreateContainerConfigError (secret "s" not found), last 0 Completed, is to have cpu 100m/200m
    6.000 ResizePod a cpu 100m/200m, b cpu 100m/300m
    6.000 b: Waiting CreateContainerConfigError (secret "s" not found), last 0 Completed, is to have cpu 100m/300m
    15.000 InspectImage b
    15.000 CreateContainer b#1
    15.000 StartContainer b#1
    15.000 b: Running, restarts 1, last 0 Completed, ready, has cpu 100m/300m
    15.000 TimeUp
    "#);
}

// k8s: 5.b.7
#[test]
fn other_resources_end_the_pauses_of_the_containers_that_get_them_and_of_no_others() {
    assert_snapshot!(play(
        "app a cpu 100/200
         app b cpu 100/200
         life a 1s exit 1
         life b 1s exit 1
         at 5s resize a cpu 100/300
         until 20s
         from 5s
         only CreateContainer MeasureRoom"
    ), @"
    5.000 MeasureRoom
    5.000 CreateContainer a#2
    12.000 CreateContainer b#2
    16.000 CreateContainer a#3
    17.000 TimeUp
    ");
}

// k8s: 5.b.7
#[test]
fn resources_that_are_not_granted_end_no_pause() {
    assert_snapshot!(play(
        "app a cpu 100/200
         life a 1s exit 1
         room cpu 4000 usedCpu 3500
         room cpu 4000 usedCpu 0
         at 5s resize a cpu 1000/2000
         at 7s room
         until 20s
         from 5s
         only CreateContainer MeasureRoom"
    ), @"
    5.000 MeasureRoom
    7.000 MeasureRoom
    7.000 CreateContainer a#2
    18.000 CreateContainer a#3
    19.000 TimeUp
    ");
}

#[test]
fn a_container_that_is_being_started_gets_it_when_it_runs() {
    assert_snapshot!(play(
        "app a cpu 100/200 postStart exec
         hook a postStart 8s
         at 5s resize a cpu 100/300
         until 20s
         hide events"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating, is to have cpu 100m/200m
    0.000 phase Pending
    0.000 InspectImage a
    0.000 CreateContainer a#0
    0.000 StartContainer a#0
    0.000 RunHook a#0 postStart
    5.000 MeasureRoom
    5.000 ResizePod a cpu 100m/300m
    8.000 ResizeContainer a#0 cpu 100m/300m
    8.000 a: Running, ready, has cpu 100m/200m, is to have cpu 100m/300m
    8.000 phase Running
    8.000 a: Running, ready, has cpu 100m/300m
    8.000 Stalled
    ");
}

#[test]
fn an_engine_that_takes_over_goes_on_with_a_resize() {
    assert_snapshot!(play(
        "app a memory -/4194304
         resize a fails 1 in_use
         at 5s resize a memory -/1048576
         at 6s engine away 2s
         until 40s
         from 5s
         hide events"
    ), @"
    5.000 MeasureRoom
    5.000 CheckMemory a memory -/1Mi and pod
    5.000 a: Running, ready, has memory -/4Mi, is to have memory -/1Mi
    5.000 ResizeContainer a#0 memory -/1Mi
    6.000 stops
    8.000 starts
    15.000 CheckMemory a memory -/1Mi and pod
    15.000 ResizeContainer a#0 memory -/1Mi
    15.000 ResizePod a memory -/1Mi
    15.000 a: Running, ready, has memory -/1Mi
    15.000 Stalled
    ");
}

#[test]
fn a_lost_sandbox_is_made_anew_with_what_is_allocated() {
    assert_snapshot!(play(
        "app a cpu 100/200
         resize pod fails 1 busy
         at 5s resize a cpu 100/300
         at 6s lose sandbox
         until 40s
         from 5s
         hide events"
    ), @"
    5.000 MeasureRoom
    5.000 ResizePod a cpu 100m/300m
    5.000 a: Running, ready, has cpu 100m/200m, is to have cpu 100m/300m
    6.000 CreateSandbox 1
    6.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running), is to have cpu 100m/300m
    6.000 InspectImage a
    6.000 CreateContainer a#1
    6.000 StartContainer a#1
    6.000 a: Running, restarts 1, last 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running), ready, has cpu 100m/300m
    15.000 Stalled
    ");
}

#[test]
fn a_pod_that_goes_is_not_resized() {
    assert_snapshot!(play(
        "pod grace 10
         app a cpu 100/200
         term a ignored
         at 5s delete
         at 6s resize a cpu 100/300
         until 40s
         from 5s
         hide events"
    ), @"
    5.000 delete
    5.000 StopContainer a#0 kill after 10s
    15.000 KillContainer a#0
    15.000 StopSandbox
    15.000 a: Terminated 137 Error, is to have cpu 100m/200m
    15.000 CleanUpPod
    15.000 phase Failed
    15.000 Gone
    ");
}

#[test]
fn what_an_older_engine_did_not_write_down_is_learnt_from_the_manifest() {
    let spec = crate::script::pod("app a cpu 100/200 memory 64/-");
    let mut bare = spec.clone();
    bare.containers[0].resources = lifecycle::Resources::default();
    let mut worker = lifecycle::PodWorker::new(bare, lifecycle::Timestamp::ZERO);
    worker.learn_resources(&spec);
    assert_eq!(worker.allocated()["a"], spec.containers[0].resources);
    // What is known is not learnt again.
    let mut other = spec.clone();
    other.containers[0].resources.cpu_limit_millis = Some(1);
    worker.learn_resources(&other);
    assert_eq!(worker.allocated()["a"], spec.containers[0].resources);
}
