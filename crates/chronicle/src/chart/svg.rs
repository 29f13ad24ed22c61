//! The chart as a picture of its own: no script, no font, nothing from elsewhere; light and dark by the reader's preference.

use std::fmt::Write as _;

use lifecycle::Timestamp;

use super::GENERATOR;
use super::scale::Scale;
use super::terminal::tick_text;
use crate::lanes::{Lane, Lanes, Look, MarkKind, Row, Span};
use crate::life::Life;
use crate::text::{shortened, span_text, wall_text};

/// Width of the picture.
const WIDTH: f64 = 1160.0;
/// Where the plot begins and ends.
const PLOT_LEFT: f64 = 170.0;
const PLOT_RIGHT: f64 = 900.0;
/// Heights.
const HEADING: f64 = 34.0;
const AXIS: f64 = 42.0;
const BAR: f64 = 22.0;
const THIN: f64 = 10.0;
const ROW_GAP: f64 = 9.0;
const LANE_GAP: f64 = 18.0;
const LEGEND_LINE: f64 = 22.0;
/// Characters that fit beside the plot.
const NOTE_CHARS: usize = 38;
const LABEL_CHARS: usize = 22;
/// Room between two labels of the axis.
const TICK_APART: f64 = 84.0;
/// A letter of a bar's text takes so much.
const LETTER: f64 = 6.6;

/// The picture.
pub fn picture(life: &Life, lanes: &Lanes) -> String {
    paint(life, lanes, HEADING)
}

/// The picture for a page that has a heading of its own.
pub(super) fn picture_without_heading(life: &Life, lanes: &Lanes) -> String {
    paint(life, lanes, 0.0)
}

fn paint(life: &Life, lanes: &Lanes, heading: f64) -> String {
    let mut svg = String::new();
    let painter = Painter::new(lanes, heading + AXIS);
    let legend = painter.legend_lines();
    // A page says it in words of its own.
    let notices = if heading > 0.0 { life.notices() } else { Vec::new() };
    let below = (legend.len() + notices.len()) as f64 * LEGEND_LINE;
    let height = painter.bottom + 14.0 + below + 10.0;
    let title = format!("{}/{}", life.namespace, life.name);
    let _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" \
         class=\"usher-chart\" aria-label=\"Timeline of pod {}\">\n<title>Timeline of pod {}</title>\n<style>{STYLE}</style>\n\
         <rect class=\"paper\" width=\"{WIDTH}\" height=\"{height}\" rx=\"12\"/>\n{PATTERN}",
        escaped(&title),
        escaped(&title),
    );
    if heading > 0.0 {
        painter.heading(life, &title, &mut svg);
    }
    painter.axis(&mut svg);
    let mut top = painter.head;
    for (position, lane) in lanes.lanes.iter().enumerate() {
        if position > 0 {
            let middle = top + LANE_GAP / 2.0 - ROW_GAP;
            let _ = writeln!(svg, "<line class=\"rule\" x1=\"20\" x2=\"{}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>", WIDTH - 20.0);
            top += LANE_GAP - ROW_GAP + 2.0;
        }
        for row in &lane.rows {
            top = painter.row(lane, row, top, &mut svg);
        }
    }
    painter.legend(&legend, &mut svg);
    let mut y = painter.bottom + 26.0 + legend.len() as f64 * LEGEND_LINE;
    for notice in notices {
        let _ = writeln!(svg, "<text class=\"note\" x=\"20\" y=\"{y}\">Note: {}</text>", escaped(&notice));
        y += LEGEND_LINE;
    }
    let _ = writeln!(svg, "<desc>made by {GENERATOR}</desc>\n</svg>");
    svg
}

struct Painter<'a> {
    lanes: &'a Lanes,
    scale: Scale,
    /// Where the lanes begin.
    head: f64,
    bottom: f64,
}

impl<'a> Painter<'a> {
    fn new(lanes: &'a Lanes, head: f64) -> Self {
        let mut bottom = head;
        for (position, lane) in lanes.lanes.iter().enumerate() {
            bottom += if position > 0 { LANE_GAP - ROW_GAP + 2.0 } else { 0.0 };
            bottom += lane.rows.iter().map(|row| height(row) + ROW_GAP).sum::<f64>();
        }
        Self { lanes, scale: Scale::new(lanes, PLOT_RIGHT - PLOT_LEFT), head, bottom }
    }

    fn x(&self, at: Timestamp) -> f64 {
        PLOT_LEFT + self.scale.place(at)
    }

    fn heading(&self, life: &Life, title: &str, svg: &mut String) {
        let phase = life.phase().map_or_else(String::new, |phase| format!("{:?}", phase.phase));
        let lived = span_text(self.lanes.to.since(self.lanes.from));
        let line = format!("{} · {lived} · {phase}", wall_text(life.began.wall_nanos));
        let _ = writeln!(svg, "<text class=\"title\" x=\"20\" y=\"32\">{}</text>", escaped(title));
        let _ = writeln!(svg, "<text class=\"soft\" x=\"{}\" y=\"32\" text-anchor=\"end\">{}</text>", WIDTH - 20.0, escaped(&line));
    }

    fn axis(&self, svg: &mut String) {
        for at in self.scale.ticks(self.lanes.from, TICK_APART) {
            let x = self.x(at);
            let text = tick_text(at.since(self.lanes.from));
            let _ =
                writeln!(svg, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{:.1}\"/>", self.head - 12.0, self.bottom);
            let _ = writeln!(svg, "<text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>", self.head - 18.0);
        }
        for piece in self.scale.pieces().iter().filter(|piece| piece.is_folded) {
            let (left, width) = (PLOT_LEFT + piece.left, piece.right - piece.left);
            let length = span_text(piece.length());
            let _ = writeln!(
                svg,
                "<g><title>{length} in which nothing was done, not to scale</title>\
                 <rect class=\"fold\" x=\"{left:.1}\" y=\"{}\" width=\"{width:.1}\" height=\"{:.1}\"/>\
                 <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{length}</text></g>",
                self.head - 12.0,
                self.bottom - self.head + 12.0,
                left + width / 2.0,
                self.bottom + 8.0,
            );
        }
    }

    fn row(&self, lane: &Lane, row: &Row, top: f64, svg: &mut String) -> f64 {
        let height = height(row);
        let baseline = top + height / 2.0 + 4.5;
        let (class, label) = match (row.label.is_empty(), lane.kind) {
            (true, "pod" | "container") => ("name", lane.name.clone()),
            (true, kind) => ("name", format!("{} · {kind}", lane.name)),
            (false, _) => ("sub", row.label.clone()),
        };
        let left = if row.label.is_empty() { 20.0 } else { 34.0 };
        let label = shortened(&label, LABEL_CHARS);
        let _ = writeln!(svg, "<text class=\"{class}\" x=\"{left}\" y=\"{baseline:.1}\">{}</text>", escaped(&label));
        for span in &row.spans {
            self.span(span, top, height, svg);
        }
        for mark in &row.marks {
            let x = self.x(mark.at);
            let when = span_text(mark.at.since(self.lanes.from));
            let _ = writeln!(
                svg,
                "<g class=\"mark {}\" transform=\"translate({x:.1} {:.1})\"><title>{} at {when}</title>{}</g>",
                mark_class(mark.kind),
                top + height / 2.0,
                escaped(&mark.text),
                mark_shape(mark.kind),
            );
        }
        let note = shortened(&row.note, NOTE_CHARS);
        let _ = writeln!(svg, "<text class=\"note\" x=\"{}\" y=\"{baseline:.1}\">{}</text>", PLOT_RIGHT + 18.0, escaped(&note));
        top + height + ROW_GAP
    }

    fn span(&self, span: &Span, top: f64, height: f64, svg: &mut String) {
        let (left, right) = (self.x(span.from), self.x(span.to));
        let width = (right - left).max(1.5);
        let length = span_text(span.to.since(span.from));
        let _ = write!(
            svg,
            "<g><title>{}, {length}</title><rect class=\"bar {}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height}\" rx=\"2.5\"/>",
            escaped(&span.text),
            class(span.look),
        );
        let text = if height < BAR { String::new() } else { span.look.word().to_owned() };
        if !text.is_empty() && width > text.chars().count() as f64 * LETTER + 18.0 {
            let _ = write!(
                svg,
                "<text class=\"in {}\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>",
                class(span.look),
                left + 12.0,
                top + height / 2.0 + 4.0
            );
        }
        svg.push_str("</g>\n");
    }

    fn legend_lines(&self) -> Vec<Vec<LegendItem>> {
        let rows = || self.lanes.lanes.iter().flat_map(|lane| &lane.rows);
        let mut looks: Vec<Look> = rows().flat_map(|row| &row.spans).map(|span| span.look).collect();
        looks.sort_unstable();
        looks.dedup();
        let mut kinds: Vec<MarkKind> = rows().flat_map(|row| &row.marks).map(|mark| mark.kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let looks = looks.into_iter().map(|look| (true, class(look), "", look.word()));
        let kinds = kinds.into_iter().map(|kind| (false, mark_class(kind), mark_shape(kind), kind.word()));
        let mut lines = vec![Vec::new()];
        let mut x = 20.0;
        for item in looks.chain(kinds) {
            let width = legend_width(item.3);
            if x + width > WIDTH - 20.0 {
                lines.push(Vec::new());
                x = 20.0;
            }
            x += width;
            if let Some(line) = lines.last_mut() {
                line.push(item);
            }
        }
        lines
    }

    fn legend(&self, lines: &[Vec<LegendItem>], svg: &mut String) {
        let mut y = self.bottom + 26.0;
        for line in lines {
            let mut x = 20.0;
            for (is_bar, class, shape, word) in line {
                if *is_bar {
                    let _ = write!(svg, "<rect class=\"bar {class}\" x=\"{x}\" y=\"{}\" width=\"16\" height=\"11\" rx=\"2.5\"/>", y - 10.0);
                } else {
                    let _ = write!(svg, "<g class=\"mark {class}\" transform=\"translate({} {})\">{shape}</g>", x + 8.0, y - 4.5);
                }
                let _ = writeln!(svg, "<text class=\"note\" x=\"{}\" y=\"{y}\">{word}</text>", x + 23.0);
                x += legend_width(word);
            }
            y += LEGEND_LINE;
        }
    }
}

/// Whether it is a bar, its class, its shape, and what it means.
type LegendItem = (bool, &'static str, &'static str, &'static str);

fn legend_width(word: &str) -> f64 {
    40.0 + word.chars().count() as f64 * LETTER
}

fn height(row: &Row) -> f64 {
    if row.label.is_empty() { BAR } else { THIN }
}

/// Text that is text in XML, whatever is in it.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(character),
            // XML has no way to write these.
            control if control.is_control() || matches!(control, '\u{fffe}' | '\u{ffff}') => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

const fn class(look: Look) -> &'static str {
    match look {
        Look::Sandbox => "sandbox",
        Look::Pending => "pending",
        Look::PodRunning => "pod-running",
        Look::Terminating => "terminating",
        Look::CleanUp => "clean-up",
        Look::EngineAway => "away",
        Look::Pulling => "pulling",
        Look::Creating => "creating",
        Look::Starting => "starting",
        Look::Running => "running",
        Look::Ready => "ready",
        Look::Stopping => "stopping",
        Look::Signalled => "signalled",
        Look::Killed => "killed",
        Look::BackOff => "back-off",
        Look::Hook => "hook",
        Look::HookFailed => "hook-failed",
        Look::GateClosed => "gate-closed",
        Look::GateOpen => "gate-open",
        Look::GraceUsed => "grace-used",
        Look::GraceLeft => "grace-left",
        Look::Overtime => "overtime",
    }
}

const fn mark_class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Asked => "warn",
        MarkKind::Signal => "signal",
        MarkKind::Session => "session",
        MarkKind::EndedWell | MarkKind::Passed => "good",
        MarkKind::Kill | MarkKind::OutOfMemory | MarkKind::EndedBadly | MarkKind::Failed | MarkKind::Unhealthy => "bad",
    }
}

/// Each kind has a shape of its own, so that the picture is understood without colour. Centred on the origin.
const fn mark_shape(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Asked => "<path d=\"M-6-6H6L0 6Z\"/>",
        MarkKind::Signal => "<path d=\"M-6 6H6L0-6Z\"/>",
        MarkKind::Kill => "<path d=\"M-6-3-3-6 0-3 3-6 6-3 3 0 6 3 3 6 0 3-3 6-6 3-3 0Z\"/>",
        MarkKind::OutOfMemory => "<path d=\"M0-7 7 0 0 7-7 0Z\"/>",
        MarkKind::EndedWell => "<circle r=\"5.5\"/>",
        MarkKind::EndedBadly => "<circle r=\"5.5\"/><path class=\"hole\" d=\"M-2.4-2.4 2.4 2.4M2.4-2.4-2.4 2.4\"/>",
        MarkKind::Failed => "<path d=\"M-1.8-7H1.8L1 2H-1ZM-1.6 3.4H1.6V6.6H-1.6Z\"/>",
        MarkKind::Passed => "<path d=\"M-6 0-4-2-1.5.5 4-5 6-3-1.5 4.5Z\"/>",
        MarkKind::Session => "<path d=\"M-1-6H1V6H-1Z\"/>",
        MarkKind::Unhealthy => "<path d=\"M-5-3.5-3.5-5 0-1.5 3.5-5 5-3.5 1.5 0 5 3.5 3.5 5 0 1.5-3.5 5-5 3.5-1.5 0Z\"/>",
    }
}

const PATTERN: &str = "<defs><pattern id=\"usher-stripes\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<rect class=\"stripe\" width=\"2.2\" height=\"6\"/></pattern></defs>\n";

/// Colours with enough contrast on both papers; every look differs from its neighbours in lightness too.
const STYLE: &str = "\
.usher-chart{--paper:#fff;--ink:#1c2430;--soft:#5b6675;--line:#e4e8ee;--grid:#eef1f5;--good:#1a9a5b;--ready:#2fae6e;--run:#a9dcc0;--warn:#d98a00;\
--amber:#f0b548;--bad:#d2353a;--rose:#f0a3a3;--hook:#2878c8;--hook-soft:#9cc6ee;--signal:#8a4fc7;--violet:#c3a3e3;--grey:#c4ccd6;--pale:#e2e7ed;--sand:#dccdb0;--sea:#8fc1cf;\
font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans','DejaVu Sans',sans-serif}\
@media(prefers-color-scheme:dark){.usher-chart{--paper:#12161c;--ink:#e6ebf2;--soft:#98a4b3;--line:#262e38;--grid:#1d242d;--good:#3ecb85;--ready:#2f9f68;--run:#1f5c40;\
--warn:#f2b13c;--amber:#b9821d;--bad:#ff6b6b;--rose:#8a3336;--hook:#5aa9f5;--hook-soft:#1f4d7d;--signal:#bb8cf0;--violet:#5d3c86;--grey:#3d4856;--pale:#28313c;--sand:#6b5b3c;--sea:#2d6476}}\
.usher-chart text{font-size:12.5px;fill:var(--ink)}.usher-chart .paper{fill:var(--paper)}\
.usher-chart .title{font-size:19px;font-weight:650}.usher-chart .name{font-size:14px;font-weight:600}\
.usher-chart .sub,.usher-chart .note,.usher-chart .soft,.usher-chart .tick{fill:var(--soft)}.usher-chart .tick{font-size:11.5px;font-variant-numeric:tabular-nums}\
.usher-chart .rule{stroke:var(--line)}.usher-chart .grid{stroke:var(--grid)}.usher-chart .fold{fill:url(#usher-stripes)}.usher-chart .stripe{fill:var(--line)}\
.usher-chart .bar{fill:var(--grey)}.usher-chart .in{font-size:11.5px;pointer-events:none}\
.usher-chart .bar.pending,.usher-chart .bar.clean-up{fill:var(--pale)}.usher-chart .bar.pod-running{fill:var(--run)}\
.usher-chart .bar.terminating,.usher-chart .bar.stopping{fill:var(--amber)}.usher-chart .bar.away,.usher-chart .bar.back-off{fill:var(--pale);stroke:var(--warn);stroke-dasharray:4 3}\
.usher-chart .bar.away{stroke:var(--bad)}.usher-chart .bar.creating{fill:var(--sand)}.usher-chart .bar.pulling{fill:var(--sea)}.usher-chart .bar.starting{fill:var(--hook-soft)}.usher-chart .bar.running{fill:var(--run)}\
.usher-chart .bar.ready{fill:var(--ready)}.usher-chart .in.ready{fill:#fff}.usher-chart .bar.signalled{fill:var(--violet)}.usher-chart .bar.killed{fill:var(--rose)}\
.usher-chart .bar.hook{fill:var(--hook)}.usher-chart .bar.hook-failed,.usher-chart .bar.overtime{fill:var(--bad)}\
.usher-chart .bar.gate-closed{fill:var(--amber)}.usher-chart .bar.gate-open{fill:var(--run)}\
.usher-chart .bar.grace-used{fill:var(--warn)}.usher-chart .bar.grace-left{fill:var(--pale)}\
.usher-chart .mark{stroke:var(--paper);stroke-width:1.6;paint-order:stroke}.usher-chart .mark.good{fill:var(--good)}.usher-chart .mark.bad{fill:var(--bad)}\
.usher-chart .mark.warn{fill:var(--warn)}.usher-chart .mark.signal{fill:var(--signal)}.usher-chart .mark.session{fill:var(--soft)}.usher-chart .hole{stroke:var(--paper);stroke-width:1.8;fill:none}";
