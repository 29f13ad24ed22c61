//! `usher timeline`: a pod's life as a picture, also of a pod that is gone.

use std::io::Write;
use std::process::ExitCode;

use chronicle::chart::{self, Tone};
use chronicle::why::{Present, why};
use chronicle::{Life, lanes};

use crate::cli::{Chart, Global, Timeline};
use crate::commands::journals;
use crate::story::paint::{Look, Paint};
use crate::{environment, story};

/// Columns where there is no terminal to ask.
const WIDTH_DEFAULT: usize = 110;

pub(crate) fn timeline(global: &Global, timeline: &Timeline) -> anyhow::Result<ExitCode> {
    let (life, present) = journals::life(global, &timeline.pod)?;
    let drawn = lanes(&life, present.now);
    let mut out = std::io::stdout().lock();
    match timeline.output {
        Chart::Text => {
            let width = timeline.width.unwrap_or_else(terminal_width);
            print(&life, present, width, Paint::new(global.use_color()), &mut out)?;
        }
        Chart::Svg => write!(out, "{}", chart::picture(&life, &drawn))?,
        Chart::Html => write!(out, "{}", chart::page(&life, &drawn, &why(&life, None, present)))?,
        Chart::Mermaid => {
            journals::complain(&life.notices())?;
            write!(out, "{}", chart::diagram(&life, &drawn))?;
        }
        Chart::Json => {
            let answers = why(&life, None, present);
            let whole = serde_json::json!({ "version": chronicle::LIFE_VERSION, "life": life, "chart": drawn, "why": answers, "notices": life.notices() });
            writeln!(out, "{whole}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the chart with its heading, and below it who used the grace.
pub(crate) fn print(life: &Life, present: Present, width: usize, paint: Paint, out: &mut impl Write) -> std::io::Result<()> {
    let drawn = lanes(life, present.now);
    let phase = life.phase().map_or_else(String::new, |phase| format!("{:?}", phase.phase));
    let lived = chronicle::span_text(drawn.to.since(drawn.from));
    let name = paint.put(Look::Strong, format!("{}/{}", life.namespace, life.name));
    let began = paint.put(Look::Dim, format!("{}  {lived}  {phase}", chronicle::wall_text(life.began.wall_nanos)));
    writeln!(out, "{name}  {began}\n")?;
    for line in chart::draw(&drawn, width) {
        let line: String = line.iter().map(|cell| paint.put(look(cell.tone), &cell.text)).collect();
        writeln!(out, "{}", line.trim_end())?;
    }
    let notices = life.notices();
    if !notices.is_empty() {
        writeln!(out)?;
    }
    for notice in notices {
        writeln!(out, "{}", paint.put(Look::Warn, format!("note: {notice}")))?;
    }
    for account in &life.accounts {
        writeln!(out)?;
        for line in story::account::render(account, paint) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Columns of the terminal, of `$COLUMNS` where there is none.
pub(crate) fn terminal_width() -> usize {
    let asked = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).map(|size| usize::from(size.ws_col));
    let asked = asked.ok().filter(|columns| *columns > 0);
    asked.or_else(|| environment::text(environment::COLUMNS)?.parse().ok()).unwrap_or(WIDTH_DEFAULT)
}

const fn look(tone: Tone) -> Look {
    match tone {
        Tone::Plain => Look::Plain,
        Tone::Dim => Look::Dim,
        Tone::Strong => Look::Strong,
        Tone::Good => Look::Good,
        Tone::Warn => Look::Warn,
        Tone::Bad => Look::Bad,
        Tone::Hook => Look::Hook,
        Tone::Signal => Look::Signal,
    }
}
