use super::*;
use crate::lanes::{Lane, Look, Row, Span};

fn secs(secs: f64) -> Timestamp {
    Timestamp::ZERO + Duration::from_secs_f64(secs)
}

fn lanes_of(to: f64, spans: &[(Look, f64, f64)]) -> Lanes {
    let spans = spans.iter().map(|(look, from, to)| Span { look: *look, from: secs(*from), to: secs(*to), text: String::new() });
    let row = Row { label: String::new(), spans: spans.collect(), marks: Vec::new(), note: String::new() };
    Lanes { from: secs(0.0), to: secs(to), lanes: vec![Lane { name: "pod".to_owned(), kind: "pod", rows: vec![row] }] }
}

fn ticks(scale: &Scale) -> Vec<f64> {
    scale.ticks(Timestamp::ZERO, 10.0).iter().map(|at| at.since(Timestamp::ZERO).as_secs_f64()).collect()
}

#[test]
fn a_short_life_is_to_scale() {
    let scale = Scale::new(&lanes_of(10.0, &[(Look::Creating, 0.0, 1.0), (Look::Ready, 1.0, 7.0), (Look::Stopping, 7.0, 10.0)]), 100.0);
    assert_eq!(scale.pieces().len(), 1);
    for (at, place) in [(0.0, 0.0), (2.5, 25.0), (10.0, 100.0), (99.0, 100.0)] {
        assert!((scale.place(secs(at)) - place).abs() < 1e-6, "{at}");
    }
    assert_eq!(ticks(&scale), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]);
}

#[test]
fn a_quiet_week_is_folded_and_start_and_stop_are_seen() {
    let week = 604_800.0;
    let spans = [(Look::Creating, 0.0, 1.0), (Look::Ready, 1.0, week), (Look::Stopping, week, week + 1.0)];
    let scale = Scale::new(&lanes_of(week + 1.0, &spans), 100.0);
    let folded: Vec<_> = scale.pieces().iter().filter(|piece| piece.is_folded).collect();
    assert_eq!(folded.len(), 1);
    assert!((folded[0].right - folded[0].left - 5.0).abs() < 1e-6);
    assert!(scale.place(secs(1.0)) > 40.0, "the start has nearly half of the width");
    assert!(scale.place(secs(week)) < 60.0, "the stop has nearly half of the width");
}

#[test]
fn time_in_which_something_is_done_is_never_folded() {
    let scale = Scale::new(&lanes_of(1001.0, &[(Look::Pulling, 0.0, 1000.0), (Look::Ready, 1000.0, 1001.0)]), 100.0);
    assert!(scale.pieces().iter().all(|piece| !piece.is_folded));
}

#[test]
fn places_never_go_back_and_fill_the_width() {
    for week in [10.0, 1000.0, 1e6] {
        let spans = [
            (Look::Creating, 0.0, 1.0),
            (Look::Ready, 1.0, week),
            (Look::Stopping, week, week + 2.0),
            (Look::BackOff, week + 2.0, week * 2.0),
        ];
        let scale = Scale::new(&lanes_of(week * 2.0, &spans), 80.0);
        let places: Vec<f64> = (0..=1000).map(|step| scale.place(secs(week * 2.0 * f64::from(step) / 1000.0))).collect();
        assert!(places.windows(2).all(|pair| pair[0] <= pair[1]), "{week}");
        assert!(places[0] == 0.0 && (places[1000] - 80.0).abs() < 1e-6, "{week}: {:?}", places.last());
    }
}

#[test]
fn a_life_without_length_has_a_scale() {
    let scale = Scale::new(&lanes_of(0.0, &[]), 50.0);
    assert_eq!(scale.place(secs(0.0)), 0.0);
    assert!(scale.ticks(Timestamp::ZERO, 10.0).len() <= 1);
}
