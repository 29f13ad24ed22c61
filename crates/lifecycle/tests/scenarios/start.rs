//! Starting a pod and its containers: sandbox, image, create, start (sections 2, 5.d and 9 of the behaviour rows).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 2.a.11, 2.b.1, 2.b.12, 2.c.11, 2.c.13, 8.b.3, 9.a.6, 10.c.1, 10.c.2
#[test]
fn a_pod_starts_with_its_sandbox_and_ends_with_its_clean_up() {
    assert_snapshot!(play(
        "app a
         at 5s delete
         show tells conditions"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 PodReadyToStartContainers=False
    0.000 Initialized=True
    0.000 Ready=False ContainersNotReady (containers with unready status: [a])
    0.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    0.000 PodScheduled=True
    0.000 phase Pending
    0.000 the sandbox is ready
    0.000 InspectImage a
    0.000 PodReadyToStartContainers=True
    0.000 InspectImage a: present
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 CreateContainer a#0: done
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 StartContainer a#0: done
    0.000 Normal Started a: Container started
    0.000 a: Running, ready
    0.000 Ready=True
    0.000 ContainersReady=True
    0.000 phase Running
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 30s
    5.000 StopContainer a#0 kill after 30s: done
    5.000 a#0 exited 0 Completed
    5.000 StopSandbox
    5.000 a: Terminated 0 Completed
    5.000 Ready=False ContainersNotReady (containers with unready status: [a])
    5.000 ContainersReady=False ContainersNotReady (containers with unready status: [a])
    5.000 the sandbox is stopped
    5.000 CleanUpPod
    5.000 PodReadyToStartContainers=False
    5.000 Initialized=True PodCompleted
    5.000 Ready=False PodCompleted
    5.000 ContainersReady=False PodCompleted
    5.000 phase Succeeded
    5.000 the pod is cleaned up
    5.000 Gone
    "#);
}

// k8s: 2.b.6, 2.b.9, 5.c.2
#[test]
fn a_sandbox_that_cannot_be_made_is_made_again_after_ten_seconds() {
    assert_snapshot!(play(
        "sandbox fails 2
         app a
         until 30s
         only sandbox Sandbox phase"
    ), @"
    0.000 CreateSandbox 0
    0.000 phase Pending
    0.000 Warning FailedCreatePodSandBox pod: Failed to create pod sandbox: no network
    10.000 CreateSandbox 1
    10.000 Warning FailedCreatePodSandBox pod: Failed to create pod sandbox: no network
    20.000 CreateSandbox 2
    20.000 phase Running
    20.000 Stalled
    ");
}

// k8s: 2.b.8
#[test]
fn a_sandbox_that_fails_while_the_pod_goes_is_not_told() {
    assert_snapshot!(play(
        "sandbox fails 1
         sandbox takes 5s
         app a
         at 1s delete"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    1.000 delete
    5.000 CleanUpPod
    5.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 2.b.19, 2.b.1
#[test]
fn containers_start_one_after_another_in_spec_order() {
    assert_snapshot!(play(
        "app c
         app a
         app b
         create c takes 1s
         start a takes 2s
         until 20s
         hide events"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 c: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage c
    0.000 CreateContainer c#0
    1.000 StartContainer c#0
    1.000 InspectImage a
    1.000 c: Running, ready
    1.000 CreateContainer a#0
    1.000 StartContainer a#0
    3.000 InspectImage b
    3.000 a: Running, ready
    3.000 CreateContainer b#0
    3.000 StartContainer b#0
    3.000 b: Running, ready
    3.000 phase Running
    3.000 Stalled
    ");
}

// k8s: 2.b.20, 9.b.1, 9.b.2, 10.c.11
#[test]
fn a_slow_pull_holds_back_the_containers_after_it() {
    assert_snapshot!(play(
        "app a image big
         app b
         image big pulls 7.5s
         until 20s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulling a: Pulling image "big"
    0.000 PullImage a
    7.500 Normal Pulled a: Successfully pulled image "big" in 7.5s (7.5s including waiting). Image size: 1000 bytes.
    7.500 CreateContainer a#0
    7.500 Normal Created a: Container created
    7.500 StartContainer a#0
    7.500 Normal Started a: Container started
    7.500 InspectImage b
    7.500 a: Running, ready
    7.500 Normal Pulled b: Container image "img" already present on machine and can be accessed by the pod
    7.500 CreateContainer b#0
    7.500 Normal Created b: Container created
    7.500 StartContainer b#0
    7.500 Normal Started b: Container started
    7.500 b: Running, ready
    7.500 phase Running
    7.500 Stalled
    "#);
}

// k8s: 2.b.19
#[test]
fn a_container_that_cannot_be_created_does_not_hold_back_the_next() {
    assert_snapshot!(play(
        "app a
         app b
         create a fails 1
         until 20s
         hide events"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 CreateContainer a#0
    0.000 InspectImage b
    0.000 a: Waiting CreateContainerConfigError (secret "s" not found)
    0.000 CreateContainer b#0
    0.000 StartContainer b#0
    0.000 b: Running, ready
    10.000 InspectImage a
    10.000 CreateContainer a#0
    10.000 StartContainer a#0
    10.000 a: Running, ready
    10.000 phase Running
    10.000 Stalled
    "#);
}

// k8s: 2.b.5, 2.b.7, 2.b.16, 6.a.13, 8.c.8, 11.b.18, 11.b.19
#[test]
fn a_lost_sandbox_is_made_again_and_its_init_containers_run_again() {
    assert_snapshot!(play(
        "init i
         app a
         life i 2s exit 0
         at 10s lose sandbox
         until 60s
         from 10s"
    ), @r#"
    10.000 Normal SandboxChanged pod: Pod sandbox changed, it will be killed and re-created.
    10.000 CreateSandbox 1
    10.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    10.000 InspectImage i
    10.000 Normal Pulled i: Container image "img" already present on machine and can be accessed by the pod
    10.000 CreateContainer i#1
    10.000 Normal Created i: Container created
    10.000 StartContainer i#1
    10.000 Normal Started i: Container started
    10.000 i: Running, restarts 1, last 0 Completed, started
    10.000 phase Pending
    12.000 i: Terminated 0 Completed, restarts 1, last 0 Completed, done
    12.000 phase Running
    12.000 InspectImage a
    12.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    12.000 CreateContainer a#1
    12.000 Normal Created a: Container created
    12.000 StartContainer a#1
    12.000 Normal Started a: Container started
    12.000 a: Running, restarts 1, last 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running), ready
    12.000 Stalled
    "#);
}

// k8s: 2.b.14
#[test]
fn a_pod_that_never_restarts_gets_no_second_sandbox() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         at 10s lose sandbox
         from 10s"
    ), @"
    10.000 StopSandbox
    10.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    10.000 CleanUpPod
    10.000 phase Failed
    10.000 Gone
    ");
}

// k8s: 2.b.5, 2.b.16
#[test]
fn a_container_that_was_being_made_in_a_lost_sandbox_is_made_in_the_new_one() {
    assert_snapshot!(play(
        "app a
         app b
         create a takes 5s
         at 2s lose sandbox
         until 60s
         hide events
         show tells"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 phase Pending
    0.000 the sandbox is ready
    0.000 InspectImage a
    0.000 InspectImage a: present
    0.000 CreateContainer a#0
    2.000 the sandbox is lost
    2.000 CreateSandbox 1
    2.000 the sandbox is ready
    2.000 InspectImage a
    2.000 InspectImage a: present
    2.000 CreateContainer a#0
    5.000 CreateContainer a#0: CreateContainerError: the sandbox is gone
    7.000 CreateContainer a#0: done
    7.000 StartContainer a#0
    7.000 StartContainer a#0: done
    7.000 InspectImage b
    7.000 a: Running, ready
    7.000 InspectImage b: present
    7.000 CreateContainer b#0
    7.000 CreateContainer b#0: done
    7.000 StartContainer b#0
    7.000 StartContainer b#0: done
    7.000 b: Running, ready
    7.000 phase Running
    7.000 Stalled
    ");
}

// k8s: 2.b.5, 2.b.16, 9.b.12
#[test]
fn a_pull_for_a_lost_sandbox_is_cancelled() {
    assert_snapshot!(play(
        "app a image big
         image big pulls 20s
         at 5s lose sandbox
         until 60s
         hide events
         show tells"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 the sandbox is ready
    0.000 InspectImage a
    0.000 InspectImage a: absent
    0.000 PullImage a
    5.000 the sandbox is lost
    5.000 CancelPull of PullImage a
    5.000 CreateSandbox 1
    5.000 PullImage a: ErrImagePull: context canceled
    5.000 the sandbox is ready
    5.000 InspectImage a
    5.000 InspectImage a: absent
    5.000 PullImage a
    25.000 PullImage a: pulled
    25.000 CreateContainer a#0
    25.000 CreateContainer a#0: done
    25.000 StartContainer a#0
    25.000 StartContainer a#0: done
    25.000 a: Running, ready
    25.000 phase Running
    25.000 Stalled
    ");
}

// k8s: 2.b.5
#[test]
fn a_sandbox_lost_while_the_pod_goes_is_not_made_again() {
    assert_snapshot!(play(
        "app a
         term a ignored
         at 5s delete
         at 8s lose sandbox
         from 5s"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 StopContainer a#0 kill after 30s
    8.000 StopSandbox
    8.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    8.000 CleanUpPod
    8.000 phase Failed
    8.000 Gone
    ");
}

// k8s: 9.a.5, 2.c.3
#[test]
fn an_image_that_must_not_be_pulled_is_looked_for_again_later() {
    assert_snapshot!(play(
        "app a image gone pull Never
         image gone absent
         until 15s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Warning ErrImageNeverPull a: Container image "gone" is not present with pull policy of Never
    0.000 Warning Failed a: Error: ErrImageNeverPull
    0.000 a: Waiting ErrImageNeverPull (Container image "gone" is not present with pull policy of Never)
    10.000 InspectImage a
    10.000 Warning ErrImageNeverPull a: Container image "gone" is not present with pull policy of Never
    10.000 Warning Failed a: Error: ErrImageNeverPull
    10.000 TimeUp
    "#);
}

// k8s: 9.a.2
#[test]
fn an_image_name_that_cannot_be_read_is_told_twice() {
    assert_snapshot!(play(
        "app a image bad
         image bad invalid
         until 5s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Warning InspectFailed a: Failed to apply default image tag "bad": bad name
    0.000 Warning Failed a: Error: InvalidImageName
    0.000 a: Waiting InvalidImageName (Failed to apply default image tag "bad": bad name)
    0.000 TimeUp
    "#);
}

// k8s: 9.a.4
#[test]
fn an_image_that_cannot_be_looked_for_is_told_twice() {
    assert_snapshot!(play(
        "app a image odd
         image odd unreadable
         until 5s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Warning InspectFailed a: Failed to inspect image "odd": disk error
    0.000 Warning Failed a: Error: ImageInspectError
    0.000 a: Waiting ImageInspectError (Failed to inspect image "odd": disk error)
    0.000 TimeUp
    "#);
}

// k8s: 9.a.3, 9.b.14
#[test]
fn the_registry_is_asked_at_every_start_under_always() {
    assert_snapshot!(play(
        "app a pull Always
         life a#0 1s exit 1
         until 5s
         only PullImage InspectImage"
    ), @"
    0.000 PullImage a
    1.000 PullImage a
    1.000 Stalled
    ");
}

// k8s: 9.b.3, 9.b.6, 9.b.7, 5.d.2, 10.c.11
#[test]
fn a_pull_that_fails_shows_first_its_error_and_then_its_pause() {
    assert_snapshot!(play(
        "app a image gone
         image gone missing 1
         until 15s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulling a: Pulling image "gone"
    0.000 PullImage a
    0.000 Warning Failed a: Failed to pull image "gone": not found
    0.000 Warning Failed a: Error: ErrImagePull
    0.000 a: Waiting ErrImagePull (not found)
    0.000 Normal BackOff a: Back-off pulling image "gone"
    0.000 Warning Failed a: Error: ImagePullBackOff
    0.000 a: Waiting ImagePullBackOff (Back-off pulling image "gone": ErrImagePull: not found)
    10.000 InspectImage a
    10.000 Normal Pulling a: Pulling image "gone"
    10.000 PullImage a
    10.000 Normal Pulled a: Successfully pulled image "gone" in 0s (0s including waiting). Image size: 1000 bytes.
    10.000 CreateContainer a#0
    10.000 Normal Created a: Container created
    10.000 StartContainer a#0
    10.000 Normal Started a: Container started
    10.000 a: Running, ready
    10.000 phase Running
    10.000 Stalled
    "#);
}

// k8s: 5.d.1, 9.b.8
#[test]
fn pauses_between_pulls_double_up_to_five_minutes() {
    assert_snapshot!(play(
        "app a image gone
         image gone missing
         until 1300s
         only PullImage"
    ), @"
    0.000 PullImage a
    10.000 PullImage a
    30.000 PullImage a
    70.000 PullImage a
    150.000 PullImage a
    310.000 PullImage a
    610.000 PullImage a
    910.000 PullImage a
    1210.000 PullImage a
    1210.000 TimeUp
    ");
}

// k8s: 9.b.15, 8.a.8, 5.d.1
#[test]
fn a_container_that_ran_before_keeps_its_pod_running_while_its_image_is_missing() {
    assert_snapshot!(play(
        "app a pull Always
         life a#0 1s exit 1
         image img passes 1
         until 5s
         from 1s
         hide does"
    ), @r#"
    1.000 a: Terminated 1 Error
    1.000 Normal Pulling a: Pulling image "img"
    1.000 Warning Failed a: Failed to pull image "img": not found
    1.000 Warning Failed a: Error: ErrImagePull
    1.000 a: Waiting ErrImagePull (not found), last 1 Error
    1.000 Normal BackOff a: Back-off pulling image "img"
    1.000 Warning Failed a: Error: ImagePullBackOff
    1.000 a: Waiting ImagePullBackOff (Back-off pulling image "img": ErrImagePull: not found), last 1 Error
    1.000 TimeUp
    "#);
}

// k8s: 9.b.12
#[test]
fn a_delete_does_not_wait_for_a_pull() {
    assert_snapshot!(play(
        "app a image big
         image big pulls 60s
         at 5s delete
         hide events
         show tells"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 the sandbox is ready
    0.000 InspectImage a
    0.000 InspectImage a: absent
    0.000 PullImage a
    5.000 delete
    5.000 CancelPull of PullImage a
    5.000 StopSandbox
    5.000 PullImage a: ErrImagePull: context canceled
    5.000 the sandbox is stopped
    5.000 CleanUpPod
    5.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    5.000 phase Failed
    5.000 the pod is cleaned up
    5.000 Gone
    ");
}

// k8s: 2.c.6, 2.c.9, 10.c.3
#[test]
fn a_container_that_cannot_be_created_waits_and_is_tried_again() {
    assert_snapshot!(play(
        "app a
         create a fails 1
         until 20s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Warning Failed a: Error: secret "s" not found
    0.000 a: Waiting CreateContainerConfigError (secret "s" not found)
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

// k8s: 2.c.12, 8.d.2, 8.d.4, 5.b.4
#[test]
fn a_container_that_cannot_be_started_leaves_a_record_and_is_restarted_by_policy() {
    assert_snapshot!(play(
        "app a
         start a fails 1
         until 20s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Warning Failed a: Error: no such file
    0.000 a: Waiting RunContainerError (no such file), last 128 StartError (no such file)
    0.000 phase Running
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#1
    0.000 Normal Created a: Container created
    0.000 StartContainer a#1
    0.000 Normal Started a: Container started
    0.000 a: Running, restarts 1, last 128 StartError (no such file), ready
    0.000 Stalled
    "#);
}

// k8s: 2.c.12
#[test]
fn a_container_that_cannot_be_started_ends_a_pod_that_never_restarts() {
    assert_snapshot!(play(
        "pod restart Never
         app a
         start a fails 1"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Warning Failed a: Error: no such file
    0.000 a: Terminated 128 StartError (no such file)
    0.000 StopSandbox
    0.000 CleanUpPod
    0.000 phase Failed
    0.000 Gone
    "#);
}

// k8s: 2.c.1, 5.b.2
#[test]
fn the_crash_pause_is_looked_at_before_each_start_whatever_the_last_one_failed_of() {
    assert_snapshot!(play(
        "app a
         life a#0 1s exit 1
         create a passes 1 fails 5
         until 100s
         only CreateContainer CrashLoop Waiting"
    ), @r#"
    0.000 a: Waiting ContainerCreating
    0.000 CreateContainer a#0
    1.000 CreateContainer a#1
    1.000 a: Waiting CreateContainerConfigError (secret "s" not found), last 1 Error
    11.000 CreateContainer a#1
    21.000 CreateContainer a#1
    31.000 a: Waiting CrashLoopBackOff (back-off 40s restarting failed container=a pod=p_ns(u)), last 1 Error
    41.000 CreateContainer a#1
    41.000 a: Waiting CreateContainerConfigError (secret "s" not found), last 1 Error
    51.000 a: Waiting CrashLoopBackOff (back-off 1m20s restarting failed container=a pod=p_ns(u)), last 1 Error
    81.000 CreateContainer a#1
    81.000 a: Waiting CreateContainerConfigError (secret "s" not found), last 1 Error
    91.000 a: Waiting CrashLoopBackOff (back-off 2m40s restarting failed container=a pod=p_ns(u)), last 1 Error
    91.000 TimeUp
    "#);
}

// k8s: 2.c.4, 5.c.6, 6.a.14, 8.c.17
#[test]
fn the_restart_count_goes_on_and_one_dead_record_is_kept() {
    assert_snapshot!(play(
        "app a
         life a 1s exit 1
         until 50s
         only CreateContainer RemoveContainer"
    ), @"
    0.000 CreateContainer a#0
    1.000 CreateContainer a#1
    12.000 CreateContainer a#2
    12.000 RemoveContainer a#0
    33.000 CreateContainer a#3
    33.000 RemoveContainer a#1
    34.000 TimeUp
    ");
}

// k8s: 4.b.5
#[test]
fn a_container_that_was_created_when_the_pod_went_is_removed_and_never_started() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         create a takes 5s
         at 2s delete"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    2.000 delete
    5.000 RemoveContainer a#0
    5.000 StopSandbox
    5.000 CleanUpPod
    5.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    5.000 phase Failed
    5.000 Gone
    "#);
}

// k8s: 2.d.7, 3.b.2, 8.c.4
#[test]
fn a_container_that_comes_to_life_when_the_pod_goes_is_stopped_within_the_grace_that_is_left() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         start a takes 5s
         hook a preStop hangs
         at 2s delete grace 10"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    2.000 delete grace 10
    2.000 a: Waiting 
    5.000 Normal Started a: Container started
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    5.000 a: Running, ready
    5.000 phase Running
    12.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    12.000 CancelHook of RunHook a#0 preStop
    12.000 StopContainer a#0 kill after 2s
    12.000 StopSandbox
    12.000 a: Terminated 0 Completed
    12.000 CleanUpPod
    12.000 phase Succeeded
    12.000 Gone
    "#);
}

// k8s: 4.b.5, 8.a.23, 3.f.9, 8.c.6
#[test]
fn a_pod_deleted_before_anything_started_has_failed() {
    assert_snapshot!(play(
        "sandbox takes 3s
         app a preStop exec
         at 1s delete"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    1.000 delete
    3.000 StopSandbox
    3.000 CleanUpPod
    3.000 a: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    3.000 phase Failed
    3.000 Gone
    ");
}

// k8s: 2.a.9, 10.d.8
#[test]
fn volumes_that_cannot_be_mounted_are_told_by_their_reason_and_tried_again() {
    assert_snapshot!(play(
        "sandbox fails 1 FailedMount
         app a
         until 11s
         only sandbox Sandbox phase"
    ), @"
    0.000 CreateSandbox 0
    0.000 phase Pending
    0.000 Warning FailedMount pod: Failed to create pod sandbox: no network
    10.000 CreateSandbox 1
    10.000 phase Running
    10.000 Stalled
    ");
}

// k8s: 2.b.15, 5.a.3
#[test]
fn what_has_succeeded_is_not_run_again_in_a_new_sandbox() {
    assert_snapshot!(play(
        "pod restart OnFailure
         app a
         app b
         life a 2s exit 0
         at 5s lose sandbox
         until 30s
         from 5s
         hide events"
    ), @"
    5.000 CreateSandbox 1
    5.000 b: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    5.000 InspectImage b
    5.000 CreateContainer b#1
    5.000 StartContainer b#1
    5.000 b: Running, restarts 1, last 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running), ready
    5.000 Stalled
    ");
}

// k8s: 2.b.2, 2.b.16, 6.a.10, 8.a.2
#[test]
fn an_init_container_that_was_lost_and_never_restarts_ends_the_pod() {
    assert_snapshot!(play(
        "init i restart Never
         app a
         at 5s lose sandbox
         from 5s"
    ), @"
    5.000 Normal SandboxChanged pod: Pod sandbox changed, it will be killed and re-created.
    5.000 CreateSandbox 1
    5.000 i: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was deleted.  The container used to be Running)
    5.000 StopSandbox
    5.000 CleanUpPod
    5.000 phase Failed
    5.000 Gone
    ");
}

// k8s: 2.c.1, 5.b.3
#[test]
fn a_start_that_a_lost_sandbox_interrupted_waits_for_its_pause() {
    assert_snapshot!(play(
        "app a
         life a#0 1s exit 1
         create a takes 4s
         at 7s lose sandbox
         until 30s
         only CreateContainer lose CrashLoop"
    ), @"
    0.000 CreateContainer a#0
    5.000 CreateContainer a#1
    7.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), last 1 Error
    15.000 CreateContainer a#1
    19.000 Stalled
    ");
}

// k8s: 9.b.11, 10.d.16
#[test]
fn pull_secrets_that_are_missing_are_told_and_the_pull_is_tried_all_the_same() {
    assert_snapshot!(play(
        "app a pull Always
         sandbox misses one,two
         until 5s
         hide shows"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 Warning FailedToRetrieveImagePullSecret pod: Unable to retrieve some image pull secrets (one, two); attempting to pull the image may not succeed.
    0.000 Normal Pulling a: Pulling image "img"
    0.000 PullImage a
    0.000 Normal Pulled a: Successfully pulled image "img" in 0s (0s including waiting). Image size: 1000 bytes.
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 Stalled
    "#);
}
