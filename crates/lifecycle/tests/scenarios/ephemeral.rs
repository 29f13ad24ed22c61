//! Ephemeral containers: they join a pod that lives, are started once, and nothing depends on them.

use insta::assert_snapshot;

use crate::script::play;

// k8s: 2.b.17, 5.a.11, 8.c.18
#[test]
fn an_ephemeral_container_is_started_at_once_and_never_again() {
    assert_snapshot!(play(
        "pod grace 10
         app a
         life d2 2s exit 3
         at 5s debug d2
         at 6s debug d1
         until 20s
         from 5s
         hide conditions"
    ), @r#"
    5.000 InspectImage d2
    5.000 d2: Waiting ContainerCreating
    5.000 Normal Pulled d2: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer d2#0
    5.000 Normal Created d2: Container created
    5.000 StartContainer d2#0
    5.000 Normal Started d2: Container started
    5.000 d2: Running, started
    6.000 InspectImage d1
    6.000 d1: Waiting ContainerCreating
    6.000 Normal Pulled d1: Container image "img" already present on machine and can be accessed by the pod
    6.000 CreateContainer d1#0
    6.000 Normal Created d1: Container created
    6.000 StartContainer d1#0
    6.000 Normal Started d1: Container started
    6.000 d1: Running, started
    7.000 d2: Terminated 3 Error
    7.000 Stalled
    "#);
}

// k8s: 2.b.17
#[test]
fn an_ephemeral_container_does_not_wait_for_init_containers() {
    assert_snapshot!(play(
        "init i
         app a
         life i 10s exit 0
         life d 20s exit 0
         at 1s debug d
         until 15s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 i: Waiting PodInitializing
    0.000 a: Waiting PodInitializing
    0.000 phase Pending
    0.000 InspectImage i
    0.000 Normal Pulled i: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer i#0
    0.000 Normal Created i: Container created
    0.000 StartContainer i#0
    0.000 Normal Started i: Container started
    0.000 i: Running, started
    1.000 InspectImage d
    1.000 d: Waiting PodInitializing
    1.000 Normal Pulled d: Container image "img" already present on machine and can be accessed by the pod
    1.000 CreateContainer d#0
    1.000 Normal Created d: Container created
    1.000 StartContainer d#0
    1.000 Normal Started d: Container started
    1.000 d: Running, started
    10.000 i: Terminated 0 Completed, done
    10.000 InspectImage a
    10.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    10.000 CreateContainer a#0
    10.000 Normal Created a: Container created
    10.000 StartContainer a#0
    10.000 Normal Started a: Container started
    10.000 a: Running, ready
    10.000 phase Running
    10.000 TimeUp
    "#);
}

// k8s: 2.b.17
#[test]
fn the_failure_of_an_ephemeral_container_is_its_own() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         image nowhere missing 1000
         start e fails 1
         at 1s debug d image nowhere
         at 2s debug e
         until 15s
         from 1s
         hide conditions"
    ), @r#"
    1.000 InspectImage d
    1.000 d: Waiting ContainerCreating
    1.000 Normal Pulling d: Pulling image "nowhere"
    1.000 PullImage d
    1.000 Warning Failed d: Failed to pull image "nowhere": not found
    1.000 Warning Failed d: Error: ErrImagePull
    1.000 d: Waiting ErrImagePull (not found)
    1.000 Normal BackOff d: Back-off pulling image "nowhere"
    1.000 Warning Failed d: Error: ImagePullBackOff
    1.000 d: Waiting ImagePullBackOff (Back-off pulling image "nowhere": ErrImagePull: not found)
    2.000 InspectImage e
    2.000 e: Waiting ContainerCreating
    2.000 Normal Pulled e: Container image "img" already present on machine and can be accessed by the pod
    2.000 CreateContainer e#0
    2.000 Normal Created e: Container created
    2.000 StartContainer e#0
    2.000 Warning Failed e: Error: no such file
    2.000 e: Terminated 128 StartError (no such file)
    11.000 InspectImage d
    11.000 Normal Pulling d: Pulling image "nowhere"
    11.000 PullImage d
    11.000 Warning Failed d: Failed to pull image "nowhere": not found
    11.000 Warning Failed d: Error: ErrImagePull
    11.000 d: Waiting ErrImagePull (not found)
    11.000 Normal BackOff d: Back-off pulling image "nowhere"
    11.000 Warning Failed d: Error: ImagePullBackOff
    11.000 d: Waiting ImagePullBackOff (Back-off pulling image "nowhere": ErrImagePull: not found)
    11.000 TimeUp
    "#);
}

// k8s: 4.a.15, 4.b.10
#[test]
fn a_pod_that_is_done_does_not_wait_for_its_ephemeral_containers() {
    assert_snapshot!(play(
        "pod restart Never grace 10
         app a
         life a 5s exit 0
         term d ignored
         at 1s debug d
         from 5s"
    ), @r"
    5.000 a: Terminated 0 Completed
    5.000 Normal Killing d: Stopping container d
    5.000 StopContainer d#0 kill after 10s
    15.000 KillContainer d#0
    15.000 StopSandbox
    15.000 d: Terminated 137 Error
    15.000 CleanUpPod
    15.000 phase Succeeded
    15.000 Gone
    ");
}

#[test]
fn a_delete_stops_ephemeral_containers_beside_the_others() {
    assert_snapshot!(play(
        "pod grace 10
         sidecar s
         app a preStop exec
         hook a preStop 3s
         term d 1s exit 0
         at 1s debug d
         at 5s delete
         from 5s
         hide conditions"
    ), @r"
    5.000 delete
    5.000 Normal Killing s: Stopping container s
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    5.000 Normal Killing d: Stopping container d
    5.000 StopContainer d#0 kill after 10s
    6.000 d: Terminated 0 Completed
    8.000 StopContainer a#0 kill after 7s
    8.000 StopContainer s#0 kill after 7s
    8.000 a: Terminated 0 Completed
    8.000 StopSandbox
    8.000 s: Terminated 0 Completed
    8.000 CleanUpPod
    8.000 phase Succeeded
    8.000 Gone
    ");
}

// k8s: 5.a.11
#[test]
fn an_ephemeral_container_of_a_lost_sandbox_is_not_made_again() {
    assert_snapshot!(play(
        "app a
         at 1s debug d
         at 5s lose sandbox
         until 20s
         from 5s
         hide conditions"
    ), @r#"
    5.000 Normal SandboxChanged pod: Pod sandbox changed, it will be killed and re-created.
    5.000 CreateSandbox 1
    5.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    5.000 d: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#1
    5.000 Normal Created a: Container created
    5.000 StartContainer a#1
    5.000 Normal Started a: Container started
    5.000 a: Running, restarts 1, last 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running), ready
    5.000 Stalled
    "#);
}

// k8s: 6.d.1
#[test]
fn a_restart_of_all_containers_leaves_ephemeral_ones_alone() {
    assert_snapshot!(play(
        "app a restart Never rule all In 3
         app b
         life a#0 5s exit 3
         at 1s debug d
         until 20s
         from 5s
         hide conditions"
    ), @r#"
    5.000 a: Terminated 3 Error
    5.000 Normal Killing b: killing
    5.000 StopContainer b#0 kill after 2s
    5.000 b: Terminated 0 Completed
    5.000 RemoveContainer a#0
    5.000 RemoveContainer b#0
    5.000 a: Waiting RestartingAllContainers (The container is removed because RestartAllContainers in place), last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place)
    5.000 b: Waiting RestartingAllContainers (The container is removed because RestartAllContainers in place), last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place)
    5.000 InspectImage a
    5.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer a#1
    5.000 Normal Created a: Container created
    5.000 StartContainer a#1
    5.000 Normal Started a: Container started
    5.000 InspectImage b
    5.000 a: Running, restarts 1, last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place), ready
    5.000 Normal Pulled b: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer b#1
    5.000 Normal Created b: Container created
    5.000 StartContainer b#1
    5.000 Normal Started b: Container started
    5.000 b: Running, restarts 1, last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place), ready
    5.000 Stalled
    "#);
}

#[test]
fn an_ephemeral_container_that_is_asked_for_twice_is_one() {
    assert_snapshot!(play(
        "app a
         at 5s debug d
         at 6s debug d
         at 7s engine away 2s
         until 20s
         from 5s
         hide conditions"
    ), @r#"
    5.000 InspectImage d
    5.000 d: Waiting ContainerCreating
    5.000 Normal Pulled d: Container image "img" already present on machine and can be accessed by the pod
    5.000 CreateContainer d#0
    5.000 Normal Created d: Container created
    5.000 StartContainer d#0
    5.000 Normal Started d: Container started
    5.000 d: Running, started
    7.000 stops
    9.000 starts
    9.000 Stalled
    "#);
}
