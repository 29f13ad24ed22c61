//! Attempts of a pod's probes over the network that are under way. The task that drives the pod polls them itself: a task of its own for
//! each would cost more than what most of them do.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::{Context, Poll};

use lifecycle::{ActionId, ProbeOutcome};
use tokio_util::sync::ReusableBoxFuture;

type Attempt = ReusableBoxFuture<'static, ProbeOutcome>;

/// The attempts, and what came of those that have ended.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    running: Vec<(ActionId, Attempt)>,
    ended: VecDeque<(ActionId, ProbeOutcome)>,
    /// Memory for the next ones.
    idle: Vec<Attempt>,
}

impl Attempts {
    /// Begins one; it goes on when the attempts are polled.
    pub(super) fn begin(&mut self, id: ActionId, attempt: impl Future<Output = ProbeOutcome> + Send + 'static) {
        let attempt = match self.idle.pop() {
            Some(mut idle) => {
                idle.set(attempt);
                idle
            }
            None => ReusableBoxFuture::new(attempt),
        };
        self.running.push((id, attempt));
    }

    /// The next one that has ended; never, if there is none.
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(ActionId, ProbeOutcome)> {
        self.poll(context);
        self.ended.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    /// Waits for something else; the attempts go on meanwhile.
    pub(super) async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| {
            self.poll(context);
            work.as_mut().poll(context)
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) {
        let mut at = 0;
        while let Some((_, attempt)) = self.running.get_mut(at) {
            match attempt.poll(context) {
                Poll::Ready(outcome) => {
                    let (id, attempt) = self.running.swap_remove(at);
                    self.ended.push_back((id, outcome));
                    self.idle.push(attempt);
                }
                Poll::Pending => at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    async fn next(attempts: &mut Attempts) -> ActionId {
        std::future::poll_fn(|context| attempts.poll_next(context)).await.0
    }

    fn attempt() -> (oneshot::Sender<()>, impl Future<Output = ProbeOutcome> + Send + 'static) {
        let (end, ended) = oneshot::channel();
        let attempt = async move {
            ended.await.expect("nobody gives it up");
            ProbeOutcome::Success
        };
        (end, attempt)
    }

    #[tokio::test]
    async fn each_attempt_is_told_once_and_in_the_order_of_their_ends() {
        let mut attempts = Attempts::default();
        let ends: Vec<_> = (0..3)
            .map(|id| {
                let (end, attempt) = attempt();
                attempts.begin(ActionId(id), attempt);
                end
            })
            .collect();
        for (id, end) in ends.into_iter().enumerate().rev() {
            end.send(()).expect("it waits");
            assert_eq!(next(&mut attempts).await, ActionId(id as u64));
        }
        let none = std::future::poll_fn(|context| Poll::Ready(attempts.poll_next(context))).await;
        assert!(none.is_pending() && attempts.idle.len() == 3, "{attempts:?}");
    }

    #[tokio::test]
    async fn an_attempt_goes_on_while_something_else_is_waited_for() {
        let mut attempts = Attempts::default();
        let (went_on, goes_on) = oneshot::channel();
        attempts.begin(ActionId(1), async move {
            went_on.send(()).expect("somebody waits");
            ProbeOutcome::Success
        });
        attempts.beside(goes_on).await.expect("it went on");
        assert_eq!(next(&mut attempts).await, ActionId(1));
    }
}
