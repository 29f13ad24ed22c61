//! Rules that have all containers of a pod begin again (section 6.d), and images that are mounted (2.c.2, 9.b.13).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 6.d.1, 6.d.3, 6.d.5, 6.d.7, 4.b.1, 5.b.16
#[test]
fn all_containers_begin_again_in_the_same_sandbox_without_hooks_and_without_a_pause() {
    assert_snapshot!(play(
        "pod restart Never
         init i
         app trigger restart Never rule all In 88
         app other preStop exec
         term other 1s exit 0
         life i 1s exit 0
         life trigger#0 5s exit 88
         until 20s
         from 5s"
    ), @r#"
    6.000 trigger: Terminated 88 Error
    6.000 Normal Killing other: killing
    6.000 StopContainer other#0 kill after 2s
    7.000 other: Terminated 0 Completed
    7.000 RemoveContainer i#0
    7.000 RemoveContainer trigger#0
    7.000 RemoveContainer other#0
    7.000 i: Waiting RestartingAllContainers (The container is removed because RestartAllContainers in place), last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place)
    7.000 other: Waiting RestartingAllContainers (The container is removed because RestartAllContainers in place), last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place)
    7.000 trigger: Waiting RestartingAllContainers (The container is removed because RestartAllContainers in place), last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place)
    7.000 InspectImage i
    7.000 Normal Pulled i: Container image "img" already present on machine and can be accessed by the pod
    7.000 CreateContainer i#1
    7.000 Normal Created i: Container created
    7.000 StartContainer i#1
    7.000 Normal Started i: Container started
    7.000 i: Running, restarts 1, last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place), started
    8.000 i: Terminated 0 Completed, restarts 1, last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place), done
    8.000 InspectImage trigger
    8.000 Normal Pulled trigger: Container image "img" already present on machine and can be accessed by the pod
    8.000 CreateContainer trigger#1
    8.000 Normal Created trigger: Container created
    8.000 StartContainer trigger#1
    8.000 Normal Started trigger: Container started
    8.000 InspectImage other
    8.000 trigger: Running, restarts 1, last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place), ready
    8.000 Normal Pulled other: Container image "img" already present on machine and can be accessed by the pod
    8.000 CreateContainer other#1
    8.000 Normal Created other: Container created
    8.000 StartContainer other#1
    8.000 Normal Started other: Container started
    8.000 other: Running, restarts 1, last 137 RestartingAllContainers (The container is removed because RestartAllContainers in place), ready
    8.000 Stalled
    "#);
}

// k8s: 6.d.2, 6.d.9, 6.d.10
#[test]
fn a_pod_stays_running_while_its_containers_begin_again_and_says_so_by_a_condition() {
    assert_snapshot!(play(
        "pod restart Never
         init i
         app trigger restart Never rule all In 88
         app other
         life i 1s exit 0
         life trigger#0 5s exit 88
         until 20s
         show conditions
         only phase AllContainersRestarting"
    ), @"
    0.000 AllContainersRestarting=False
    0.000 phase Pending
    1.000 phase Running
    6.000 AllContainersRestarting=True RestartAllContainersStarted (container exited with restart policy rule)
    6.000 AllContainersRestarting=False
    7.000 Stalled
    ");
    // Other pods have no such condition.
    assert_snapshot!(play(
        "app other
         until 20s
         show conditions
         only phase AllContainersRestarting"
    ), @"
    0.000 phase Pending
    0.000 phase Running
    0.000 Stalled
    ");
}

// k8s: 6.d.8
#[test]
fn a_pod_stays_initialized_while_its_containers_go_and_its_init_containers_run_again() {
    assert_snapshot!(play(
        "pod restart Never
         init i
         app trigger restart Never rule all In 88
         app other
         term other 2s
         life i 1s exit 0
         life trigger#0 5s exit 88
         until 20s
         show conditions
         only Initialized AllContainersRestarting"
    ), @"
    0.000 Initialized=False ContainersNotInitialized (containers with incomplete status: [i])
    0.000 AllContainersRestarting=False
    1.000 Initialized=True
    6.000 AllContainersRestarting=True RestartAllContainersStarted (container exited with restart policy rule)
    8.000 AllContainersRestarting=False
    9.000 Stalled
    ");
}

// k8s: 5.a.4: the first rule that matches decides.
#[test]
fn an_earlier_rule_for_the_container_alone_goes_before() {
    assert_snapshot!(play(
        "pod restart Never
         app a restart Never rule In 88 rule all In 88
         app b
         life a#0 5s exit 88
         until 10s
         from 5s
         hide events"
    ), @"
    5.000 a: Terminated 88 Error
    5.000 InspectImage a
    5.000 CreateContainer a#1
    5.000 StartContainer a#1
    5.000 a: Running, restarts 1, last 88 Error, ready
    5.000 Stalled
    ");
}

// k8s: 6.d.5
#[test]
fn a_delete_while_all_containers_begin_again_ends_the_pod() {
    assert_snapshot!(play(
        "pod grace 30
         app trigger restart Never rule all In 88
         app other
         term other ignored
         life trigger#0 5s exit 88
         at 6s delete
         until 60s
         from 5s
         hide events"
    ), @"
    5.000 trigger: Terminated 88 Error
    5.000 StopContainer other#0 kill after 2s
    6.000 delete
    7.000 KillContainer other#0
    7.000 StopSandbox
    7.000 other: Terminated 137 Error
    7.000 CleanUpPod
    7.000 phase Failed
    7.000 Gone
    ");
}

// k8s: 2.c.2, 9.b.13
#[test]
fn mounted_images_are_looked_for_before_the_containers_own() {
    assert_snapshot!(play(
        "app a mounts models mounts none
         image none absent
         image none pulls 2s
         until 10s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled pod: Container image "models" already present on machine and can be accessed by the pod
    0.000 InspectImage a
    0.000 Normal Pulling pod: Pulling image "none"
    0.000 PullImage a
    2.000 Normal Pulled pod: Successfully pulled image "none" in 2s (2s including waiting). Image size: 1000 bytes.
    2.000 InspectImage a
    2.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    2.000 CreateContainer a#0
    2.000 Normal Created a: Container created
    2.000 StartContainer a#0
    2.000 Normal Started a: Container started
    2.000 a: Running, ready
    2.000 phase Running
    2.000 Stalled
    "#);
}

// k8s: 2.c.2, 9.b.6
#[test]
fn a_mounted_image_that_cannot_be_pulled_holds_up_the_container() {
    assert_snapshot!(play(
        "app a mounts none
         image none missing 1
         until 15s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulling pod: Pulling image "none"
    0.000 PullImage a
    0.000 Warning Failed pod: Failed to pull image "none": not found
    0.000 Warning Failed a: Error: ErrImagePull
    0.000 a: Waiting ErrImagePull (not found)
    0.000 Normal BackOff pod: Back-off pulling image "none"
    0.000 Warning Failed a: Error: ImagePullBackOff
    0.000 a: Waiting ImagePullBackOff (Back-off pulling image "none": ErrImagePull: not found)
    10.000 InspectImage a
    10.000 Normal Pulling pod: Pulling image "none"
    10.000 PullImage a
    10.000 Normal Pulled pod: Successfully pulled image "none" in 0s (0s including waiting). Image size: 1000 bytes.
    10.000 InspectImage a
    10.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    10.000 CreateContainer a#0
    10.000 Normal Created a: Container created
    10.000 StartContainer a#0
    10.000 Normal Started a: Container started
    10.000 a: Running, ready
    10.000 phase Running
    10.000 Stalled
    "#);
}
