//! Appending to a journal: a turn at a time, whole lines only, synced behind the pod's back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chronicle::sieve::Sieve;
use chronicle::{Entry, JOURNAL_VERSION, Moment, Record};
use lifecycle::{PodSpec, PodStatus};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::{Live, older};
use crate::clock;

/// From a write to the sync that covers it: what a power cut may take of a journal. Not at once, because a sync holds up what else
/// is written to the same disk, and a pod that starts writes much.
const SYNC_AFTER: Duration = Duration::from_secs(1);

/// What a journal begins with.
#[derive(Clone, Debug)]
pub struct Heading {
    /// The pod, as its machine knows it.
    pub spec: PodSpec,
    /// The pod was there before.
    pub resumed: bool,
}

/// Appends to a pod's journal and tells whoever watches.
#[derive(Debug)]
pub struct Journal {
    /// `None` where nothing is to be kept: then everything is only told.
    kept: Option<Kept>,
    turn: Vec<(Moment, Record)>,
    watcher: mpsc::UnboundedSender<Live>,
}

/// What is written down, and where.
#[derive(Debug)]
struct Kept {
    path: PathBuf,
    file: Arc<File>,
    written: u64,
    bytes_max: u64,
    next_seq: u64,
    /// The last write was cut short: what follows begins on a line of its own.
    is_torn: bool,
    spec: PodSpec,
    last_status: Option<PodStatus>,
    sieve: Sieve,
    sync: Option<mpsc::Sender<()>>,
}

impl Journal {
    /// Opens or makes the journal file and writes its heading. `bytes_max` is for both of its files; 0 keeps nothing.
    ///
    /// # Errors
    /// When the file cannot be made, read or written.
    pub fn open(path: &Path, heading: Heading, bytes_max: u64, watcher: mpsc::UnboundedSender<Live>) -> io::Result<Self> {
        let Heading { spec, resumed } = heading;
        let kept = if bytes_max == 0 { None } else { Some(Kept::open(path, spec.clone(), bytes_max)?) };
        let mut journal = Self { kept, turn: Vec::new(), watcher };
        journal.write_heading(spec, resumed, false);
        journal.flush();
        Ok(journal)
    }

    /// Takes one record down; it is written with the others of its turn.
    pub fn append(&mut self, record: Record) {
        self.turn.push((moment(), record));
    }

    /// The manifest of the pod is another one from here on.
    pub fn update_spec(&mut self, spec: PodSpec) {
        self.append(Record::Spec(Box::new(spec.clone())));
        if let Some(kept) = &mut self.kept {
            kept.spec = spec;
        }
    }

    /// Writes the turn. A disk that refuses does not stop the pod: the watcher is told all the same, and the missing numbers tell
    /// a reader.
    pub fn flush(&mut self) {
        let turn = std::mem::take(&mut self.turn);
        let told = match &mut self.kept {
            Some(kept) => kept.write_turn(turn),
            None => turn.into_iter().map(|(at, record)| Live::Passing { at, record: Box::new(record) }).collect(),
        };
        for live in told {
            // Nobody has to watch.
            let _ = self.watcher.send(live);
        }
        if let Some(kept) = &mut self.kept
            && kept.written >= kept.bytes_max / 2
        {
            self.turn_over();
        }
    }

    /// For what is shown but not kept.
    pub fn watcher(&self) -> mpsc::UnboundedSender<Live> {
        self.watcher.clone()
    }

    fn write_heading(&mut self, spec: PodSpec, resumed: bool, continued: bool) {
        let PodSpec { name, namespace, uid, .. } = spec.clone();
        let engine = Some(env!("CARGO_PKG_VERSION").to_owned());
        self.append(Record::Opened { version: JOURNAL_VERSION, name, namespace, uid, resumed, continued, engine });
        self.append(Record::Spec(Box::new(spec)));
    }

    /// The file is full: it becomes the older one, and what a reader needs to begin with goes into a fresh one.
    fn turn_over(&mut self) {
        let Some((spec, status)) = self.kept.as_mut().and_then(Kept::turn_over) else { return };
        self.write_heading(spec, false, true);
        if let Some(status) = status {
            self.append(Record::Status(status));
        }
        self.flush();
    }
}

impl Kept {
    fn open(path: &Path, spec: PodSpec, bytes_max: u64) -> io::Result<Self> {
        let file = open_file(path)?;
        let (mut next_seq, is_torn) = end_of(&file)?;
        if next_seq == 0
            && let Ok(older) = File::open(older(path))
        {
            next_seq = end_of(&older)?.0;
        }
        let written = file.metadata()?.len();
        let file = Arc::new(file);
        let (sync, sieve) = (sync_behind(&file, path), Sieve::default());
        Ok(Self { path: path.to_owned(), file, written, bytes_max, next_seq, is_torn, spec, last_status: None, sieve, sync })
    }

    /// Writes what the sieve keeps; returns all of the turn, to be told.
    fn write_turn(&mut self, turn: Vec<(Moment, Record)>) -> Vec<Live> {
        let (mut lines, mut told) = (Vec::new(), Vec::with_capacity(turn.len()));
        for passed in self.sieve.sift(turn) {
            told.push(if passed.is_kept {
                let entry = Entry { seq: self.next_seq, at: passed.at, record: passed.record };
                self.next_seq += 1;
                if let Record::Status(status) = &entry.record {
                    self.last_status = Some(status.clone());
                }
                push_line(&mut lines, &entry);
                Live::Entry(Box::new(entry))
            } else {
                Live::Passing { at: passed.at, record: Box::new(passed.record) }
            });
        }
        if !lines.is_empty() {
            self.write(&lines);
        }
        told
    }

    fn write(&mut self, lines: &[u8]) {
        let written = self.write_all(lines);
        if let Err(error) = written {
            tracing::warn!(%error, path = %self.path.display(), "cannot write the journal");
            self.is_torn = true;
        }
        if let Some(sync) = &self.sync {
            // One is enough: a sync that is asked for covers everything before it.
            let _ = sync.try_send(());
        }
    }

    fn write_all(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.is_torn {
            (&*self.file).write_all(b"\n")?;
            self.is_torn = false;
        }
        (&*self.file).write_all(lines)?;
        self.written += lines.len() as u64;
        Ok(())
    }

    /// Begins a fresh file; returns what it has to begin with.
    fn turn_over(&mut self) -> Option<(PodSpec, Option<PodStatus>)> {
        // The pod's share is not a promise to the pod: if it fails, it is tried again after as much again.
        self.written = 0;
        match std::fs::rename(&self.path, older(&self.path)).and_then(|()| open_file(&self.path)) {
            Ok(file) => {
                self.file = Arc::new(file);
                self.sync = sync_behind(&self.file, &self.path);
                self.is_torn = false;
                Some((self.spec.clone(), self.last_status.clone()))
            }
            Err(error) => {
                tracing::warn!(%error, path = %self.path.display(), "cannot begin another journal file");
                None
            }
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.flush();
        let Some(kept) = &self.kept else { return };
        // The pod is over, or its engine ends: the last words are worth a wait.
        if let Err(error) = kept.file.sync_data() {
            tracing::warn!(%error, path = %kept.path.display(), "cannot sync the journal");
        }
    }
}

/// Both clocks, now.
fn moment() -> Moment {
    let now = clock::moment();
    Moment { boot_nanos: now.boot_nanos, wall_nanos: now.wall_nanos }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).read(true).mode(0o600).open(path)
}

fn push_line(lines: &mut Vec<u8>, entry: &Entry) {
    let before = lines.len();
    match serde_json::to_writer(&mut *lines, entry) {
        Ok(()) => lines.push(b'\n'),
        Err(error) => {
            lines.truncate(before);
            tracing::warn!(%error, "cannot encode an entry of the journal");
        }
    }
}

/// Syncs the file while somebody asks for it, never twice at once; ends with the sender. `None` outside of an engine.
fn sync_behind(file: &Arc<File>, path: &Path) -> Option<mpsc::Sender<()>> {
    let engine = tokio::runtime::Handle::try_current().ok()?;
    let (sender, mut asked) = mpsc::channel(1);
    let (file, folder) = (Arc::clone(file), path.parent().map(Path::to_owned));
    engine.spawn(async move {
        let mut folder = folder;
        while asked.recv().await.is_some() {
            tokio::time::sleep(SYNC_AFTER).await;
            let (file, folder) = (Arc::clone(&file), folder.take());
            let synced = tokio::task::spawn_blocking(move || {
                file.sync_data()?;
                // Once: the name of the file.
                folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
            });
            match synced.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "cannot sync a journal"),
                Err(_) => return,
            }
        }
    });
    Some(sender)
}

#[derive(Deserialize)]
struct Numbered {
    seq: u64,
}

/// The number that follows the last entry of the file, and whether its last line has no end.
fn end_of(file: &File) -> io::Result<(u64, bool)> {
    let length = file.metadata()?.len();
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0)?;
    let is_torn = bytes.last().is_some_and(|last| *last != b'\n');
    let numbers = bytes.rsplit(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Numbered>(line).ok());
    Ok((numbers.map(|entry| entry.seq + 1).next().unwrap_or(0), is_torn))
}
