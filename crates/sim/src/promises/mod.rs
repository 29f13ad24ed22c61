//! The promises that every story must keep, each judged on what could be known (`known.rs`), none on the machine's inside.
//!
//! Where the behaviour rows determine when and how something happens, a small model written from the rows foretells it, and
//! the story must agree to the nanosecond.
#![expect(clippy::wildcard_enum_match_arm, reason = "a promise looks at some kinds of actions and events and lets all others pass")]

mod accounts;
mod again;
mod ends;
mod free;
mod grants;
mod images;
mod instances;
mod probes;
mod resizes;
mod starts;
mod status;
mod stops;

use lifecycle::Timestamp;

use crate::known::{Known, Window, windows};
use crate::story::{End, Story, What};
use crate::world::Fact;

/// A promise that a story does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The promise.
    pub promise: &'static str,
    /// When it was broken.
    pub at: Timestamp,
    /// How.
    pub how: String,
}

/// What a promise has to say of a window.
type Verdict = Result<(), (&'static str, String)>;

/// A promise, or a model that foretells several things.
trait Promise<'a> {
    /// Before the machine's input is taken in: what was known when it came.
    fn before(&mut self, _known: &Known<'a>, _window: &Window<'a>) -> Verdict {
        Ok(())
    }

    /// The input is taken in, the machine's actions are to be judged.
    fn heard(&mut self, _known: &Known<'a>, _window: &Window<'a>) -> Verdict {
        Ok(())
    }

    /// Everything of the window is taken in.
    fn after(&mut self, _known: &Known<'a>, _window: &Window<'a>) -> Verdict {
        Ok(())
    }

    /// The story is over.
    fn end(&mut self, _known: &Known<'a>, _story: &'a Story) -> Verdict {
        Ok(())
    }
}

/// Judges a story: the first promise that it does not keep.
pub fn judge(story: &Story) -> Option<Broken> {
    if let End::Broken { promise, how } = &story.end {
        return Some(Broken { promise, at: story.end_at(), how: how.clone() });
    }
    let misuse = misuse(story);
    let found = judge_windows(story);
    match (misuse, found) {
        (Some(misuse), Some(found)) => Some(if misuse.at < found.at { misuse } else { found }),
        (misuse, found) => misuse.or(found),
    }
}

/// What the runtime was asked for and must never be.
fn misuse(story: &Story) -> Option<Broken> {
    story.entries.iter().find_map(|entry| match &entry.what {
        What::Fact(Fact::Misuse(text)) => {
            Some(Broken { promise: "the runtime is never asked for what it must not do", at: entry.at, how: text.clone() })
        }
        _ => None,
    })
}

fn judge_windows(story: &Story) -> Option<Broken> {
    let mut known = Known::new(story);
    let mut promises: Vec<Box<dyn Promise<'_>>> = if free::is_free(story) {
        vec![
            Box::new(instances::Instances::default()),
            Box::new(resizes::Resizes::new(story)),
            Box::new(free::Free::default()),
            Box::new(images::Images::new(story)),
            Box::new(again::Again::new(story)),
            Box::new(accounts::Accounts),
        ]
    } else {
        foretold(story)
    };
    let broken = |at: Timestamp| move |(promise, how): (&'static str, String)| Broken { promise, at, how };
    for window in windows(story) {
        let mut judged = promises.iter_mut().try_for_each(|promise| promise.before(&known, &window));
        known.hear(&window);
        judged = judged.and_then(|()| promises.iter_mut().try_for_each(|promise| promise.heard(&known, &window)));
        known.see(&window);
        judged = judged.and_then(|()| promises.iter_mut().try_for_each(|promise| promise.after(&known, &window)));
        if let Err(found) = judged.map_err(broken(window.at)) {
            return Some(found);
        }
    }
    promises.iter_mut().try_for_each(|promise| promise.end(&known, story)).map_err(broken(story.end_at())).err()
}

/// All promises, models that foretell what happens among them.
fn foretold<'a>(story: &'a Story) -> Vec<Box<dyn Promise<'a> + 'a>> {
    vec![
        Box::new(instances::Instances::default()),
        Box::new(starts::Starts::new(story)),
        Box::new(stops::Stops::new(story)),
        Box::new(probes::Probes::new(story)),
        Box::new(resizes::Resizes::new(story)),
        Box::new(images::Images::new(story)),
        Box::new(status::Shown::new(story)),
        Box::new(ends::Ends::new(story)),
        Box::new(accounts::Accounts),
    ]
}
