//! When a container that is being stopped gets which signal: the rules, without the signals.
//!
//! ```text
//!   idle ──request──▶ signaled, deadline armed ──deadline──▶ kill
//!                        │  ▲
//!                        └──┘ a request with an earlier deadline; a later one changes nothing
//! ```
//!
//! Invariant: the deadline only ever comes nearer, and one and the same stop signal goes out once.

use crate::moment::Moment;
use crate::protocol::{SignalNumber, StopDeadline};

/// The stopping of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stop {
    signaled: Option<(SignalNumber, Moment)>,
    deadline: Option<StopDeadline>,
}

/// What a request to stop leads to at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StopStep {
    /// Send the signal, then wait for the deadline.
    Signal(SignalNumber),
    /// The signal went out before; wait for the deadline.
    Wait,
    /// No grace is given: kill, without any other signal.
    Kill,
}

impl Stop {
    /// A client asks for a stop.
    pub(super) fn handle_request(&mut self, signal: SignalNumber, timeout_ms: u64, why: &str, now: Moment) -> StopStep {
        let at = now.plus_ms(timeout_ms);
        if self.deadline.as_ref().is_none_or(|deadline| at.boot_ns < deadline.at.boot_ns) {
            self.deadline = Some(StopDeadline { at, why: why.to_owned() });
        }
        if timeout_ms == 0 {
            return StopStep::Kill;
        }
        match self.signaled {
            Some((sent, _)) if sent == signal => StopStep::Wait,
            Some(_) | None => {
                self.signaled = Some((signal, now));
                StopStep::Signal(signal)
            }
        }
    }

    /// When the container is to be killed, and why.
    pub(super) fn deadline(&self) -> Option<&StopDeadline> {
        self.deadline.as_ref()
    }

    /// When the stop signal went out.
    pub(super) fn signaled_at(&self) -> Option<Moment> {
        self.signaled.map(|(_, at)| at)
    }

    /// The container is to be killed now.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.deadline.as_ref().is_some_and(|deadline| deadline.at.boot_ns <= now.boot_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::{Stop, StopStep};
    use crate::moment::Moment;
    use crate::protocol::SignalNumber;

    const TERM: SignalNumber = SignalNumber::TERM;

    fn at_ms(ms: u64) -> Moment {
        Moment::default().plus_ms(ms)
    }

    #[test]
    fn a_shorter_grace_wins_and_a_longer_one_never_does() {
        let mut stop = Stop::default();
        assert_eq!(stop.handle_request(TERM, 30_000, "deleted", at_ms(0)), StopStep::Signal(TERM));
        assert_eq!(stop.handle_request(TERM, 5_000, "shorter", at_ms(1_000)), StopStep::Wait);
        assert_eq!(stop.handle_request(TERM, 60_000, "longer", at_ms(2_000)), StopStep::Wait);
        let deadline = stop.deadline().expect("a stop is under way");
        assert_eq!((deadline.at, deadline.why.as_str()), (at_ms(6_000), "shorter"));
        assert!(!stop.is_due(at_ms(5_999)) && stop.is_due(at_ms(6_000)));
        assert_eq!(stop.signaled_at(), Some(at_ms(0)));
    }

    #[test]
    fn the_same_signal_is_sent_once_but_another_one_goes_out() {
        let quit = SignalNumber::try_from(3).expect("SIGQUIT");
        let mut stop = Stop::default();
        assert_eq!(stop.handle_request(TERM, 30_000, "", at_ms(0)), StopStep::Signal(TERM));
        assert_eq!(stop.handle_request(TERM, 30_000, "", at_ms(1)), StopStep::Wait);
        assert_eq!(stop.handle_request(quit, 30_000, "", at_ms(2)), StopStep::Signal(quit));
    }

    #[test]
    fn without_grace_the_container_is_killed_at_once() {
        let mut stop = Stop::default();
        assert_eq!(stop.handle_request(TERM, 0, "forced", at_ms(0)), StopStep::Kill);
        assert!(stop.is_due(at_ms(0)));
    }

    #[test]
    fn a_grace_without_end_never_falls_due() {
        let mut stop = Stop::default();
        stop.handle_request(TERM, u64::MAX, "", at_ms(1));
        assert!(!stop.is_due(at_ms(1 << 40)));
    }
}
