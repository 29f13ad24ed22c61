//! From time to place: linear, but long stretches in which nothing is done may be folded to a fixed width that says how long
//! they are. Without that, a pod that lived for a week and stopped within a second would show neither its start nor its stop.

use std::time::Duration;

use lifecycle::Timestamp;

use crate::lanes::{Lanes, Look};

/// A quiet stretch is folded when it is this many times longer than all busy time together.
const FOLD_RATIO: u32 = 8;

/// Nothing shorter is folded.
const FOLD_MIN: Duration = Duration::from_secs(5);

/// So many stretches are folded at most, the longest ones: each takes room.
const FOLDS_MAX: usize = 10;

/// Part of the width that one fold takes.
const FOLD_WIDTH: f64 = 0.05;

/// Part of the width that all folds together take at most.
const FOLDS_WIDTH: f64 = 0.4;

/// Quiet is kept on both sides of something busy: this part of the busy time.
const MARGIN_PART: u32 = 20;

/// Time laid out over a width.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    pieces: Vec<Piece>,
}

/// A stretch of time and its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Where it begins.
    pub from: Timestamp,
    /// Where it ends.
    pub to: Timestamp,
    /// Its left end.
    pub left: f64,
    /// Its right end.
    pub right: f64,
    /// It is not to scale.
    pub is_folded: bool,
}

impl Piece {
    /// Its length in time.
    pub fn length(&self) -> Duration {
        self.to.since(self.from)
    }
}

impl Scale {
    /// Lays the time of these lanes out over a width.
    pub fn new(lanes: &Lanes, width: f64) -> Self {
        let folds = folds(lanes);
        let mut stretches = Vec::new();
        let mut at = lanes.from;
        for (from, to) in &folds {
            stretches.push((at, *from, false));
            stretches.push((*from, *to, true));
            at = *to;
        }
        stretches.push((at, lanes.to, false));
        stretches.retain(|(from, to, _)| to > from);
        if stretches.is_empty() {
            stretches.push((lanes.from, lanes.to, false));
        }
        let fold_width = if folds.is_empty() { 0.0 } else { (FOLDS_WIDTH / folds.len() as f64).min(FOLD_WIDTH) * width };
        let shown: f64 = stretches.iter().filter(|(.., is_folded)| !is_folded).map(|(from, to, _)| to.since(*from).as_secs_f64()).sum();
        let room = width - fold_width * folds.len() as f64;
        let mut left = 0.0;
        let pieces = stretches.into_iter().map(|(from, to, is_folded)| {
            let part = if shown > 0.0 { to.since(from).as_secs_f64() / shown } else { 1.0 };
            let right = left + if is_folded { fold_width } else { part * room };
            let piece = Piece { from, to, left, right, is_folded };
            left = right;
            piece
        });
        Self { pieces: pieces.collect() }
    }

    /// The place of a moment; what is outside is put at the edge.
    pub fn place(&self, at: Timestamp) -> f64 {
        let piece = self.pieces.iter().find(|piece| at <= piece.to).or_else(|| self.pieces.last());
        let Some(piece) = piece else { return 0.0 };
        let length = piece.length().as_secs_f64();
        let part = if length > 0.0 { at.since(piece.from).as_secs_f64() / length } else { 0.0 };
        piece.left + part.min(1.0) * (piece.right - piece.left)
    }

    /// The stretches, from left to right.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Moments for an axis: round numbers of time since the beginning, at least `apart` from each other.
    pub fn ticks(&self, begin: Timestamp, apart: f64) -> Vec<Timestamp> {
        let Some(rate) = self
            .pieces
            .iter()
            .filter(|piece| !piece.is_folded && piece.right > piece.left)
            .map(|piece| piece.length().as_secs_f64() / (piece.right - piece.left))
            .next()
        else {
            return Vec::new();
        };
        let step = round_step(rate * apart);
        let mut ticks: Vec<Timestamp> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| !piece.is_folded) {
            let mut count = u64::try_from(piece.from.since(begin).as_nanos().div_ceil(step.as_nanos().max(1))).unwrap_or(u64::MAX);
            loop {
                let at = begin + Duration::from_nanos(count.saturating_mul(u64::try_from(step.as_nanos()).unwrap_or(u64::MAX)));
                if at > piece.to {
                    break;
                }
                if ticks.last().is_none_or(|last| self.place(at) - self.place(*last) >= apart * 0.9) {
                    ticks.push(at);
                }
                count += 1;
            }
        }
        ticks
    }
}

/// The smallest round step of time that is not shorter than `secs`.
fn round_step(secs: f64) -> Duration {
    const MILLIS: [u64; 24] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000,
        3_600_000, 10_800_000, 21_600_000, 86_400_000,
    ];
    let found = MILLIS.iter().find(|millis| **millis as f64 / 1000.0 >= secs);
    found.map_or_else(|| Duration::from_secs_f64((secs / 86_400.0).ceil() * 86_400.0), |millis| Duration::from_millis(*millis))
}

/// Quiet stretches that are to be folded, in order.
fn folds(lanes: &Lanes) -> Vec<(Timestamp, Timestamp)> {
    let busy = busy(lanes);
    let total: Duration = busy.iter().map(|(from, to)| to.since(*from)).sum();
    let margin = (total / MARGIN_PART).max(Duration::from_millis(50));
    let longest = (total * FOLD_RATIO).max(FOLD_MIN);
    let mut folds = Vec::new();
    let mut at = lanes.from;
    for (from, to) in busy.into_iter().chain([(lanes.to, lanes.to)]) {
        let (begin, end) = (if at == lanes.from { at } else { at + margin }, if from == lanes.to { from } else { from - margin });
        if from > at && end > begin && end.since(begin) > longest {
            folds.push((begin, end));
        }
        at = at.max(to);
    }
    folds.sort_by_key(|(from, to)| std::cmp::Reverse(to.since(*from)));
    folds.truncate(FOLDS_MAX);
    folds.sort_unstable();
    folds
}

/// When something is done, or happens, in any lane: stretches that do not touch, in order.
fn busy(lanes: &Lanes) -> Vec<(Timestamp, Timestamp)> {
    let rows = || lanes.lanes.iter().flat_map(|lane| &lane.rows);
    let spans = rows().flat_map(|row| &row.spans);
    let working = spans.clone().filter(|span| !span.look.is_steady()).map(|span| (span.from, span.to));
    // Where unused grace would have ended, nothing happened.
    let lived = spans.filter(|span| span.look != Look::GraceLeft);
    let edges = lived.flat_map(|span| [(span.from, span.from), (span.to, span.to)]);
    let marks = rows().flat_map(|row| &row.marks).map(|mark| (mark.at, mark.at));
    let inside = |(from, to): (Timestamp, Timestamp)| (from.clamp(lanes.from, lanes.to), to.clamp(lanes.from, lanes.to));
    let mut all: Vec<_> = working.chain(edges).chain(marks).map(inside).collect();
    all.sort_unstable();
    let mut merged: Vec<(Timestamp, Timestamp)> = Vec::new();
    for (from, to) in all {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            Some(_) | None => merged.push((from, to)),
        }
    }
    merged
}

#[cfg(test)]
mod tests;
