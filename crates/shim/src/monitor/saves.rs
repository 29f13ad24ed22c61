//! Writing records down, and what happens when the disk refuses.
//!
//! An exit record that cannot be written stays in memory, the event says so, and the writing is tried again until it works.
//! Records of starts are not tried again: while the shim lives it knows better, and after it only the exits matter.

use std::path::PathBuf;

use super::Monitor;
use super::containers::{Save, Stage};
use super::execs::ExecStage;
use crate::moment::Moment;
use crate::protocol::{ContainerId, Event, ExecId, Keep, Recorded, Target};
use crate::records::{CONTAINERS, Durability, EXECS, EXIT_RECORD, WriteRecordError, write_record};

/// How long to wait before a refused record is tried again, in milliseconds.
const SAVE_AGAIN_MS: u64 = 1_000;

impl Monitor {
    pub(super) fn container_dir(&self, container: &ContainerId) -> PathBuf {
        self.state_dir.join(CONTAINERS).join(container.as_str())
    }

    pub(super) fn exec_dir(&self, exec: &ExecId) -> PathBuf {
        self.state_dir.join(EXECS).join(exec.as_str())
    }

    /// Writes a record that is worth a complaint, but no more, when it fails.
    pub(super) fn record<T: serde::Serialize>(&mut self, folder: &std::path::Path, name: &str, record: &T) {
        if let Err(error) = write_record(folder, name, record, Durability::Process) {
            self.complain(format_args!("{}", super::describe(&error)));
        }
    }

    /// Writes the exit record of a container that has exited, and returns how that went.
    pub(super) fn save_container_exit(&mut self, container: &ContainerId) -> Recorded {
        let folder = self.container_dir(container);
        let Some(found) = self.containers.get_mut(container) else { return Recorded::Saved };
        let Stage::Exited { exit, save } = &mut found.stage else { return Recorded::Saved };
        let written = save_exit(&folder, exit, Durability::Machine);
        *save = if written.is_ok() { Save::Done } else { Save::Pending };
        self.after_save(written)
    }

    /// Writes the exit record of an exec that has exited, and returns how that went.
    pub(super) fn save_exec_exit(&mut self, exec: &ExecId) -> Recorded {
        let folder = self.exec_dir(exec);
        let Some(found) = self.execs.get_mut(exec) else { return Recorded::Saved };
        // The results of probes come every second; like the ends of sessions they are worth nothing after the machine went down: no
        // sync for them.
        let durability = match found.keep {
            Keep::UntilRemoved => Durability::Machine,
            Keep::Recent | Keep::WhileHeld => Durability::Process,
        };
        let ExecStage::Exited { exit, save } = &mut found.stage else { return Recorded::Saved };
        let written = save_exit(&folder, exit, durability);
        *save = if written.is_ok() { Save::Done } else { Save::Pending };
        self.after_save(written)
    }

    fn after_save(&mut self, written: Result<(), WriteRecordError>) -> Recorded {
        match written {
            Ok(()) => Recorded::Saved,
            Err(error) => {
                let error = super::describe(&error);
                self.complain(format_args!("{error}"));
                self.save_again_at.get_or_insert(Moment::now().plus_ms(SAVE_AGAIN_MS));
                Recorded::Unsaved { error }
            }
        }
    }

    /// Tries the refused records again.
    pub(super) fn save_again(&mut self) {
        self.save_again_at = None;
        let is_pending = |stage: &Stage| matches!(stage, Stage::Exited { save: Save::Pending, .. });
        let containers: Vec<_> = self.containers.values().filter(|it| is_pending(&it.stage)).map(|it| it.id.clone()).collect();
        let is_pending = |stage: &ExecStage| matches!(stage, ExecStage::Exited { save: Save::Pending, .. });
        let execs: Vec<_> = self.execs.values().filter(|it| is_pending(&it.stage)).map(|it| it.id.clone()).collect();
        for container in containers {
            if self.save_container_exit(&container) == Recorded::Saved {
                self.tell(Event::RecordSaved { target: Target::Container(container) });
            }
        }
        for exec in execs {
            if self.save_exec_exit(&exec) == Recorded::Saved {
                self.tell(Event::RecordSaved { target: Target::Exec(exec) });
            }
        }
    }
}

fn save_exit<T: serde::Serialize>(folder: &std::path::Path, exit: &T, durability: Durability) -> Result<(), WriteRecordError> {
    // The folder may be missing when the disk was full as the process began.
    std::fs::create_dir_all(folder).map_err(|source| WriteRecordError {
        action: "create the folder of",
        path: folder.join(EXIT_RECORD),
        source,
    })?;
    write_record(folder, EXIT_RECORD, exit, durability)
}
