//! What `usher run -o json` showed, as a recording.

use lifecycle::{Action, ContainerState, PodStatus};
use node::journal::Record;
use serde::Deserialize;
use serde_json::Value;
use sim::trace::recording::Recording;

/// A line of the journal, or something that passed and is only counted there: that has no number.
#[derive(Deserialize)]
struct Passed {
    at: chronicle::Moment,
    #[serde(flatten)]
    record: Record,
}

/// Writes down what was shown; names that differ from run to run become those of the recordings.
pub(crate) fn recording(entries: &[Value]) -> Recording {
    let mut recording = Recording::default();
    let names = Names::of(entries);
    for value in entries {
        if let Some(line) = value["output"]["line"].as_str() {
            let container = value["output"]["container"].as_str().unwrap_or_default();
            if let Some((at, text)) = workload_line(line) {
                recording.work(at - names.zero, container, &names.replaced(text));
            }
            continue;
        }
        let entry: Passed = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{error}: {value}"));
        let at = secs(entry.at.wall_nanos) - names.zero;
        match entry.record {
            Record::Kill(_) => recording.step(at, "delete"),
            Record::Action(step) => {
                if let Action::RecordEvent(mut record) = step.action {
                    record.message = names.replaced(&record.message);
                    recording.event(at, &record);
                }
            }
            Record::Status(status) => recording.status(at, &names.in_status(status)),
            Record::Opened { .. }
            | Record::Spec(_)
            | Record::Event(_)
            | Record::Runtime(_)
            | Record::Warning { .. }
            | Record::Pull(_)
            | Record::Volumes(_)
            | Record::Hook(_)
            | Record::Probes(_)
            | Record::OutputCut(_)
            | Record::Session(_)
            | Record::Full => {}
        }
    }
    recording.sort_work();
    recording
}

/// `1795442077.826945066 tapp pid=7 hook: sleep begins`: when, and what was said.
fn workload_line(line: &str) -> Option<(f64, &str)> {
    let (at, rest) = line.split_once(" tapp pid=")?;
    let (_, text) = rest.split_once(' ')?;
    Some((at.parse().ok()?, text.trim_end_matches([' ', '|'])))
}

fn secs(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// The pod's address in the recordings.
const POD_IP: &str = "10.0.0.1";

/// No registry is reached here, so that a pull fails for another reason than in the recordings.
const PULL_FAILED: (&str, &str) = (
    "failed to pull and unpack image",
    "rpc error: code = NotFound desc = failed to pull and unpack image \"docker.io/library/no-such-image:1\": \
     failed to resolve image: docker.io/library/no-such-image:1: not found",
);

/// Deliberate difference 14: nothing comes over RPC here, and a command is called by its name.
const EXEC_FAILED: &str = "failed to exec in container: failed to start exec \"";

/// What a hook printed: the recorded workload ends it with a blank, ours with a new line, which is quoted in one of both places.
const PRINTED: &str = "secret-output";

/// The words of runtime and workload as those of the recordings put them.
fn in_their_words(text: &str) -> String {
    let text = ["\n", "\\n"].iter().fold(text.to_owned(), |text, end| text.replace(&format!("{PRINTED}{end}"), &format!("{PRINTED} ")));
    if let Some(at) = text.find(PULL_FAILED.0) {
        return format!("{}{}", &text[..at], PULL_FAILED.1);
    }
    let words = text.split_once(EXEC_FAILED).and_then(|(before, rest)| Some((before, rest.split_once('"')?.1)));
    words.map_or_else(|| text.clone(), |(before, after)| format!("{before}rpc error: code = Unknown desc = {EXEC_FAILED}id\"{after}"))
}

/// What differs from run to run.
struct Names {
    zero: f64,
    uid: String,
    ips: Vec<String>,
}

impl Names {
    fn of(entries: &[Value]) -> Self {
        let first = entries.first().unwrap_or(&Value::Null);
        let ips = entries.iter().filter_map(|entry| entry["event"]["ips"].as_array()).flatten();
        Self {
            zero: secs(first["at"]["wallNanos"].as_u64().unwrap_or_default()),
            uid: first["opened"]["uid"].as_str().unwrap_or_default().to_owned(),
            ips: ips.filter_map(Value::as_str).map(str::to_owned).collect(),
        }
    }

    fn replaced(&self, text: &str) -> String {
        let text = text.replace(&self.uid, "uid");
        let text = self.ips.iter().fold(text, |text, ip| text.replace(ip.as_str(), POD_IP));
        in_their_words(&text)
    }

    fn in_status(&self, mut status: PodStatus) -> PodStatus {
        for container in status.init_container_statuses.iter_mut().chain(&mut status.container_statuses) {
            match &mut container.state {
                ContainerState::Waiting { message, .. } => *message = self.replaced(message),
                ContainerState::Terminated(ended) => ended.exit.message = self.replaced(&ended.exit.message),
                ContainerState::Running { .. } => {}
            }
        }
        status
    }
}
