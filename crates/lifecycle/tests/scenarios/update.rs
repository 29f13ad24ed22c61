//! A live pod whose manifest changes.

use insta::assert_snapshot;

use crate::script::play;

// k8s: 4.a.8, 2.e.3, 5.b.7
#[test]
fn another_image_stops_a_running_container_with_its_hook_and_starts_it_whatever_the_policy() {
    assert_snapshot!(play(
        "pod grace 10 restart Never
         app a preStop exec
         hook a preStop 3s
         at 5s image a img2
         until 20s
         from 5s
         hide conditions"
    ), @r#"
    5.000 Normal Killing a: Container a definition changed, will be restarted
    5.000 RunHook a#0 preStop
    8.000 StopContainer a#0 kill after 7s
    8.000 a: Terminated 0 Completed
    8.000 InspectImage a
    8.000 Normal Pulled a: Container image "img2" already present on machine and can be accessed by the pod
    8.000 CreateContainer a#1
    8.000 Normal Created a: Container created
    8.000 StartContainer a#1
    8.000 Normal Started a: Container started
    8.000 a: Running, restarts 1, last 0 Completed, ready
    8.000 Stalled
    "#);
}

// k8s: 4.a.9
#[test]
fn another_image_of_a_sidecar_restarts_the_sidecar_alone() {
    assert_snapshot!(play(
        "sidecar s
         app a
         at 5s image s img2
         until 20s
         from 5s
         hide conditions"
    ), @r#"
    5.000 Normal Killing s: Init container s definition changed
    5.000 StopContainer s#0 kill after 30s
    5.000 s: Terminated 0 Completed
    5.000 InspectImage s
    5.000 Normal Pulled s: Container image "img2" already present on machine and can be accessed by the pod
    5.000 CreateContainer s#1
    5.000 Normal Created s: Container created
    5.000 StartContainer s#1
    5.000 Normal Started s: Container started
    5.000 s: Running, restarts 1, last 0 Completed, ready
    5.000 TimeUp
    "#);
}

// k8s: 6.a.7
#[test]
fn another_image_of_an_init_container_that_runs_changes_nothing() {
    assert_snapshot!(play(
        "init i
         app a
         life i 5s exit 0
         at 3s image i img2
         until 20s
         from 3s
         hide conditions"
    ), @r#"
    5.000 i: Terminated 0 Completed, done
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#0
    5.000 Normal Created a: Container created
    5.000 StartContainer a#0
    5.000 Normal Started a: Container started
    5.000 a: Running, ready
    5.000 phase Running
    5.000 Stalled
    "#);
}

// k8s: 5.b.7
#[test]
fn another_image_ends_the_pauses_that_the_old_one_had_earned() {
    assert_snapshot!(play(
        "app a
         life a#0 1s exit 1
         life a#1 1s exit 1
         at 5s image a img2
         until 20s
         from 2s
         hide conditions"
    ), @r#"
    2.000 a: Terminated 1 Error, restarts 1, last 1 Error
    2.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    2.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), restarts 1, last 1 Error
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img2" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#2
    5.000 RemoveContainer a#0
    5.000 Normal Created a: Container created
    5.000 StartContainer a#2
    5.000 Normal Started a: Container started
    5.000 a: Running, restarts 2, last 1 Error, ready
    5.000 Stalled
    "#);
}

// k8s: 5.d.1: a pull that may hang for ever does not keep the right image waiting.
#[test]
fn another_image_gives_up_the_pull_of_the_old_one() {
    assert_snapshot!(play(
        "app a
         image img absent
         image img pulls 100s
         at 5s image a img2
         until 20s
         hide conditions"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulling a: Pulling image "img"
    0.000 PullImage a
    5.000 CancelPull of PullImage a
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img2" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#0
    5.000 Normal Created a: Container created
    5.000 StartContainer a#0
    5.000 Normal Started a: Container started
    5.000 a: Running, ready
    5.000 phase Running
    5.000 Stalled
    "#);
}

// k8s: 2.d.5: the start is finished first, and then replaced.
#[test]
fn another_image_during_post_start_waits_for_the_hook() {
    assert_snapshot!(play(
        "app a postStart exec
         hook a postStart 4s
         at 2s image a img2
         until 20s
         from 2s
         hide conditions"
    ), @r#"
    4.000 Normal Killing a: Container a definition changed, will be restarted
    4.000 StopContainer a#0 kill after 30s
    4.000 a: Running, ready
    4.000 phase Running
    4.000 a: Terminated 0 Completed
    4.000 InspectImage a
    4.000 Normal Pulled a: Container image "img2" already present on machine and can be accessed by the pod
    4.000 CreateContainer a#1
    4.000 Normal Created a: Container created
    4.000 StartContainer a#1
    4.000 Normal Started a: Container started
    4.000 RunHook a#1 postStart
    8.000 a: Running, restarts 1, last 0 Completed, ready
    8.000 TimeUp
    "#);
}

#[test]
fn another_image_of_a_pod_that_goes_has_no_consequence() {
    assert_snapshot!(play(
        "pod grace 10
         app a
         term a 4s exit 0
         at 3s delete
         at 4s image a img2
         from 3s
         hide conditions"
    ), @"
    3.000 delete
    3.000 Normal Killing a: Stopping container a
    3.000 StopContainer a#0 kill after 10s
    7.000 StopSandbox
    7.000 a: Terminated 0 Completed
    7.000 CleanUpPod
    7.000 phase Succeeded
    7.000 Gone
    ");
}

// k8s: 1.f.2
#[test]
fn a_shorter_deadline_counts_from_the_start_of_the_pod() {
    assert_snapshot!(play(
        "pod deadline 1000 grace 10
         app a
         at 5s deadline 8
         from 5s
         hide conditions"
    ), @"
    8.000 Normal DeadlineExceeded pod: Pod was active on the node longer than the specified deadline
    8.000 Normal Killing a: Stopping container a
    8.000 StopContainer a#0 kill after 10s
    8.000 StopSandbox
    8.000 a: Terminated 0 Completed
    8.000 CleanUpPod
    8.000 phase Failed DeadlineExceeded (Pod was active on the node longer than the specified deadline)
    8.000 Gone
    ");
}

// k8s: 4.a.8: what it was asked to be is what it is, whatever the manifest has come to say by then.
#[test]
fn another_image_while_the_container_is_made_replaces_it_when_it_runs() {
    assert_snapshot!(play(
        "app a
         create a takes 4s
         at 2s image a img2
         until 30s
         hide conditions"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    4.000 Normal Created a: Container created
    4.000 StartContainer a#0
    4.000 Normal Started a: Container started
    4.000 Normal Killing a: Container a definition changed, will be restarted
    4.000 StopContainer a#0 kill after 30s
    4.000 a: Running, ready
    4.000 phase Running
    4.000 a: Terminated 0 Completed
    4.000 InspectImage a
    4.000 Normal Pulled a: Container image "img2" already present on machine and can be accessed by the pod
    4.000 CreateContainer a#1
    8.000 Normal Created a: Container created
    8.000 StartContainer a#1
    8.000 Normal Started a: Container started
    8.000 a: Running, restarts 1, last 0 Completed, ready
    8.000 TimeUp
    "#);
}
