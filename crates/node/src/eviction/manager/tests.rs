use super::*;
use crate::eviction::threshold::EvictionTexts;

const GIB: u64 = 1 << 30;

/// Looks at the node at the given seconds with so much memory, and tells what follows.
fn looks(texts: EvictionTexts<'_>, looks: &[(u64, u64)]) -> Vec<(u64, bool, bool)> {
    let duration = |text: &str| text.parse().ok().map(Duration::from_secs);
    let mut config = EvictionConfig::parse(&texts, duration).expect("valid");
    config.transition_period = Duration::from_secs(60);
    let mut manager = Manager::new(config);
    let mut told = Vec::new();
    for (secs, available) in looks {
        let observation = Observation { available: *available, capacity: 16 * GIB };
        let verdict =
            manager.observe(&Observations::from([(Signal::MemoryAvailable, observation)]), Timestamp::from_nanos(secs * 1_000_000_000));
        told.push((*secs, verdict.conditions.contains(&NodeCondition::MemoryPressure), verdict.reclaim.is_some()));
    }
    told
}

#[test]
fn a_hard_threshold_acts_at_once_and_its_condition_stays_for_the_transition_period() {
    let texts = EvictionTexts { hard: Some("memory.available<1Gi"), ..EvictionTexts::default() };
    let told = looks(texts, &[(0, 2 * GIB), (10, GIB), (20, GIB - 1), (30, GIB), (70, GIB), (79, GIB), (80, GIB)]);
    let wanted = [
        (0, false, false),
        (10, false, false),
        (20, true, true),
        (30, true, false),
        (70, true, false),
        (79, true, false),
        (80, false, false),
    ];
    assert_eq!(told, wanted);
}

#[test]
fn a_soft_threshold_acts_when_it_was_met_without_a_break_for_its_grace() {
    let texts = EvictionTexts {
        hard: Some(""),
        soft: "memory.available<1Gi",
        soft_grace_period: "memory.available=30",
        ..EvictionTexts::default()
    };
    let told = looks(texts, &[(0, 0), (20, 0), (25, GIB), (30, 0), (59, 0), (60, 0)]);
    let wanted = [(0, true, false), (20, true, false), (25, true, false), (30, true, false), (59, true, false), (60, true, true)];
    assert_eq!(told, wanted);
}

#[test]
fn what_was_acted_on_goes_on_until_the_minimum_reclaim_is_there() {
    let texts = EvictionTexts { hard: Some("memory.available<1Gi"), minimum_reclaim: "memory.available=512Mi", ..EvictionTexts::default() };
    let told = looks(texts, &[(0, GIB + 1), (10, GIB - 1), (20, GIB + 1), (30, GIB + GIB / 2), (40, GIB + 1)]);
    assert_eq!(told, [(0, false, false), (10, true, true), (20, true, true), (30, true, false), (40, true, false)]);
}

#[test]
fn memory_is_reclaimed_before_disk_and_what_cannot_be_read_is_not_short() {
    let duration = |_: &str| None;
    let texts = EvictionTexts { hard: Some("nodefs.available<10%,memory.available<1Gi,pid.available<5"), ..EvictionTexts::default() };
    let mut manager = Manager::new(EvictionConfig::parse(&texts, duration).expect("valid"));
    let none = Observation { available: 0, capacity: 100 };
    let both = Observations::from([(Signal::MemoryAvailable, none), (Signal::NodeFsAvailable, none)]);
    let verdict = manager.observe(&both, Timestamp::ZERO);
    assert_eq!(verdict.conditions, BTreeSet::from([NodeCondition::MemoryPressure, NodeCondition::DiskPressure]));
    assert_eq!(verdict.reclaim.map(|shortage| shortage.threshold.signal), Some(Signal::MemoryAvailable));
    let disk = Observations::from([(Signal::NodeFsAvailable, none)]);
    let shortage = manager.observe(&disk, Timestamp::ZERO).reclaim.expect("disk is short");
    assert_eq!((shortage.threshold.signal, shortage.level()), (Signal::NodeFsAvailable, 10));
    assert_eq!(manager.observe(&Observations::new(), Timestamp::ZERO).reclaim, None);
}

// k8s: 4.a.18, 4.a.19, 12.b.4
#[test]
fn a_hard_threshold_gives_a_second_and_a_soft_one_the_shorter_of_both_graces() {
    let duration = |text: &str| text.parse().ok().map(Duration::from_secs);
    let texts = EvictionTexts {
        hard: Some("pid.available<5"),
        soft: "pid.available<9",
        soft_grace_period: "pid.available=0",
        ..EvictionTexts::default()
    };
    let mut config = EvictionConfig::parse(&texts, duration).expect("valid");
    let graces = |config: &EvictionConfig| {
        let observation = Observation { available: 0, capacity: 100 };
        let of = |threshold: &Threshold| {
            let shortage = Shortage { threshold: threshold.clone(), observation };
            [Some(30), Some(2), None].map(|own| shortage.grace_secs(config, own))
        };
        config.thresholds.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(graces(&config), [[1, 1, 1], [0, 0, 0]]);
    config.pod_grace_secs_max = 10;
    assert_eq!(graces(&config), [[1, 1, 1], [10, 2, 10]]);
}
