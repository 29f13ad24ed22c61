//! The end of the shim.
//!
//! Without force it ends when nothing lives. By force everything in the pod's cgroup is killed first, and the ends of all
//! containers and execs are recorded and told as any other. The answer is the last thing that clients hear.

use std::process::ExitCode;
use std::time::Duration;

use super::super::poll::Key;
use super::super::{Monitor, Shutdown};
use super::failed;
use crate::cgroup::{Cgroup, CgroupError};
use crate::moment::Moment;
use crate::protocol::{Answer, Refusal, RefusalCode, ShutdownMode};
use crate::records::{SHIM_SOCKET, Sender};

/// How long a forced shutdown waits for killed processes to be gone, in milliseconds.
const GIVE_UP_MS: u64 = 10_000;
/// How long the last words may take to be read.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(1);
/// How long strays in the pod's cgroup may take to die when all containers are gone.
const STRAYS_WITHIN: Duration = Duration::from_millis(500);

impl Monitor {
    /// Carries out the call, or begins to: the answer comes when it is done.
    pub(super) fn shut_down(&mut self, client: Key, request: u64, mode: ShutdownMode) -> Result<(), Refusal> {
        if self.shutdown.is_some() {
            return Err(Refusal::new(RefusalCode::WrongState, "the shim is shutting down already"));
        }
        let living: Vec<_> = self.containers.values().filter(|container| !container.is_exited()).map(|it| it.id.clone()).collect();
        match mode {
            ShutdownMode::WhenEmpty => {
                if let Some(id) = living.first() {
                    let message = format!("container {id} lives: remove it, or shut down by force");
                    return Err(Refusal::new(RefusalCode::WrongState, message));
                }
            }
            ShutdownMode::KillAll => {
                for id in &living {
                    self.kill_container(id, Sender::Shutdown, "the pod's shim is shut down");
                }
                let killed = Cgroup::open(&self.pod_cgroup).and_then(|cgroup| cgroup.kill());
                killed.map_err(|error: CgroupError| failed("kill the pod's cgroup", &error))?;
            }
        }
        self.shutdown = Some(Shutdown { client, request, give_up_at: Moment::now().plus_ms(GIVE_UP_MS) });
        self.continue_shutdown();
        Ok(())
    }

    /// Goes on with a shutdown when nothing is left to wait for.
    pub(in super::super) fn continue_shutdown(&mut self) {
        let is_over = self.containers.values().all(|it| it.is_exited()) && self.execs.values().all(|it| it.is_exited());
        if let Some(shutdown) = self.shutdown
            && is_over
        {
            self.finish_shutdown(shutdown, Ok(Answer::Done.into()));
        }
    }

    /// Something does not die. The caller is told, and the shim stays for what it still holds.
    pub(in super::super) fn give_up_shutdown(&mut self) {
        if let Some(shutdown) = self.shutdown.take() {
            let refusal = Refusal::new(RefusalCode::Failed, "processes of the pod hang in the kernel and do not die");
            if let Err(reason) = self.answer(shutdown.client, shutdown.request, Err(refusal)) {
                self.drop_client(shutdown.client, &reason);
            }
        }
    }

    fn finish_shutdown(&mut self, shutdown: Shutdown, answer: Result<super::Reply, Refusal>) {
        let removed = Cgroup::open(&self.pod_cgroup).and_then(|cgroup| {
            if cgroup.is_populated()? {
                cgroup.kill_all(STRAYS_WITHIN)?;
            }
            cgroup.remove()
        });
        if let Err(error) = removed {
            self.complain(format_args!("the pod's cgroup stays: {}", super::super::describe(&error)));
        }
        if let Err(error) = std::fs::remove_file(self.state_dir.join(SHIM_SOCKET)) {
            self.complain(format_args!("the socket stays: {error}"));
        }
        if let Err(reason) = self.answer(shutdown.client, shutdown.request, answer) {
            self.drop_client(shutdown.client, &reason);
        }
        self.say_last_words();
        self.finished = Some(ExitCode::SUCCESS);
    }

    /// Gives clients a bounded time to take what is queued for them.
    fn say_last_words(&mut self) {
        let until = Moment::now().plus_ms(LAST_WORDS_WITHIN.as_millis() as u64);
        loop {
            self.flush_clients();
            let is_done = !self.clients.iter_mut().any(|client| client.has_unsent());
            if is_done || Moment::now() > until {
                return;
            }
            let pause = rustix::event::Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            // Readiness of anything else is of no interest any more; the pause only bounds how often we look.
            let _ = rustix::event::poll(&mut [], Some(&pause));
        }
    }
}
