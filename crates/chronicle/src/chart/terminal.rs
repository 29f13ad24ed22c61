//! The chart for a terminal: characters with tones; colour is put on by whoever prints.
//!
//! Every look has a character of its own, so that the chart is understood without colour.

use lifecycle::Timestamp;

use super::scale::Scale;
use crate::lanes::{Lane, Lanes, Look, MarkKind, Row, Span};
use crate::text::{shortened, span_text};

/// Below this width a chart is no picture any more.
pub const WIDTH_MIN: usize = 60;

/// Columns of the labels at most.
const LABEL_MAX: usize = 22;

/// Columns of the notes at most.
const NOTE_MAX: usize = 40;

/// Part of the width that notes may take.
const NOTE_PART: f64 = 0.34;

/// Columns between the labels of an axis.
const TICK_APART: f64 = 9.0;

/// A line of the chart.
pub type Line = Vec<Cell>;

/// Characters of one tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// How they are to look.
    pub tone: Tone,
    /// The characters.
    pub text: String,
}

/// A role that text plays; colours are the printer's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// Background: axes, what is quiet.
    Dim,
    /// Names.
    Strong,
    /// Well.
    Good,
    /// To be looked at.
    Warn,
    /// Gone wrong.
    Bad,
    /// Hooks.
    Hook,
    /// Signals.
    Signal,
}

/// Draws the lanes over `width` columns.
pub fn draw(lanes: &Lanes, width: usize) -> Vec<Line> {
    let width = width.max(WIDTH_MIN);
    let label_width = labels(lanes).map(|label| label.chars().count()).max().unwrap_or(0).min(LABEL_MAX);
    let note_room = ((width as f64 * NOTE_PART) as usize).min(NOTE_MAX);
    let notes = lanes.lanes.iter().flat_map(|lane| &lane.rows).map(|row| row.note.chars().count());
    let note_width = notes.max().unwrap_or(0).min(note_room);
    let plot_width = width - label_width - note_width - 4;
    let scale = Scale::new(lanes, plot_width as f64);
    let painter = Painter { lanes, scale, label_width, note_width, plot_width };
    let mut lines = painter.axis();
    for lane in &lanes.lanes {
        lines.extend(lane.rows.iter().map(|row| painter.row(lane, row)));
    }
    lines.push(Line::new());
    lines.extend(legend(lanes, width));
    lines
}

fn labels(lanes: &Lanes) -> impl Iterator<Item = String> {
    lanes.lanes.iter().flat_map(|lane| lane.rows.iter().map(|row| label(lane, row)))
}

fn label(lane: &Lane, row: &Row) -> String {
    match (row.label.is_empty(), lane.kind) {
        (true, "pod" | "container") => lane.name.clone(),
        (true, kind) => format!("{} ({kind})", lane.name),
        (false, _) => format!("  {}", row.label),
    }
}

struct Painter<'a> {
    lanes: &'a Lanes,
    scale: Scale,
    label_width: usize,
    note_width: usize,
    plot_width: usize,
}

impl Painter<'_> {
    fn column(&self, at: Timestamp) -> usize {
        // Never negative, never beyond the plot.
        (self.scale.place(at).round() as usize).min(self.plot_width)
    }

    /// Ticks above, and below them where time is folded.
    fn axis(&self) -> Vec<Line> {
        let mut text = vec![' '; self.plot_width + 1];
        for at in self.scale.ticks(self.lanes.from, TICK_APART) {
            write_at(&mut text, self.column(at), &tick_text(at.since(self.lanes.from)));
        }
        let mut rule = vec!['─'; self.plot_width];
        for at in self.scale.ticks(self.lanes.from, TICK_APART) {
            if let Some(cell) = rule.get_mut(self.column(at)) {
                *cell = '┬';
            }
        }
        for piece in self.scale.pieces().iter().filter(|piece| piece.is_folded) {
            let (from, to) = (self.column(piece.from), self.column(piece.to).max(self.column(piece.from) + 1));
            rule.iter_mut().take(to).skip(from).for_each(|cell| *cell = '╱');
            let length = span_text(piece.length());
            let middle = (from + to).saturating_sub(length.chars().count()) / 2;
            write_at(&mut text, middle, &length);
        }
        let indent = " ".repeat(self.label_width + 2);
        let dim =
            |characters: &[char]| Cell { tone: Tone::Dim, text: format!("{indent}{}", characters.iter().collect::<String>().trim_end()) };
        vec![vec![dim(&text)], vec![dim(&rule)]]
    }

    fn row(&self, lane: &Lane, row: &Row) -> Line {
        let mut cells: Vec<(char, Tone)> = vec![(' ', Tone::Plain); self.plot_width];
        for span in &row.spans {
            self.span(span, &mut cells);
        }
        for mark in &row.marks {
            cells[self.column(mark.at).min(self.plot_width - 1)] = mark_glyph(mark.kind);
        }
        let text = shortened(&label(lane, row), self.label_width);
        let tone = if row.label.is_empty() { Tone::Strong } else { Tone::Dim };
        let mut line = vec![Cell { tone, text: format!("{text:<width$}  ", width = self.label_width) }];
        for (glyph, tone) in cells {
            match line.last_mut() {
                Some(last) if last.tone == tone => last.text.push(glyph),
                Some(_) | None => line.push(Cell { tone, text: glyph.to_string() }),
            }
        }
        line.push(Cell { tone: Tone::Plain, text: "  ".to_owned() });
        line.push(Cell { tone: Tone::Dim, text: shortened(&row.note, self.note_width) });
        trim(&mut line);
        line
    }

    fn span(&self, span: &Span, cells: &mut [(char, Tone)]) {
        let from = self.column(span.from).min(self.plot_width - 1);
        let to = self.column(span.to).max(from + 1).min(self.plot_width);
        let (glyph, tone) = glyph(span.look);
        for cell in &mut cells[from..to] {
            *cell = (glyph, tone);
        }
    }
}

fn trim(line: &mut Line) {
    while line.last().is_some_and(|cell| cell.text.trim_end().is_empty()) {
        line.pop();
    }
    if let Some(last) = line.last_mut() {
        last.text.truncate(last.text.trim_end().len());
    }
}

fn write_at(cells: &mut [char], column: usize, text: &str) {
    let length = text.chars().count();
    let column = column.min(cells.len().saturating_sub(length));
    if cells[column.saturating_sub(1)..(column + length).min(cells.len())].iter().all(|cell| *cell == ' ') {
        cells.iter_mut().skip(column).zip(text.chars()).for_each(|(cell, character)| *cell = character);
    }
}

/// `0`, `0.5 s`, `2 m 30 s`
pub(super) fn tick_text(after: std::time::Duration) -> String {
    if after.is_zero() {
        return "0".to_owned();
    }
    if after.as_secs() < 120 && after.subsec_nanos() == 0 {
        return format!("{} s", after.as_secs());
    }
    if after.as_secs() < 120 && !after.subsec_millis().is_multiple_of(100) {
        return format!("{}.{:03} s", after.as_secs(), after.subsec_millis());
    }
    span_text(after)
}

const fn glyph(look: Look) -> (char, Tone) {
    match look {
        Look::Sandbox => ('▒', Tone::Plain),
        Look::Pending => ('·', Tone::Dim),
        Look::PodRunning => ('━', Tone::Good),
        Look::Terminating => ('▓', Tone::Warn),
        Look::CleanUp => ('░', Tone::Dim),
        Look::EngineAway => ('?', Tone::Bad),
        Look::Pulling => ('⇣', Tone::Plain),
        Look::Creating => ('▒', Tone::Plain),
        Look::Starting => ('▂', Tone::Hook),
        Look::Running => ('▅', Tone::Warn),
        Look::Ready => ('█', Tone::Good),
        Look::Stopping => ('▓', Tone::Warn),
        Look::Signalled => ('▚', Tone::Signal),
        Look::Killed => ('╳', Tone::Bad),
        Look::BackOff => ('╌', Tone::Warn),
        Look::Hook => ('═', Tone::Hook),
        Look::HookFailed => ('≠', Tone::Bad),
        Look::GateClosed => ('┄', Tone::Warn),
        Look::GateOpen => ('─', Tone::Good),
        Look::GraceUsed => ('■', Tone::Warn),
        Look::GraceLeft => ('□', Tone::Dim),
        Look::Overtime => ('×', Tone::Bad),
    }
}

const fn mark_glyph(kind: MarkKind) -> (char, Tone) {
    match kind {
        MarkKind::Asked => ('▼', Tone::Warn),
        MarkKind::Signal => ('▲', Tone::Signal),
        MarkKind::Kill => ('✖', Tone::Bad),
        MarkKind::OutOfMemory => ('◆', Tone::Bad),
        MarkKind::EndedWell => ('●', Tone::Good),
        MarkKind::EndedBadly => ('●', Tone::Bad),
        MarkKind::Failed => ('!', Tone::Bad),
        MarkKind::Passed => ('✔', Tone::Good),
        MarkKind::Unhealthy => ('✘', Tone::Bad),
        MarkKind::Session => ('┊', Tone::Plain),
    }
}

/// What the characters mean, of those that appear.
fn legend(lanes: &Lanes, width: usize) -> Vec<Line> {
    let rows = || lanes.lanes.iter().flat_map(|lane| &lane.rows);
    let mut looks: Vec<Look> = rows().flat_map(|row| &row.spans).map(|span| span.look).collect();
    looks.sort_unstable();
    looks.dedup();
    let mut kinds: Vec<MarkKind> = rows().flat_map(|row| &row.marks).map(|mark| mark.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let looks = looks.into_iter().map(|look| (glyph(look), look.word()));
    let kinds = kinds.into_iter().map(|kind| (mark_glyph(kind), kind.word()));
    let mut lines = vec![Line::new()];
    let mut used = 0;
    for ((glyph, tone), word) in looks.chain(kinds) {
        let length = word.chars().count() + 5;
        if used + length > width && used > 0 {
            lines.push(Line::new());
            used = 0;
        }
        used += length;
        if let Some(line) = lines.last_mut() {
            line.push(Cell { tone, text: glyph.to_string() });
            line.push(Cell { tone: Tone::Dim, text: format!(" {word}   ") });
        }
    }
    lines.iter_mut().for_each(trim);
    lines
}
