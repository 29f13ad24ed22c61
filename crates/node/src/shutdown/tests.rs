use super::*;

const PODS: [(&str, i32); 5] = [("low", -10), ("usual", 0), ("important", 1000), ("critical", 2_000_000_000), ("node", 2_000_001_000)];

fn waves(plan: &ShutdownPlan) -> Vec<(Option<u64>, String)> {
    let pods = PODS.map(|(uid, priority)| Leaver { uid: uid.to_owned(), priority });
    plan.waves(&pods).into_iter().map(|wave| (wave.period.map(|period| period.as_secs()), wave.uids.join(" "))).collect()
}

fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

// k8s: 4.a.21, 4.c.3
#[test]
fn critical_pods_go_after_all_others_in_the_last_part_of_the_time() {
    let plan = ShutdownPlan::from_periods(secs(30), secs(10)).expect("valid");
    assert_eq!(waves(&plan), [(Some(20), "low usual important".to_owned()), (Some(10), "critical node".to_owned())]);
}

// k8s: 4.a.21
#[test]
fn groups_go_from_the_lowest_priority_to_the_highest_and_the_lowest_takes_what_is_below() {
    let group = |priority, count| Group { priority, period: secs(count) };
    let plan = ShutdownPlan::from_groups(vec![group(1000, 5), group(2_000_001_000, 3), group(-5, 60)]).expect("valid");
    let wanted = [(Some(60), "low usual"), (Some(5), "important critical"), (Some(3), "node")];
    assert_eq!(waves(&plan), wanted.map(|(period, uids)| (period, uids.to_owned())));
}

#[test]
fn without_periods_all_go_at_once_in_their_own_grace() {
    let plan = ShutdownPlan::from_periods(Duration::ZERO, Duration::ZERO).expect("valid");
    assert_eq!(plan, ShutdownPlan::at_once());
    assert_eq!(waves(&plan), [(None, "low usual important critical node".to_owned())]);
}

#[test]
fn a_plan_that_cannot_be_is_refused() {
    let error = ShutdownPlan::from_periods(secs(5), secs(6)).expect_err("too little").to_string();
    assert_eq!(error, "critical pods cannot have 6s of a shutdown that has 5s in all");
    let group = Group { priority: 7, period: secs(1) };
    assert_eq!(ShutdownPlan::from_groups(vec![group, group]), Err(ShutdownPlanError::Twice { priority: 7 }));
}
