//! Bars of pulls that take their time, below the story while they last. Only on a terminal; all pods share one set, so that no bar
//! and no line of any story tears another.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use runtime::PullProgress;

/// A pull that is over before gets no bar, which would only flicker.
const SHOWN_AFTER: Duration = Duration::from_millis(400);
/// Redraws in a second: enough to move, few enough for a slow line.
const REDRAWS_PER_SECOND: u8 = 10;
/// Speed and time left are brought up to date this often when no bytes come.
const TICK: Duration = Duration::from_millis(500);
/// The image's name comes last: it is cut where the line is full.
const TEMPLATE: &str =
    "{prefix}  {bar:24} {percent:>3} %  {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left  {wide_msg}";
/// When all bytes are here, and some are still to be unpacked.
const TEMPLATE_UNPACKING: &str = "{prefix}  {bar:24} {percent:>3} %  {decimal_total_bytes}, unpacking  {wide_msg}";
/// Done, being done, to do.
const BAR_CHARACTERS: &str = "━╸─";

/// The place where bars are drawn.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
}

impl Bars {
    /// Draws on standard error, if that and standard output are terminals: into a pager's or a file's picture a bar does not fit.
    pub(crate) fn on_terminal() -> Self {
        let is_seen = std::io::stderr().is_terminal() && std::io::stdout().is_terminal();
        let target = if is_seen { ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND) } else { ProgressDrawTarget::hidden() };
        Self { all: MultiProgress::with_draw_target(target) }
    }

    /// Draws nothing.
    pub(crate) fn hidden() -> Self {
        Self { all: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()) }
    }

    /// Prints something while no bar is on the screen.
    pub(crate) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.all.suspend(print)
    }
}

/// The pulls of one pod, which come one after the other.
#[derive(Debug)]
pub(crate) struct Progress {
    bars: Bars,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    image: String,
    begun: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) const fn new(bars: Bars) -> Self {
        Self { bars, current: None }
    }

    pub(crate) fn above<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bars.above(print)
    }

    /// Shows how far a pull is; `prefix` are the columns of the story's lines.
    pub(crate) fn show(&mut self, prefix: impl FnOnce() -> String, image: &str, progress: &PullProgress) {
        if self.current.as_ref().is_none_or(|current| current.image != image) {
            self.end();
            self.current = Some(Current { image: image.to_owned(), begun: Instant::now(), bar: None });
        }
        let Some(current) = &mut self.current else { return };
        if current.bar.is_none() && current.begun.elapsed() < SHOWN_AFTER {
            return;
        }
        let bar = current.bar.get_or_insert_with(|| {
            let bar = self.bars.all.add(ProgressBar::new(progress.total_bytes));
            bar.set_style(style(TEMPLATE));
            bar.set_prefix(prefix());
            // The story has just told the whole name.
            bar.set_message(image.rsplit('/').next().unwrap_or(image).to_owned());
            // Speed counts from where the bar begins.
            bar.set_position(progress.bytes);
            bar.reset_eta();
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.bytes);
        if progress.bytes >= progress.total_bytes {
            bar.set_style(style(TEMPLATE_UNPACKING));
        }
    }

    /// The pull has ended, well or not: its bar goes.
    pub(crate) fn end(&mut self) {
        if let Some(bar) = self.current.take().and_then(|current| current.bar) {
            bar.finish_and_clear();
            self.bars.all.remove(&bar);
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).expect("the template is constant");
    style.progress_chars(BAR_CHARACTERS)
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}
