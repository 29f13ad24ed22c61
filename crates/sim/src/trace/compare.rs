//! Compares two recordings: what must be the same is the same, what we show in addition is in order.
//!
//! A disagreement is one line of text: `-` for what only the reference has, `+` for what only we have, `~` for a time that
//! is another one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::recording::{Line, Recording};

/// A duration that the manifest asks for may be longer by this in a recording: what the recording machine took for a step.
const STEP_SLACK: f64 = 0.35;
/// So much later may the reference begin a stop or a start: it looks at the runtime about once a second, one sync at a time.
const POLL_SLACK: f64 = 2.5;
/// The reference comes back from a pause up to this much of it later (k8s: 5.b.12).
const JITTER: f64 = 0.55;
/// What is at least this far apart in a recording came in this order for a reason.
const IN_ORDER_SECS: f64 = 0.03;
/// Width of a column of [`side_by_side`].
const COLUMN: usize = 92;

/// How exactly our own times are kept.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Our machine may take so many seconds longer for a step; it is never earlier than what the manifest asks for.
    pub step_late_secs: f64,
}

/// All disagreements.
pub fn compare(reference: &Recording, ours: &Recording, tolerance: Tolerance) -> Vec<String> {
    let mut found = Vec::new();
    for subject in keys(&reference.events, &ours.events) {
        let (theirs, ours) = (lines(&reference.events, subject), lines(&ours.events, subject));
        let (_, only) = difference(theirs, ours);
        found.extend(only.into_iter().map(|text| format!("event {subject} {text}")));
    }
    for subject in keys(&reference.containers, &ours.containers) {
        let (theirs, ours) = (lines(&reference.containers, subject), lines(&ours.containers, subject));
        found.extend(missing(theirs, ours).into_iter().map(|text| format!("container {subject} {text}")));
        found.extend(out_of_order(ours).into_iter().map(|text| format!("container {subject} {text}")));
        found.extend(other_end(theirs, ours).map(|text| format!("container {subject} {text}")));
    }
    for subject in keys(&reference.conditions, &ours.conditions) {
        let (theirs, ours) = (lines(&reference.conditions, subject), lines(&ours.conditions, subject));
        found.extend(missing(theirs, ours).into_iter().map(|text| format!("condition {subject} {text}")));
    }
    found.extend(missing(&reference.phases, &ours.phases).into_iter().map(|text| format!("phase {text}")));
    found.extend(phases_out_of_order(&ours.phases).into_iter().map(|text| format!("phase {text}")));
    for subject in keys(&reference.work, &ours.work) {
        let (theirs, our) = (lines(&reference.work, subject), lines(&ours.work, subject));
        let (matched, only) = difference(theirs, our);
        found.extend(only.into_iter().map(|text| format!("work {subject} {text}")));
        let times = compare_times((theirs, our), &matched, (&reference.steps, &ours.steps), tolerance);
        found.extend(times.into_iter().map(|text| format!("work {subject} {text}")));
    }
    found.extend(compare_kills(reference, ours, tolerance));
    found.extend(compare_start_order(reference, ours));
    found.extend(compare_order("work", &reference.work, &ours.work));
    found.extend(compare_order("event", &reference.events, &ours.events));
    found
}

fn keys<'a, T>(one: &'a BTreeMap<String, T>, other: &'a BTreeMap<String, T>) -> BTreeSet<&'a str> {
    one.keys().chain(other.keys()).map(String::as_str).collect()
}

fn lines<'a>(map: &'a BTreeMap<String, Vec<Line>>, subject: &str) -> &'a [Line] {
    map.get(subject).map_or(&[], Vec::as_slice)
}

/// The pairs of a longest common subsequence, and what only one side has.
fn difference(theirs: &[Line], ours: &[Line]) -> (Vec<(usize, usize)>, Vec<String>) {
    let mut longest = vec![vec![0_usize; ours.len() + 1]; theirs.len() + 1];
    for i in (0..theirs.len()).rev() {
        for j in (0..ours.len()).rev() {
            longest[i][j] =
                if theirs[i].text == ours[j].text { longest[i + 1][j + 1] + 1 } else { longest[i + 1][j].max(longest[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut matched, mut only) = (0, 0, Vec::new(), Vec::new());
    while i < theirs.len() || j < ours.len() {
        if i < theirs.len() && j < ours.len() && theirs[i].text == ours[j].text {
            matched.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if j == ours.len() || (i < theirs.len() && longest[i + 1][j] >= longest[i][j + 1]) {
            only.push(format!("- {}", theirs[i].text));
            i += 1;
        } else {
            only.push(format!("+ {}", ours[j].text));
            j += 1;
        }
    }
    (matched, only)
}

/// What the reference showed and we did not, in its order: ours may have more in between.
fn missing(theirs: &[Line], ours: &[Line]) -> Vec<String> {
    let mut rest = ours.iter();
    let mut missing = Vec::new();
    for line in theirs {
        let before = rest.clone();
        if !rest.any(|our| our.text == line.text) {
            missing.push(format!("- {}", line.text));
            rest = before;
        }
    }
    missing
}

/// A container that the reference left running was not followed to its end.
fn other_end(theirs: &[Line], ours: &[Line]) -> Option<String> {
    let theirs = theirs.last().filter(|line| !line.text.starts_with("running"))?;
    let ours = ours.last()?;
    (theirs.text != ours.text).then(|| format!("+ at the end: {}", ours.text))
}

/// Instances come one after the other, and each goes from waiting over running to terminated, and to the wait for the next.
fn out_of_order(ours: &[Line]) -> Vec<String> {
    let mut last = (0_u32, 0_u32);
    let mut found = Vec::new();
    for line in ours {
        let words: Vec<&str> = line.text.split(' ').collect();
        let restarts = words.iter().find_map(|word| word.strip_prefix("restarts=")?.parse().ok()).unwrap_or(0);
        let has_last = words.iter().any(|word| word.starts_with("last="));
        let rank = match words[0] {
            "waiting" if has_last => 3,
            "waiting" => 0,
            "running" => 1,
            _ => 2,
        };
        // After a delete the wait for a next instance is over: the last one is shown as it ended.
        let is_back_to_ended = last == (restarts, 3) && rank == 2;
        // A wait that belongs to the instance before carries its number.
        if (restarts, rank) < last && !is_back_to_ended {
            found.push(format!("+ out of order: {}", line.text));
        }
        last = (restarts, rank);
    }
    found
}

fn phases_out_of_order(ours: &[Line]) -> Vec<String> {
    let rank = |line: &Line| match line.text.split(' ').next() {
        Some("Pending") => 0,
        Some("Running") => 1,
        _ => 2,
    };
    ours.windows(2)
        .filter(|pair| rank(&pair[1]) <= rank(&pair[0]))
        .map(|pair| format!("+ out of order: {} after {}", pair[1].text, pair[0].text))
        .collect()
}

/// Durations from one line of a workload to the next, and from the delete to the first line after it.
fn compare_times(
    (theirs, ours): (&[Line], &[Line]),
    matched: &[(usize, usize)],
    steps: (&[Line], &[Line]),
    tolerance: Tolerance,
) -> Vec<String> {
    let deleted_at = |steps: &[Line]| steps.iter().find(|step| step.text.starts_with("delete")).map(|step| step.at);
    let (their_delete, our_delete) = (deleted_at(steps.0), deleted_at(steps.1));
    let mut found = Vec::new();
    for pair in matched.windows(2) {
        let [(their_from, our_from), (their_to, our_to)] = pair else { continue };
        if their_to - their_from != 1 || our_to - our_from != 1 {
            continue;
        }
        let (from, to) = (&theirs[*their_from], &theirs[*their_to]);
        let (our_from, our_to) = (&ours[*our_from], &ours[*our_to]);
        let straddles = |delete: Option<f64>, from: &Line, to: &Line| delete.filter(|delete| from.at <= *delete && *delete < to.at);
        let begins = (straddles(their_delete, from, to), straddles(our_delete, our_from, our_to));
        let (their_time, our_time) = match begins {
            (Some(their_delete), Some(our_delete)) => (to.at - their_delete, our_to.at - our_delete),
            _ => (to.at - from.at, our_to.at - our_from.at),
        };
        let begins_stop = from.text.starts_with("main: start") || from.text.starts_with("hook: postStart");
        let late = tolerance.step_late_secs;
        let (low, high) = match () {
            () if to.text == "main: start" => (late, POLL_SLACK + our_time * JITTER),
            () if begins_stop || begins.0.is_some() => (late.max(POLL_SLACK / 2.0), POLL_SLACK),
            () => (late, STEP_SLACK),
        };
        if their_time < our_time - low || their_time > our_time + high {
            found.push(format!("~ {} to {}: {our_time:.2} s, the reference {their_time:.2} s", from.text, to.text));
        }
    }
    found
}

/// From the last line of a workload to the state that shows that it was killed.
fn compare_kills(reference: &Recording, ours: &Recording, tolerance: Tolerance) -> Vec<String> {
    let killed_after = |recording: &Recording, container: &str| {
        let shown = lines(&recording.containers, container).iter().find(|line| line.text.starts_with("terminated 137 Error"))?;
        let last = lines(&recording.work, container).iter().rfind(|line| line.at <= shown.at)?;
        Some(shown.at - last.at)
    };
    let mut found = Vec::new();
    for container in ours.containers.keys() {
        if let (Some(theirs), Some(ours)) = (killed_after(reference, container), killed_after(ours, container))
            && (theirs < ours - tolerance.step_late_secs || theirs > ours + POLL_SLACK)
        {
            found.push(format!("container {container} ~ killed after {ours:.2} s, the reference {theirs:.2} s"));
        }
    }
    found
}

/// The order in which main processes start for the first time.
fn compare_start_order(reference: &Recording, ours: &Recording) -> Option<String> {
    let order = |recording: &Recording| {
        let mut first: Vec<(f64, String)> = Vec::new();
        for (container, lines) in &recording.work {
            first.extend(lines.iter().find(|line| line.text == "main: start").map(|line| (line.at, container.clone())));
        }
        first.sort_by(|one, other| one.0.total_cmp(&other.0));
        first.into_iter().map(|(_, container)| container).collect::<Vec<_>>()
    };
    let (theirs, ours) = (order(reference), order(ours));
    (theirs != ours).then(|| format!("start order {ours:?}, the reference {theirs:?}"))
}

/// What is done to different containers comes in the reference's order wherever the reference left time between. Hooks and
/// stops that begin at once begin in any order.
fn compare_order(kind: &str, reference: &BTreeMap<String, Vec<Line>>, ours: &BTreeMap<String, Vec<Line>>) -> Vec<String> {
    let (theirs, ours) = (numbered(reference), numbered(ours));
    let mut found = Vec::new();
    for (first, first_at) in theirs.iter().filter(|(first, _)| first.text.starts_with("main: exit") || is_start_event(first)) {
        let is_ordered = |second: &Place<'_>| {
            second.subject != first.subject
                && (second.text.starts_with("main: signal") || second.text.starts_with("main: start") || is_start_event(second))
        };
        for (second, second_at) in theirs.iter().filter(|(second, _)| is_ordered(second)) {
            let (Some(our_first), Some(our_second)) = (ours.get(first), ours.get(second)) else { continue };
            if second_at - first_at > IN_ORDER_SECS && our_second < our_first {
                found.push(format!("{kind} order: {} {} before {} {}", second.subject, second.text, first.subject, first.text));
            }
        }
    }
    found
}

/// Containers are started one after the other.
fn is_start_event(place: &Place<'_>) -> bool {
    ["Normal Pulled ", "Normal Created ", "Normal Started "].iter().any(|event| place.text.starts_with(event))
}

/// A line among all lines of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place<'a> {
    subject: &'a str,
    text: &'a str,
    /// How many lines of the same text came before.
    nth: usize,
}

fn numbered(map: &BTreeMap<String, Vec<Line>>) -> BTreeMap<Place<'_>, f64> {
    let mut places = BTreeMap::new();
    for (subject, lines) in map {
        for (index, line) in lines.iter().enumerate() {
            let nth = lines[..index].iter().filter(|before| before.text == line.text).count();
            places.insert(Place { subject, text: &line.text, nth }, line.at);
        }
    }
    places
}

/// Both recordings for a reader, subject by subject; what only one has stands alone.
pub fn side_by_side(reference: &Recording, ours: &Recording) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = writeln!(text, "  {:COLUMN$} | we", "the reference");
    let mut put = |title: &str, theirs: &[Line], ours: &[Line]| {
        let _ = writeln!(text, "{title}");
        for (their, our) in rows(theirs, ours) {
            let show = |line: Option<&Line>| line.map_or_else(String::new, |line| format!("{:8.3} {}", line.at, line.text));
            let mark = if their.is_some() == our.is_some() { ' ' } else { '!' };
            let _ = writeln!(text, "{mark} {:COLUMN$} | {}", cut(&show(their)), cut(&show(our)));
        }
    };
    put("steps", &reference.steps, &ours.steps);
    put("phase", &reference.phases, &ours.phases);
    for (kind, theirs, ours) in [
        ("event", &reference.events, &ours.events),
        ("condition", &reference.conditions, &ours.conditions),
        ("container", &reference.containers, &ours.containers),
        ("work", &reference.work, &ours.work),
    ] {
        for subject in keys(theirs, ours) {
            put(&format!("{kind} {subject}"), lines(theirs, subject), lines(ours, subject));
        }
    }
    text
}

/// Two lists beside each other: the same text in the same row.
fn rows<'a>(theirs: &'a [Line], ours: &'a [Line]) -> Vec<(Option<&'a Line>, Option<&'a Line>)> {
    let (matched, _) = difference(theirs, ours);
    let (mut i, mut j, mut rows) = (0, 0, Vec::new());
    for (their, our) in matched.into_iter().chain([(theirs.len(), ours.len())]) {
        rows.extend(theirs[i..their].iter().map(|line| (Some(line), None)));
        rows.extend(ours[j..our].iter().map(|line| (None, Some(line))));
        rows.extend(theirs.get(their).zip(ours.get(our)).map(|(their, our)| (Some(their), Some(our))));
        (i, j) = (their + 1, our + 1);
    }
    rows
}

fn cut(text: &str) -> String {
    if text.chars().count() <= COLUMN { text.to_owned() } else { text.chars().take(COLUMN - 1).chain(['…']).collect() }
}
