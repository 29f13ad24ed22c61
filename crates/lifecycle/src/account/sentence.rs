//! The grace account in one sentence. It says no more than what was seen in this stop, or in earlier ones of the same container.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Budget, GraceAccount, PreStopEnd, ShareUser, Verdict};

impl GraceAccount {
    /// The verdict in one sentence, with the figures that it rests on.
    pub fn sentence(&self) -> String {
        let used = self.used().unwrap_or_default();
        let pre_stop = self.share_of(ShareUser::PreStop);
        let after_signal = self.share_of(ShareUser::StopSignal);
        let of_grace = format!("{} of the {} s grace", secs(used), self.grace_secs);
        let code = self.exit.as_ref().map_or(0, |exit| exit.code);
        match self.verdict() {
            Verdict::InProgress => format!("stopping: {} s grace", self.grace_secs),
            Verdict::EndedBefore => format!("ended by itself with exit code {code} before anything was done"),
            Verdict::EndedInPreStop => format!("graceful: ended with exit code {code} while its preStop hook ran, after {of_grace}"),
            Verdict::Graceful => {
                let hook = if self.pre_stop.is_some() { format!(" (preStop {})", secs(pre_stop)) } else { String::new() };
                format!("graceful: exit code {code} {} after the stop signal, {of_grace} used{hook}", secs(after_signal))
            }
            Verdict::GracefulInOvertime => self.overtime_sentence(pre_stop, after_signal),
            Verdict::Killed => self.killed_sentence(pre_stop, after_signal),
        }
    }

    fn overtime_sentence(&self, pre_stop: Duration, after_signal: Duration) -> String {
        let grace = self.grace_secs;
        let (window, took) = (crate::MINIMUM_STOP_WINDOW_SECS, secs(after_signal));
        let saved = format!("only the {window} s that always follow the stop signal saved the process, which took {took}");
        let needed = self.needed_sentence();
        match &self.pre_stop {
            None => format!("just in time: {saved} of a grace of {grace} s{needed}"),
            Some(hook) if hook.end == PreStopEnd::OutOfGrace => {
                format!("just in time: preStop did not finish within the {grace} s grace and was cut off, and {saved}{needed}")
            }
            Some(_) => format!("just in time: preStop used {} of the {grace} s grace, and {saved}{needed}", secs(pre_stop)),
        }
    }

    fn killed_sentence(&self, pre_stop: Duration, after_signal: Duration) -> String {
        let grace = self.grace_secs;
        let process = format!("the process needed more than the {} that were left after it", secs(after_signal));
        let needed = self.needed_sentence();
        match (&self.pre_stop, self.signalled_at) {
            (_, None) => "killed: at once, as was asked".into(),
            (Some(hook), Some(_)) if hook.end == PreStopEnd::OutOfGrace => {
                format!("killed: preStop did not finish within the {grace} s grace and was cut off; {process}{needed}")
            }
            (Some(_), Some(_)) => format!("killed: preStop used {} of the {grace} s grace, {process}{needed}", secs(pre_stop)),
            (None, Some(_)) => {
                format!("killed: the process did not end within {} of the stop signal ({grace} s grace){needed}", secs(after_signal))
            }
        }
    }

    /// What is known of the grace that would have been needed: one that is enough, if all that the stop needs was seen to its end in
    /// this stop or an earlier one; else one that is not; else nothing.
    fn needed_sentence(&self) -> String {
        let setting = |secs: u64| match self.budget {
            Budget::Manifest => format!("terminationGracePeriodSeconds: {secs}"),
            Budget::Request => format!("a grace of {secs} s"),
        };
        match (self.enough_secs(), self.too_little_secs()) {
            (Some(secs), _) => format!("; {}{} would have been enough", self.evidence(), setting(secs)),
            (None, Some(secs)) => format!("; {} would still be too little", setting(secs)),
            (None, None) => String::new(),
        }
    }

    /// What was seen in earlier stops only.
    fn evidence(&self) -> String {
        let only_earlier = |own: Option<Duration>, earlier: Option<Duration>, who: &str| match (own, earlier) {
            (None, Some(time)) => Some(format!("{who} up to {}", secs(time))),
            (Some(_), _) | (None, None) => None,
        };
        let pre_stop = only_earlier(self.own_pre_stop(), self.earlier.pre_stop, "preStop took");
        let process = only_earlier(self.own_process(), self.earlier.process, "the process took");
        let seen: Vec<String> = pre_stop.into_iter().chain(process).collect();
        if seen.is_empty() { String::new() } else { format!("in earlier stops {}: ", seen.join(" and ")) }
    }
}

fn secs(duration: Duration) -> String {
    let tenths = duration.as_millis().saturating_add(50) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
