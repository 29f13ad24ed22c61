//! The chart as a Mermaid Gantt diagram, for issue trackers and documents that draw those.

use std::fmt::Write as _;

use crate::lanes::{Lanes, Look, MarkKind};
use crate::life::Life;
use crate::text::wall_text;

/// Draws the lanes. Mermaid knows whole milliseconds.
pub fn diagram(life: &Life, lanes: &Lanes) -> String {
    let mut text = String::from("gantt\n");
    let _ = writeln!(
        text,
        "  title {}/{} from {}",
        plain(&life.namespace),
        plain(&life.name),
        plain(&wall_text(life.began.wall_nanos)).replace(':', ".")
    );
    text.push_str("  dateFormat x\n  axisFormat %H:%M:%S\n");
    let millis = |at| life.wall_nanos(at) / 1_000_000;
    for lane in &lanes.lanes {
        let _ = writeln!(text, "  section {}", plain(&lane.name));
        for row in &lane.rows {
            for span in &row.spans {
                let tag = match span.look {
                    Look::HookFailed | Look::Killed | Look::Overtime | Look::EngineAway => "crit, ",
                    Look::Ready | Look::PodRunning | Look::GateOpen | Look::Hook => "done, ",
                    Look::Terminating | Look::Stopping | Look::Signalled | Look::Starting => "active, ",
                    Look::Sandbox | Look::Pending | Look::CleanUp | Look::Pulling | Look::Creating | Look::Running => "",
                    Look::BackOff | Look::GateClosed | Look::GraceUsed | Look::GraceLeft => "",
                };
                let label =
                    if row.label.is_empty() { span.look.word().to_owned() } else { format!("{} - {}", row.label, span.look.word()) };
                let (from, to) = (millis(span.from), millis(span.to));
                let _ = writeln!(text, "  {} :{tag}{from}, {}", plain(&label), to.max(from + 1));
            }
            for mark in &row.marks {
                let tag = if matches!(mark.kind, MarkKind::EndedWell | MarkKind::Passed | MarkKind::Asked | MarkKind::Session) {
                    ""
                } else {
                    "crit, "
                };
                let _ = writeln!(text, "  {} :{tag}milestone, {}, 0ms", plain(&mark.text), millis(mark.at));
            }
        }
    }
    text
}

/// Without the characters that mean something to Mermaid.
fn plain(text: &str) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() || matches!(character, ':' | ';' | '#' | ',' | '\n' | '\r' | '%' | '{' | '}') {
                ' '
            } else {
                character
            }
        })
        .collect()
}
