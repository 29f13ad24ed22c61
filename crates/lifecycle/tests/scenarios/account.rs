//! The grace account: who used the grace of each stop, and the sentence about it.

use insta::assert_snapshot;

use crate::script::settle_accounts;

#[test]
fn an_app_that_ends_in_time_was_graceful() {
    assert_snapshot!(settle_accounts(
        "app a preStop exec
         hook a preStop 2s
         term a 1.5s
         at 5s delete grace 10"
    ), @"
    a of 10 s: PreStop 0s to 2s, StopSignal 2s to 3.5s, Unused 3.5s to 10s
      graceful: exit code 0 1.5 s after the stop signal, 3.5 s of the 10 s grace used (preStop 2.0 s)
    ");
}

#[test]
fn an_app_that_does_not_heed_the_signal_was_killed() {
    assert_snapshot!(settle_accounts(
        "app a
         term a ignored
         kill a takes 300ms
         at 5s delete grace 10"
    ), @"
    a of 10 s: StopSignal 0s to 10s, Kill 10s to 10.3s
      killed: the process did not end within 10.0 s of the stop signal (10 s grace)
    ");
}

#[test]
fn a_pre_stop_that_takes_nearly_all_is_what_killed_the_app() {
    assert_snapshot!(settle_accounts(
        "app a preStop exec
         hook a preStop 5s
         term a 3s
         at 5s delete grace 6"
    ), @"
    a of 6 s: PreStop 0s to 5s, StopSignal 5s to 7s
      killed: preStop used 5.0 s of the 6 s grace, the process needed more than the 2.0 s that were left after it; a grace of 7 s would still be too little
    ");
}

#[test]
fn a_pre_stop_out_of_grace_was_cut_off() {
    assert_snapshot!(settle_accounts(
        "app a preStop exec
         hook a preStop hangs
         term a ignored
         at 5s delete grace 6"
    ), @"
    a of 6 s: PreStop 0s to 6s, StopSignal 6s to 8s
      killed: preStop did not finish within the 6 s grace and was cut off; the process needed more than the 2.0 s that were left after it; a grace of 8 s would still be too little
    ");
}

#[test]
fn the_last_two_seconds_saved_an_app() {
    assert_snapshot!(settle_accounts(
        "app a preStop exec
         hook a preStop 5.5s
         term a 1s
         at 5s delete grace 6"
    ), @"
    a of 6 s: PreStop 0s to 5.5s, StopSignal 5.5s to 6.5s
      just in time: preStop used 5.5 s of the 6 s grace, and only the 2 s that always follow the stop signal saved the process, which took 1.0 s; a grace of 7 s would have been enough
    ");
}

#[test]
fn an_app_that_its_own_pre_stop_ended_was_graceful() {
    assert_snapshot!(settle_accounts(
        "app a preStop exec
         hook a preStop 3s ends 0
         at 5s delete"
    ), @"
    a of 30 s: PreStop 0s to 3s, Unused 3s to 30s
      graceful: ended with exit code 0 while its preStop hook ran, after 3.0 s of the 30 s grace
    ");
}

#[test]
fn a_sidecar_waited_for_the_others() {
    assert_snapshot!(settle_accounts(
        "sidecar s preStop exec
         app a
         hook s preStop 1s
         term a 4s
         term s 1s
         at 5s delete grace 10"
    ), @"
    s of 10 s: PreStop 0s to 1s, Order 1s to 4s, StopSignal 4s to 5s, Unused 5s to 10s
      graceful: exit code 0 1.0 s after the stop signal, 5.0 s of the 10 s grace used (preStop 1.0 s)
    a of 10 s: StopSignal 0s to 4s, Unused 4s to 10s
      graceful: exit code 0 4.0 s after the stop signal, 4.0 s of the 10 s grace used
    ");
}

#[test]
fn a_container_that_was_still_starting_began_its_stop_late() {
    assert_snapshot!(settle_accounts(
        "app a
         start a takes 5s
         term a 1s
         at 2s delete grace 10"
    ), @"
    a of 10 s: Waiting 0s to 3s, StopSignal 3s to 4s, Unused 4s to 10s
      graceful: exit code 0 1.0 s after the stop signal, 4.0 s of the 10 s grace used
    ");
}

#[test]
fn a_kill_while_the_engine_was_away_is_a_kill() {
    assert_snapshot!(settle_accounts(
        "app a
         term a ignored
         at 5s delete grace 10
         at 8s engine away 20s"
    ), @"
    a of 10 s: StopSignal 0s to 10s
      killed: the process did not end within 10.0 s of the stop signal (10 s grace)
    ");
}

#[test]
fn a_shortened_grace_is_the_budget() {
    assert_snapshot!(settle_accounts(
        "app a
         term a ignored
         at 5s delete grace 60
         at 8s delete grace 10"
    ), @"
    a of 10 s: StopSignal 0s to 10s
      killed: the process did not end within 10.0 s of the stop signal (10 s grace)
    ");
}

#[test]
fn a_delete_shortens_the_budget_of_a_container_that_was_being_stopped() {
    assert_snapshot!(settle_accounts(
        "app a liveness every 1 fails 1
         term a ignored
         probe a liveness fails from 3s
         at 5s delete grace 4"
    ), @"
    a of 6 s: StopSignal 0s to 6s
      killed: the process did not end within 6.0 s of the stop signal (6 s grace)
    ");
}

#[test]
fn at_once_is_at_once() {
    assert_snapshot!(settle_accounts(
        "app a preStop exec
         at 5s kill"
    ), @"
    a of 1 s: Unused 0s to 1s
      killed: at once, as was asked
    ");
}

#[test]
fn each_restart_of_an_unhealthy_container_has_an_account() {
    assert_snapshot!(settle_accounts(
        "app a liveness every 1 fails 1 grace 4
         term a 1s
         probe a liveness fails from 3s
         at 6s delete grace 9"
    ), @"
    a of 4 s: StopSignal 0s to 1s, Unused 1s to 4s
      graceful: exit code 0 1.0 s after the stop signal, 1.0 s of the 4 s grace used
    a of 9 s: StopSignal 0s to 1s, Unused 1s to 9s
      graceful: exit code 0 1.0 s after the stop signal, 1.0 s of the 9 s grace used
    ");
}

#[test]
fn what_an_earlier_stop_took_says_which_grace_would_have_been_enough() {
    assert_snapshot!(settle_accounts(
        "pod grace 6
         app a preStop exec liveness every 1 fails 1 grace 20
         hook a preStop 5s
         term a 3s
         probe a liveness fails from 3s
         at 13s delete"
    ), @"
    a of 20 s: PreStop 0s to 5s, StopSignal 5s to 8s, Unused 8s to 20s
      graceful: exit code 0 3.0 s after the stop signal, 8.0 s of the 20 s grace used (preStop 5.0 s)
    a of 6 s: PreStop 0s to 5s, StopSignal 5s to 7s
      killed: preStop used 5.0 s of the 6 s grace, the process needed more than the 2.0 s that were left after it; in earlier stops the process took up to 3.0 s: terminationGracePeriodSeconds: 9 would have been enough
    ");
}

#[test]
fn a_pre_stop_that_was_cut_off_is_measured_by_an_earlier_one() {
    assert_snapshot!(settle_accounts(
        "pod grace 4
         app a preStop exec liveness every 1 fails 1 grace 20
         hook a preStop 5s
         term a 1s
         probe a liveness fails from 3s
         at 11s delete"
    ), @"
    a of 20 s: PreStop 0s to 5s, StopSignal 5s to 6s, Unused 6s to 20s
      graceful: exit code 0 1.0 s after the stop signal, 6.0 s of the 20 s grace used (preStop 5.0 s)
    a of 4 s: PreStop 0s to 4s, StopSignal 4s to 5s
      just in time: preStop did not finish within the 4 s grace and was cut off, and only the 2 s that always follow the stop signal saved the process, which took 1.0 s; in earlier stops preStop took up to 5.0 s: terminationGracePeriodSeconds: 7 would have been enough
    ");
}

#[test]
fn the_minimum_window_alone_saved_an_app_without_a_hook() {
    assert_snapshot!(settle_accounts(
        "pod grace 1
         app a
         term a 1.5s
         at 5s delete"
    ), @"
    a of 1 s: StopSignal 0s to 1.5s
      just in time: only the 2 s that always follow the stop signal saved the process, which took 1.5 s of a grace of 1 s; terminationGracePeriodSeconds: 2 would have been enough
    ");
}
