use super::*;

fn parse(texts: EvictionTexts<'_>) -> Result<EvictionConfig, String> {
    let duration = |text: &str| text.strip_suffix('s').and_then(|secs| secs.parse().ok()).map(Duration::from_secs);
    EvictionConfig::parse(&texts, duration).map_err(|error| crate::error_chain(&error))
}

#[test]
fn without_a_word_the_thresholds_are_those_of_the_reference() {
    let config = parse(EvictionTexts::default()).expect("valid");
    let shown: Vec<_> = config.thresholds.iter().map(|threshold| (threshold.signal.name(), threshold.level.units(1000 << 20))).collect();
    let part = |percent: f32| Level::Part(percent / 100.0).units(1000 << 20);
    let wanted = [
        ("memory.available", 100 << 20),
        ("nodefs.available", part(10.0)),
        ("nodefs.inodesFree", part(5.0)),
        ("imagefs.available", part(15.0)),
        ("imagefs.inodesFree", part(5.0)),
    ];
    assert_eq!(shown, wanted);
    assert!(config.thresholds.iter().all(|threshold| threshold.grace.is_none() && threshold.reclaim.is_none()));
    assert_eq!((config.pod_grace_secs_max, config.transition_period, config.every), (0, Duration::from_secs(300), Duration::from_secs(10)));
}

#[test]
fn soft_thresholds_have_a_grace_and_everything_a_minimum_reclaim() {
    let texts = EvictionTexts {
        hard: Some("memory.available<1Gi"),
        soft: "memory.available<2Gi, pid.available<10%",
        soft_grace_period: "memory.available=90s,pid.available=5s",
        minimum_reclaim: "memory.available=500Mi,pid.available=0",
    };
    let config = parse(texts).expect("valid");
    let shown = |threshold: &Threshold| {
        let reclaim = threshold.reclaim.as_ref().map(|level| level.units(0));
        (threshold.signal, threshold.level.units(100), reclaim, threshold.grace.map(|grace| grace.as_secs()))
    };
    let wanted = [
        (Signal::MemoryAvailable, 1 << 30, Some(500 << 20), None),
        (Signal::MemoryAvailable, 2 << 30, Some(500 << 20), Some(90)),
        (Signal::PidAvailable, 10, None, Some(5)),
    ];
    assert_eq!(config.thresholds.iter().map(shown).collect::<Vec<_>>(), wanted);
    assert_eq!(config.hard(Signal::MemoryAvailable).map(|level| level.units(0)), Some(1 << 30));
    assert_eq!(config.hard(Signal::PidAvailable), None);
}

#[test]
fn an_empty_text_and_thresholds_that_say_nothing_are_none() {
    for hard in ["", " ", "nodefs.available<0%", "nodefs.available<100%"] {
        assert_eq!(parse(EvictionTexts { hard: Some(hard), ..EvictionTexts::default() }), Ok(EvictionConfig::none()), "{hard:?}");
    }
}

#[test]
fn what_cannot_be_understood_is_named() {
    let hard = |text| EvictionTexts { hard: Some(text), ..EvictionTexts::default() };
    let soft = |soft, soft_grace_period| EvictionTexts { soft, soft_grace_period, ..hard("") };
    let cases = [
        (hard("memory.available>100Mi"), "\"memory.available>100Mi\" is not of the form"),
        (hard("memory.available<"), "\"memory.available<\" is not of the form"),
        (hard("memory.available<1Gi,,"), "\"\" is not of the form"),
        (hard("memory.free<1Gi"), "\"memory.free\" is no eviction signal; there are memory.available, nodefs.available"),
        (hard("pid.available<5,pid.available<6"), "pid.available is given twice"),
        (hard("nodefs.available<ten"), "the value of nodefs.available is wrong: \"ten\" is not a quantity"),
        (hard("nodefs.available<101%"), "the value \"101%\" of nodefs.available"),
        (hard("nodefs.available<-1%"), "the value \"-1%\" of nodefs.available"),
        (hard("nodefs.available<0"), "the value \"0\" of nodefs.available"),
        (soft("pid.available<5", ""), "the soft threshold of pid.available has no grace period"),
        (soft("pid.available<5", "pid.available=soon"), "the grace period \"soon\" of pid.available is no duration"),
    ];
    for (texts, wanted) in cases {
        let error = parse(texts).expect_err(wanted);
        assert!(error.starts_with(wanted), "{error}");
    }
}
