//! The line to one living shim: calls, events, and the end.
//!
//! A task holds the connection, for as long as anybody holds a [`Link`]. It tells every event to all listeners, through
//! [`Story`], and wakes whoever waits for an exec. A connection that breaks while the shim lives is made anew, and only the
//! calls that were under way fail.
//!
//! Invariant: when the shim is gone, nothing of the sandbox is left running before that is told.

mod connection;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use shim::protocol::{Answer, Call, ContainerId, ExecId, Refusal, ServerFrame, Snapshot};
use shim::records::{ContainerExit, SHIM_LOCK};
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::connection::{CLIENT_NAME, ConnectError};
use self::connection::{Connection, ConnectionError};
use super::errors::chain;
use super::story::{ExecEnd, Story, Told};
use crate::RuntimeEvent;

/// Orders that wait for the task. Each of its callers waits for an answer, so more means that the task is stuck.
const ORDERS_MAX: usize = 64;
/// How long a shim may take to say hello and to tell its state. It answers within milliseconds; a machine may be busy.
const GREETING_TIMEOUT: Duration = Duration::from_secs(10);
/// Greetings that a shim may leave unanswered before it counts as dead. They are counted, rather than timed as a whole: on a machine that
/// stood still, the time is over before anybody could answer.
const SILENT_MAX: u32 = 3;
/// Connections that a shim may turn away before it counts as dead, ten seconds or more in all.
const CLOSED_MAX: u32 = 500;
const CLOSED_PAUSE: Duration = Duration::from_millis(20);
/// Ended execs that are remembered by the shim for asking again; older ones are removed. Room for every hook of a large pod,
/// and for the probes of some minutes.
const ENDED_EXECS_MAX: usize = 64;

/// What is to be done when the shim has died: kill what it left, release what it held, and say how its containers ended, as
/// far as it has written that down.
pub(crate) type OnLost = Box<dyn FnOnce() -> std::pin::Pin<Box<dyn Future<Output = Vec<ContainerExit>> + Send>> + Send>;

/// A call was not carried out.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The shim refused it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The connection broke, or the shim is gone.
    #[error("the connection to the shim broke")]
    Lost,
    /// The shim did not answer.
    #[error("the shim did not answer within {0:?}")]
    TimedOut(Duration),
    /// It answered something else.
    #[error("the shim gave an unexpected answer")]
    Unexpected,
}

/// A line to a shim.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    orders: mpsc::Sender<Order>,
    is_end_expected: Arc<AtomicBool>,
}

enum Order {
    Call { call: Box<Call>, answer: oneshot::Sender<Result<Answer, CallError>> },
    Listen { listener: mpsc::UnboundedSender<RuntimeEvent> },
    WaitForExec { exec: ExecId, waiter: oneshot::Sender<ExecEnd> },
    ForgetContainer { container: ContainerId },
}

impl Link {
    /// Connects to the shim that lives in the state folder `dir`.
    pub(crate) async fn open(dir: &Path, on_lost: OnLost) -> Result<Self, ConnectError> {
        let (connection, snapshot) = reach(dir, GREETING_TIMEOUT).await?;
        let (orders, received) = mpsc::channel(ORDERS_MAX);
        let is_end_expected = Arc::new(AtomicBool::new(false));
        let mut story = Story::default();
        story.handle_snapshot(snapshot, Instant::now());
        let task = Task {
            dir: dir.to_owned(),
            connection,
            story,
            listeners: Vec::new(),
            answers: BTreeMap::new(),
            exec_waiters: BTreeMap::new(),
            is_end_expected: Arc::clone(&is_end_expected),
        };
        tokio::spawn(task.run(received, on_lost));
        Ok(Self { orders, is_end_expected })
    }

    /// The shim is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.orders.is_closed()
    }

    /// The shim is about to be told to end, which is then no loss.
    pub(crate) fn expect_end(&self) {
        self.is_end_expected.store(true, Ordering::Release);
    }

    /// Calls the shim.
    pub(crate) async fn call(&self, call: Call, within: Duration) -> Result<Answer, CallError> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.order(Order::Call { call: Box::new(call), answer }).await?;
            answered.await.unwrap_or(Err(CallError::Lost))
        };
        tokio::time::timeout(within, asked).await.unwrap_or(Err(CallError::TimedOut(within)))
    }

    /// All events from now on, after those of recorded exits.
    pub(crate) async fn listen(&self) -> Result<mpsc::UnboundedReceiver<RuntimeEvent>, CallError> {
        let (listener, events) = mpsc::unbounded_channel();
        self.order(Order::Listen { listener }).await?;
        Ok(events)
    }

    /// The end of an exec, as soon as it is told. The receiver fails when the shim is gone.
    pub(crate) async fn wait_for_exec(&self, exec: ExecId) -> Result<oneshot::Receiver<ExecEnd>, CallError> {
        let (waiter, end) = oneshot::channel();
        self.order(Order::WaitForExec { exec, waiter }).await?;
        Ok(end)
    }

    /// The container was removed: its exit is not told to new listeners.
    pub(crate) async fn forget_container(&self, container: ContainerId) -> Result<(), CallError> {
        self.order(Order::ForgetContainer { container }).await
    }

    async fn order(&self, order: Order) -> Result<(), CallError> {
        self.orders.send(order).await.map_err(|_| CallError::Lost)
    }
}

/// Whether a shim lives in the state folder `dir`: it holds its lock for as long.
pub(crate) fn is_shim_alive(dir: &Path) -> io::Result<bool> {
    let lock = match File::open(dir.join(SHIM_LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[derive(Debug)]
struct Task {
    dir: PathBuf,
    connection: Connection,
    story: Story,
    listeners: Vec<mpsc::UnboundedSender<RuntimeEvent>>,
    answers: BTreeMap<u64, Pending>,
    exec_waiters: BTreeMap<ExecId, Vec<oneshot::Sender<ExecEnd>>>,
    is_end_expected: Arc<AtomicBool>,
}

/// A call under way.
#[derive(Debug)]
enum Pending {
    /// Somebody waits.
    Asked(oneshot::Sender<Result<Answer, CallError>>),
    /// Our own house-keeping.
    RemoveExec(ExecId),
}

/// What made the task wake up.
enum Woken {
    Order(Option<Order>),
    Bytes(Result<(), ConnectionError>),
    Timeout,
}

impl Task {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, on_lost: OnLost) {
        loop {
            self.tell();
            let woken = tokio::select! {
                order = orders.recv() => Woken::Order(order),
                filled = self.connection.fill() => Woken::Bytes(filled),
                () = until(self.story.poll_timeout()) => Woken::Timeout,
            };
            let served = match woken {
                Woken::Order(None) => return,
                Woken::Order(Some(order)) => self.serve_order(order).await,
                Woken::Bytes(Ok(())) => self.serve_frames().await,
                Woken::Bytes(Err(error)) => Err(error),
                Woken::Timeout => {
                    self.story.handle_timeout(Instant::now());
                    Ok(())
                }
            };
            let Err(broken) = served else { continue };
            self.tell();
            self.answers.clear();
            if self.is_end_expected.load(Ordering::Acquire) {
                return;
            }
            tracing::debug!(dir = %self.dir.display(), error = %broken, "the connection to a shim broke");
            if let Err(message) = self.reconnect().await {
                // Nobody may order anything of a dead shim.
                orders.close();
                while let Ok(order) = orders.try_recv() {
                    if let Order::Listen { listener } = order {
                        self.add_listener(listener);
                    }
                }
                self.end(on_lost, message).await;
                return;
            }
        }
    }

    async fn serve_order(&mut self, order: Order) -> Result<(), ConnectionError> {
        match order {
            Order::Call { call, answer } => {
                let id = self.connection.send(*call).await?;
                self.answers.insert(id, Pending::Asked(answer));
            }
            Order::Listen { listener } => self.add_listener(listener),
            Order::WaitForExec { exec, waiter } => match self.story.exec_end(&exec) {
                Some(end) => drop(waiter.send(end.clone())),
                None => self.add_exec_waiter(exec, waiter),
            },
            Order::ForgetContainer { container } => self.story.forget_container(&container),
        }
        Ok(())
    }

    fn add_listener(&mut self, listener: mpsc::UnboundedSender<RuntimeEvent>) {
        if self.story.exits().into_iter().all(|exit| listener.send(exit).is_ok()) {
            self.listeners.push(listener);
        }
    }

    fn add_exec_waiter(&mut self, exec: ExecId, waiter: oneshot::Sender<ExecEnd>) {
        // Callers that gave up, such as one whose exec was refused, are forgotten here.
        self.exec_waiters.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.exec_waiters.entry(exec).or_default().push(waiter);
    }

    async fn serve_frames(&mut self) -> Result<(), ConnectionError> {
        while let Some(frame) = self.connection.next_frame()? {
            match frame {
                ServerFrame::Answer { id, result } => match self.answers.remove(&id) {
                    Some(Pending::Asked(answer)) => {
                        if let Ok(told) = &result
                            && let Answer::Exec(status) = told.as_ref()
                        {
                            self.story.handle_exec_status(status.clone(), Instant::now());
                        }
                        // A caller that gave up does not mind.
                        let _ = answer.send(result.map(|answer| *answer).map_err(CallError::Refused));
                    }
                    Some(Pending::RemoveExec(exec)) => self.story.forget_exec(&exec),
                    None => {}
                },
                ServerFrame::Event { event, .. } => self.story.handle_event(event, Instant::now()),
                ServerFrame::Output { .. } => {}
            }
        }
        self.tell();
        self.forget_old_execs().await
    }

    fn tell(&mut self) {
        while let Some(told) = self.story.poll_told() {
            match told {
                Told::Event(event) => self.listeners.retain(|listener| listener.send(event.clone()).is_ok()),
                Told::ExecEnded(end) => {
                    for waiter in self.exec_waiters.remove(&end.exit.exec).unwrap_or_default() {
                        // A caller that gave up does not mind.
                        let _ = waiter.send((*end).clone());
                    }
                }
            }
        }
    }

    async fn forget_old_execs(&mut self) -> Result<(), ConnectionError> {
        let ended = self.story.ended_execs();
        for exec in ended.iter().take(ended.len().saturating_sub(ENDED_EXECS_MAX)) {
            let is_asked = self.answers.values().any(|pending| matches!(pending, Pending::RemoveExec(other) if other == exec));
            if !is_asked {
                let id = self.connection.send(Call::RemoveExec { exec: exec.clone() }).await?;
                self.answers.insert(id, Pending::RemoveExec(exec.clone()));
            }
        }
        Ok(())
    }

    /// Connects again while the shim lives. The error says what became of it.
    async fn reconnect(&mut self) -> Result<(), String> {
        let (connection, snapshot) = reach(&self.dir, GREETING_TIMEOUT).await.map_err(|error| error.loss())?;
        self.connection = connection;
        self.story.handle_snapshot(snapshot, Instant::now());
        Ok(())
    }

    async fn end(&mut self, on_lost: OnLost, message: String) {
        let mut exits = on_lost().await;
        exits.sort_by_key(|exit| exit.exited_at);
        for exit in exits {
            self.story.handle_container_exit(Box::new(exit));
        }
        self.story.handle_lost();
        self.tell();
        for listener in self.listeners.drain(..) {
            let _ = listener.send(RuntimeEvent::SandboxLost { message: message.clone() });
        }
    }
}

/// Connects to the shim that lives in the state folder `dir`. One that does not speak is given up only after several tries.
async fn reach(dir: &Path, greeting_timeout: Duration) -> Result<(Connection, Snapshot), ConnectError> {
    let (mut silent, mut closed) = (0, 0);
    loop {
        match is_shim_alive(dir) {
            Ok(false) => return Err(ConnectError::Dead),
            Ok(true) => {}
            Err(source) => return Err(ConnectError::Look { dir: dir.display().to_string(), source }),
        }
        let error = match Connection::open(dir, greeting_timeout).await {
            Err(error) => error,
            opened => return opened,
        };
        let tries = if matches!(error, ConnectError::Silent { .. }) { &mut silent } else { &mut closed };
        *tries += 1;
        if !error.is_hung() || silent >= SILENT_MAX || closed >= CLOSED_MAX {
            return Err(error);
        }
        tracing::debug!(dir = %dir.display(), error = chain(&error), "a shim is tried again");
        tokio::time::sleep(CLOSED_PAUSE).await;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use rustix::fs::{FlockOperation, flock};
    use shim::records::{SHIM_LOCK, SHIM_SOCKET};

    use super::{ConnectError, SILENT_MAX, reach};

    #[tokio::test]
    async fn a_shim_that_lives_is_given_up_only_after_several_greetings() {
        let dir = tempfile::tempdir().expect("a folder");
        let lock = File::create(dir.path().join(SHIM_LOCK)).expect("a lock");
        flock(&lock, FlockOperation::LockExclusive).expect("locked");
        let silent = UnixListener::bind(dir.path().join(SHIM_SOCKET)).expect("a socket");
        let error = reach(dir.path(), Duration::from_millis(20)).await.expect_err("nobody answers");
        assert!(matches!(error, ConnectError::Silent { .. }) && error.is_hung(), "{error}");
        assert!(error.loss().starts_with("the shim process does not answer: the shim in "), "{}", error.loss());
        silent.set_nonblocking(true).expect("a socket");
        assert_eq!(silent.incoming().map_while(Result::ok).count(), usize::try_from(SILENT_MAX).expect("few"));

        drop(lock);
        let error = reach(dir.path(), Duration::from_millis(20)).await.expect_err("nobody lives");
        assert!(matches!(error, ConnectError::Dead) && !error.is_hung(), "{error}");
    }
}
