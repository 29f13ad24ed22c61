//! Hooks: postStart (section 2.d), preStop and its outcomes (sections 3.c to 3.e).

use insta::assert_snapshot;

use crate::script::play;

// k8s: 2.d.1, 2.d.2, 2.d.3, 2.d.5, 2.d.8
#[test]
fn nothing_shows_running_and_nothing_else_starts_while_post_start_runs() {
    assert_snapshot!(play(
        "app a postStart exec
         app b
         hook a postStart 600s
         until 700s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 RunHook a#0 postStart
    600.000 InspectImage b
    600.000 a: Running, ready
    600.000 Normal Pulled b: Container image "img" already present on machine and can be accessed by the pod
    600.000 CreateContainer b#0
    600.000 Normal Created b: Container created
    600.000 StartContainer b#0
    600.000 Normal Started b: Container started
    600.000 b: Running, ready
    600.000 phase Running
    600.000 Stalled
    "#);
}

// k8s: 2.d.4, 7.a.11
#[test]
fn no_probe_runs_while_post_start_runs() {
    assert_snapshot!(play(
        "app a postStart exec readiness every 1
         hook a postStart 10s
         until 11s
         only Hook Probe"
    ), @"
    0.000 RunHook a#0 postStart
    10.000 RunProbe a#0 Readiness
    11.000 RunProbe a#0 Readiness
    11.000 TimeUp
    ");
}

// k8s: 2.d.3
#[test]
fn a_restart_shows_the_old_end_until_its_post_start_is_over() {
    assert_snapshot!(play(
        "app a postStart exec
         hook a postStart 3s
         life a#0 10s exit 7
         until 20s
         hide does"
    ), @r#"
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 Normal Created a: Container created
    0.000 Normal Started a: Container started
    3.000 a: Running, ready
    3.000 phase Running
    10.000 a: Terminated 7 Error
    10.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    10.000 Normal Created a: Container created
    10.000 Normal Started a: Container started
    13.000 a: Running, restarts 1, last 7 Error, ready
    13.000 Stalled
    "#);
}

// k8s: 2.d.9, 2.d.10, 2.d.11, 3.c.3, 3.c.4, 3.c.5, 4.a.12, 10.c.7
#[test]
fn a_post_start_that_fails_kills_its_container_with_pre_stop_and_tells_why() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         hook a postStart 1s exit 3
         hook a preStop 2s
         term a 1s exit 0
         until 8s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 RunHook a#0 postStart
    1.000 Warning FailedPostStartHook a: PostStartHook failed
    1.000 Normal Killing a: FailedPostStartHook
    1.000 RunHook a#0 preStop
    3.000 StopContainer a#0 kill after 28s
    4.000 a: Waiting PostStartHookError (Exec lifecycle hook ([do it]) for Container "a" in Pod "p_ns(u)" failed - error: command 'do it' exited with 3: err
    , message: "out\nerr\n"), last 0 Completed
    4.000 phase Running
    4.000 InspectImage a
    4.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    4.000 CreateContainer a#1
    4.000 Normal Created a: Container created
    4.000 StartContainer a#1
    4.000 Normal Started a: Container started
    4.000 RunHook a#1 postStart
    5.000 Warning FailedPostStartHook a: PostStartHook failed
    5.000 Normal Killing a: FailedPostStartHook
    5.000 RunHook a#1 preStop
    7.000 StopContainer a#1 kill after 28s
    8.000 a: Waiting PostStartHookError (Exec lifecycle hook ([do it]) for Container "a" in Pod "p_ns(u)" failed - error: command 'do it' exited with 3: err
    , message: "out\nerr\n"), restarts 1, last 0 Completed
    8.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    8.000 a: Waiting CrashLoopBackOff (back-off 10s restarting failed container=a pod=p_ns(u)), restarts 1, last 0 Completed
    8.000 TimeUp
    "#);
}

// k8s: 2.d.15, 5.b.4
#[test]
fn hooks_that_fail_again_and_again_are_paused_like_crashes() {
    assert_snapshot!(play(
        "app a postStart exec
         hook a postStart 0s exit 1
         until 80s
         only RunHook Backoff Back-off"
    ), @"
    0.000 RunHook a#0 postStart
    0.000 RunHook a#1 postStart
    0.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    10.000 RunHook a#2 postStart
    10.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    30.000 RunHook a#3 postStart
    30.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    70.000 RunHook a#4 postStart
    70.000 Warning BackOff a: Back-off restarting failed container a in pod p_ns(u)
    70.000 TimeUp
    ");
}

// k8s: 2.d.12, 2.d.14
#[test]
fn under_never_only_the_event_tells_of_a_post_start_that_failed() {
    assert_snapshot!(play(
        "pod restart Never
         app a postStart exec
         hook a postStart 1s exit 3"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 RunHook a#0 postStart
    1.000 Warning FailedPostStartHook a: PostStartHook failed
    1.000 Normal Killing a: FailedPostStartHook
    1.000 StopContainer a#0 kill after 30s
    1.000 a: Terminated 0 Completed
    1.000 StopSandbox
    1.000 CleanUpPod
    1.000 phase Succeeded
    1.000 Gone
    "#);
}

// k8s: 2.d.14
#[test]
fn a_container_that_ends_well_after_its_post_start_failed_is_not_restarted_on_failure() {
    assert_snapshot!(play(
        "pod restart OnFailure
         app a postStart exec
         hook a postStart 1s exit 3
         hide does"
    ), @r#"
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 Normal Created a: Container created
    0.000 Normal Started a: Container started
    1.000 Warning FailedPostStartHook a: PostStartHook failed
    1.000 Normal Killing a: FailedPostStartHook
    1.000 a: Terminated 0 Completed
    1.000 phase Succeeded
    1.000 Gone
    "#);
}

// k8s: 2.d.18
#[test]
fn each_hook_runs_once_for_each_instance() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         life a#0 10s exit 1
         at 30s delete
         only Hook"
    ), @"
    0.000 RunHook a#0 postStart
    10.000 RunHook a#1 postStart
    30.000 RunHook a#1 preStop
    30.000 Gone
    ");
}

// k8s: 3.d.22, 3.d.17
#[test]
fn a_request_that_fails_is_told_in_the_words_of_http() {
    assert_snapshot!(play(
        "app a postStart http
         hook a postStart 0s refused
         until 0s
         only PostStartHookError"
    ), @r#"
    0.000 a: Waiting PostStartHookError (HTTP lifecycle hook (/hook) for Container "a" in Pod "p_ns(u)" failed - error: connection refused), last 0 Completed
    0.000 a: Waiting PostStartHookError (HTTP lifecycle hook (/hook) for Container "a" in Pod "p_ns(u)" failed - error: connection refused), restarts 1, last 0 Completed
    0.000 TimeUp
    "#);
}

// k8s: 3.d.28
#[test]
fn a_tcp_socket_hook_fails_at_once() {
    assert_snapshot!(play(
        "app a postStart tcp
         until 0s
         only PostStartHookError"
    ), @"
    0.000 a: Waiting PostStartHookError (Cannot run handler: invalid handler: tcpSocket), last 0 Completed
    0.000 a: Waiting PostStartHookError (Cannot run handler: invalid handler: tcpSocket), restarts 1, last 0 Completed
    0.000 TimeUp
    ");
}

// k8s: 3.d.24
#[test]
fn a_sleep_takes_its_time_without_a_process() {
    assert_snapshot!(play(
        "app a postStart sleep 2 preStop sleep 3
         at 10s delete
         hide events"
    ), @"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 CreateContainer a#0
    0.000 StartContainer a#0
    0.000 RunHook a#0 postStart
    2.000 a: Running, ready
    2.000 phase Running
    10.000 delete
    10.000 RunHook a#0 preStop
    13.000 StopContainer a#0 kill after 27s
    13.000 StopSandbox
    13.000 a: Terminated 0 Completed
    13.000 CleanUpPod
    13.000 phase Succeeded
    13.000 Gone
    ");
}

// k8s: 3.d.24
#[test]
fn a_sleep_of_zero_returns_at_once() {
    assert_snapshot!(play(
        "app a preStop sleep 0
         at 10s delete
         from 10s"
    ), @"
    10.000 delete
    10.000 Normal Killing a: Stopping container a
    10.000 RunHook a#0 preStop
    10.000 StopContainer a#0 kill after 30s
    10.000 StopSandbox
    10.000 a: Terminated 0 Completed
    10.000 CleanUpPod
    10.000 phase Succeeded
    10.000 Gone
    ");
}

// k8s: 2.d.7, 3.b.1
#[test]
fn a_delete_cancels_a_post_start_and_stops_the_container_within_its_grace() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         app b
         hook a postStart hangs
         hook a preStop 2s
         term a ignored
         at 5s delete grace 10
         show tells"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 b: Waiting ContainerCreating
    0.000 phase Pending
    0.000 the sandbox is ready
    0.000 InspectImage a
    0.000 InspectImage a: present
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 CreateContainer a#0: done
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 StartContainer a#0: done
    0.000 Normal Started a: Container started
    0.000 RunHook a#0 postStart
    5.000 delete grace 10
    5.000 CancelHook of RunHook a#0 postStart
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    5.000 a: Running, ready
    5.000 RunHook a#0 postStart: cancelled
    7.000 RunHook a#0 preStop: ok
    7.000 StopContainer a#0 kill after 8s
    7.000 StopContainer a#0 kill after 8s: done
    15.000 KillContainer a#0
    15.000 KillContainer a#0: done
    15.000 a#0 exited 137 Error
    15.000 StopSandbox
    15.000 a: Terminated 137 Error
    15.000 the sandbox is stopped
    15.000 CleanUpPod
    15.000 b: Terminated 137 ContainerStatusUnknown (The container could not be located when the pod was terminated)
    15.000 phase Failed
    15.000 the pod is cleaned up
    15.000 Gone
    "#);
}

// k8s: 2.d.10, 2.d.15
#[test]
fn a_container_that_ends_under_its_post_start_command_is_told_as_a_failed_hook_and_nothing_is_killed() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         hook a postStart hangs
         life a#0 1s exit 0
         until 5s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 RunHook a#0 postStart
    1.000 Warning FailedPostStartHook a: PostStartHook failed
    1.000 a: Waiting PostStartHookError (Exec lifecycle hook ([do it]) for Container "a" in Pod "p_ns(u)" failed - error: command 'do it' exited with 137: , message: ""), last 0 Completed
    1.000 phase Running
    1.000 InspectImage a
    1.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    1.000 CreateContainer a#1
    1.000 Normal Created a: Container created
    1.000 StartContainer a#1
    1.000 Normal Started a: Container started
    1.000 RunHook a#1 postStart
    1.000 Stalled
    "#);
}

// k8s: 2.d.15
#[test]
fn a_container_that_ends_under_its_post_start_request_has_just_ended() {
    assert_snapshot!(play(
        "app a postStart http
         hook a postStart hangs
         life a#0 1s exit 0
         until 1s"
    ), @r#"
    0.000 CreateSandbox 0
    0.000 a: Waiting ContainerCreating
    0.000 phase Pending
    0.000 InspectImage a
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 CreateContainer a#0
    0.000 Normal Created a: Container created
    0.000 StartContainer a#0
    0.000 Normal Started a: Container started
    0.000 RunHook a#0 postStart
    1.000 CancelHook of RunHook a#0 postStart
    1.000 a: Terminated 0 Completed
    1.000 phase Running
    1.000 InspectImage a
    1.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    1.000 CreateContainer a#1
    1.000 Normal Created a: Container created
    1.000 StartContainer a#1
    1.000 Normal Started a: Container started
    1.000 RunHook a#1 postStart
    1.000 Stalled
    "#);
}

// k8s: 3.c.1
#[test]
fn an_opt_in_limit_ends_a_post_start() {
    assert_snapshot!(play(
        "app a postStart exec limit 5s
         hook a postStart 5s limit 5s
         until 5s
         only Hook"
    ), @r#"
    0.000 RunHook a#0 postStart
    5.000 Warning FailedPostStartHook a: PostStartHook failed
    5.000 Normal Killing a: FailedPostStartHook
    5.000 a: Waiting PostStartHookError (Exec lifecycle hook ([do it]) for Container "a" in Pod "p_ns(u)" failed - error: command 'do it' timed out after 5s, message: ""), last 0 Completed
    5.000 RunHook a#1 postStart
    5.000 TimeUp
    "#);
}

// k8s: 3.e.1, 3.e.2, 10.c.8
#[test]
fn a_pre_stop_that_fails_is_told_in_a_fixed_text_and_the_stop_goes_on() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 2s exit 1
         at 5s delete
         from 5s"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    7.000 Warning FailedPreStopHook a: PreStopHook failed
    7.000 StopContainer a#0 kill after 28s
    7.000 StopSandbox
    7.000 a: Terminated 0 Completed
    7.000 CleanUpPod
    7.000 phase Succeeded
    7.000 Gone
    ");
}

// k8s: 3.e.1
#[test]
fn a_pre_stop_that_cannot_be_run_is_told_the_same_way() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 0s broken
         at 5s delete
         from 5s"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    5.000 Warning FailedPreStopHook a: PreStopHook failed
    5.000 StopContainer a#0 kill after 30s
    5.000 StopSandbox
    5.000 a: Terminated 0 Completed
    5.000 CleanUpPod
    5.000 phase Succeeded
    5.000 Gone
    ");
}

// k8s: 3.e.3, 3.c.6, 3.b.5
#[test]
fn a_pre_stop_out_of_grace_is_told_cancelled_and_leaves_two_seconds() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop hangs
         term a ignored
         at 5s delete grace 4
         from 5s
         show tells notes"
    ), @"
    5.000 delete grace 4
    5.000 termination begins: Deleted, grace 4s
    5.000 Normal Killing a: Stopping container a
    5.000 stop of a#0 begins: Deleted, grace 4s
    5.000 RunHook a#0 preStop
    9.000 preStop of a is out of grace
    9.000 Warning FailedPreStopHook a: PreStopHook did not finish within the grace period
    9.000 CancelHook of RunHook a#0 preStop
    9.000 StopContainer a#0 kill after 2s
    9.000 RunHook a#0 preStop: cancelled
    9.000 StopContainer a#0 kill after 2s: done
    11.000 KillContainer a#0
    11.000 KillContainer a#0: done
    11.000 a#0 exited 137 Error
    11.000 StopSandbox
    11.000 a: Terminated 137 Error
    11.000 the sandbox is stopped
    11.000 CleanUpPod
    11.000 phase Failed
    11.000 the pod is cleaned up
    11.000 Gone
    ");
}

// k8s: 3.d.27, 12.a.10
#[test]
fn a_container_that_ends_ends_the_wait_for_its_pre_stop_sleep() {
    assert_snapshot!(play(
        "app a preStop sleep 20
         at 5s delete
         at 8s exit a 0
         from 5s
         show tells"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    8.000 a#0 exited 0 Completed
    8.000 CancelHook of RunHook a#0 preStop
    8.000 StopSandbox
    8.000 a: Terminated 0 Completed
    8.000 RunHook a#0 preStop: cancelled
    8.000 the sandbox is stopped
    8.000 CleanUpPod
    8.000 phase Succeeded
    8.000 the pod is cleaned up
    8.000 Gone
    ");
}

// k8s: 12.a.10, 3.e.1
#[test]
fn a_pre_stop_whose_own_work_ends_the_container_has_not_failed() {
    assert_snapshot!(play(
        "app a preStop exec
         hook a preStop 3s ends 0
         at 5s delete
         from 5s
         show tells"
    ), @"
    5.000 delete
    5.000 Normal Killing a: Stopping container a
    5.000 RunHook a#0 preStop
    8.000 RunHook a#0 preStop: ended with its container
    8.000 a#0 exited 0 Completed
    8.000 StopSandbox
    8.000 a: Terminated 0 Completed
    8.000 the sandbox is stopped
    8.000 CleanUpPod
    8.000 phase Succeeded
    8.000 the pod is cleaned up
    8.000 Gone
    ");
}

// k8s: 3.e.6, 4.b.6, 1.a.6, 4.d.1
#[test]
fn without_grace_there_is_no_pre_stop_but_two_seconds_for_the_stop_signal() {
    assert_snapshot!(play(
        "pod grace 0 restart Never
         sidecar s preStop exec
         app a
         term s ignored
         life a 5s exit 0
         from 5s"
    ), @"
    5.000 a: Terminated 0 Completed
    5.000 Normal Killing s: Stopping container s
    5.000 StopContainer s#0 kill after 2s
    7.000 KillContainer s#0
    7.000 StopSandbox
    7.000 s: Terminated 137 Error
    7.000 CleanUpPod
    7.000 phase Succeeded
    7.000 Gone
    ");
}

// k8s: 2.d.11, 3.e.1
#[test]
fn a_post_start_and_a_pre_stop_that_both_fail_are_both_told() {
    assert_snapshot!(play(
        "app a postStart exec preStop exec
         hook a postStart 1s exit 1
         hook a preStop 1s exit 2
         until 2s
         hide does shows"
    ), @r#"
    0.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    0.000 Normal Created a: Container created
    0.000 Normal Started a: Container started
    1.000 Warning FailedPostStartHook a: PostStartHook failed
    1.000 Normal Killing a: FailedPostStartHook
    2.000 Warning FailedPreStopHook a: PreStopHook failed
    2.000 Normal Pulled a: Container image "img" already present on machine and can be accessed by the pod
    2.000 Normal Created a: Container created
    2.000 Normal Started a: Container started
    2.000 TimeUp
    "#);
}

// k8s: 2.d.16, 11.b.7
#[test]
fn a_post_start_goes_on_over_a_restart_of_the_engine_and_is_not_run_again() {
    assert_snapshot!(play(
        "app a postStart exec
         hook a postStart 5s
         at 2s engine away 1s
         until 20s
         only Hook stops starts a:
         hide events"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 RunHook a#0 postStart
    2.000 stops
    3.000 starts
    5.000 a: Running, ready
    5.000 Stalled
    ");
}

// k8s: 2.d.16, 4.b.8
#[test]
fn a_post_start_that_ended_while_the_engine_was_away_is_known_when_it_is_back() {
    assert_snapshot!(play(
        "app a postStart exec
         hook a postStart 5s
         at 2s engine away 10s
         until 20s
         only Hook stops starts a:
         hide events"
    ), @"
    0.000 a: Waiting ContainerCreating
    0.000 RunHook a#0 postStart
    2.000 stops
    12.000 starts
    12.000 a: Running, ready
    12.000 Stalled
    ");
}
