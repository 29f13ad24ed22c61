//! Histories, and whether one order of writes explains them. Pure.
//!
//! The order is that of resource versions. It explains a history if each write has a version of its own, later than those of all writes
//! that were over before it began; if each read, list and refusal fits to the state at some moment while it was asked; and if each watcher
//! was told every change after its beginning, once, in order, as what it was.

use std::collections::{BTreeMap, BTreeSet};

/// Nanoseconds since the beginning of the run.
pub(crate) type Moment = u128;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Create {
        key: String,
        number: u64,
    },
    /// Replaces the version that is named.
    Update {
        key: String,
        number: u64,
        version: u64,
    },
    /// Changes whatever there is.
    Patch {
        key: String,
        number: u64,
    },
    /// Deletes the version that is named.
    Delete {
        key: String,
        version: u64,
    },
    Get {
        key: String,
    },
    List,
}

/// What was answered: versions, and the numbers that objects carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Written(u64, u64),
    /// The version is not told; watchers know it.
    Deleted(Option<u64>),
    Found(u64, u64),
    Absent,
    Exists,
    Conflict,
    /// At a version: names, versions and numbers.
    Listed(u64, Vec<(String, u64, u64)>),
    /// The connection broke: it may have happened or not.
    Unknown(String),
}

/// One thing that a client asked for.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) begun: Moment,
    pub(crate) ended: Moment,
    pub(crate) ask: Ask,
    pub(crate) answer: Answer,
}

/// What one watch was told: kinds, names, versions and numbers of events.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The version after which it began.
    pub(crate) after: u64,
    pub(crate) events: Vec<(String, String, u64, u64)>,
    /// It has seen everything up to here.
    pub(crate) up_to: u64,
}

/// All that happened.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) ops: Vec<Op>,
    pub(crate) seen: Vec<Seen>,
}

/// A write in the order of versions: the object, and its number or its end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Write {
    key: String,
    number: Option<u64>,
}

/// All writes, in their order and by object.
#[derive(Debug, Default)]
struct Log {
    writes: BTreeMap<u64, Write>,
    by_key: BTreeMap<String, BTreeMap<u64, Option<u64>>>,
}

impl Log {
    /// Another write; what had its version already.
    fn add(&mut self, version: u64, write: Write) -> Option<Write> {
        self.by_key.entry(write.key.clone()).or_default().insert(version, write.number);
        self.writes.insert(version, write)
    }
}

impl Ask {
    fn key(&self) -> &str {
        match self {
            Self::Create { key, .. }
            | Self::Update { key, .. }
            | Self::Patch { key, .. }
            | Self::Delete { key, .. }
            | Self::Get { key } => key,
            Self::List => "",
        }
    }

    /// The write that this is, if it is done.
    fn write(&self) -> Option<Write> {
        match self {
            Self::Create { key, number } | Self::Update { key, number, .. } | Self::Patch { key, number } => {
                Some(Write { key: key.clone(), number: Some(*number) })
            }
            Self::Delete { key, .. } => Some(Write { key: key.clone(), number: None }),
            Self::Get { .. } | Self::List => None,
        }
    }
}

impl Op {
    /// The version of the write, if it was done.
    fn version(&self) -> Option<u64> {
        match &self.answer {
            Answer::Written(version, _) | Answer::Deleted(Some(version)) => Some(*version),
            Answer::Deleted(None)
            | Answer::Found(..)
            | Answer::Absent
            | Answer::Exists
            | Answer::Conflict
            | Answer::Listed(..)
            | Answer::Unknown(_) => None,
        }
    }

    /// What the write wrote.
    fn number(&self) -> Option<u64> {
        self.ask.write()?.number
    }

    fn is_unknown(&self) -> bool {
        matches!(self.answer, Answer::Unknown(_))
    }
}

impl History {
    /// Checks all of it; the first thing that is wrong.
    pub(crate) fn check(mut self) -> Result<(), String> {
        self.find_deletions()?;
        let log = self.log()?;
        self.check_time()?;
        let bounds = Bounds::of(&self.ops);
        for op in &self.ops {
            check_op(op, &log, bounds.around(op)).map_err(|wrong| format!("{wrong}: {op:?}"))?;
        }
        self.seen.iter().try_for_each(|seen| check_seen(seen, &log))
    }

    /// Gives each deletion the version under which it was told. A deletion names the version that it ends, and no two can end the same.
    fn find_deletions(&mut self) -> Result<(), String> {
        // What writers were told of their writes is surer than what others saw of them.
        let mut written: BTreeMap<u64, u64> =
            self.told().into_iter().filter_map(|(version, write)| Some((version, write.number?))).collect();
        written.extend(self.ops.iter().filter_map(|op| Some((op.version()?, op.number()?))));
        let ends = self.seen.iter().flat_map(|seen| &seen.events).filter(|(kind, ..)| kind == "DELETED");
        let ends: BTreeMap<u64, u64> = ends.map(|(.., version, number)| (*number, *version)).collect();
        for op in &mut self.ops {
            let (Ask::Delete { version, .. }, Answer::Deleted(at @ None)) = (&op.ask, &mut op.answer) else { continue };
            *at = written.get(version).and_then(|number| ends.get(number)).copied();
            if at.is_none() {
                return Err(format!("all watches missed {op:?}"));
            }
        }
        Ok(())
    }

    /// Every write by its version. One whose answer was lost is known from those who saw it.
    fn log(&self) -> Result<Log, String> {
        let mut log = Log::default();
        for op in &self.ops {
            let (Some(version), Some(write)) = (op.version(), op.ask.write()) else { continue };
            if let Some(other) = log.add(version, write) {
                return Err(format!("version {version} was given twice: {other:?}, {op:?}"));
            }
        }
        // Numbers are never used twice, so what was seen belongs to one of the lost writes, or to nobody.
        let mut lost: Vec<Write> = self.ops.iter().filter(|op| op.is_unknown()).filter_map(|op| op.ask.write()).collect();
        for (version, write) in self.told() {
            if log.writes.contains_key(&version) {
                continue;
            }
            let Some(at) = lost.iter().position(|lost| *lost == write) else {
                return Err(format!("version {version} is of a write that nobody made: {write:?}"));
            };
            lost.remove(at);
            log.add(version, write);
        }
        Ok(log)
    }

    /// Every write that anybody was told of.
    fn told(&self) -> BTreeSet<(u64, Write)> {
        let there = |version: &u64, key: &str, number: &u64| (*version, Write { key: key.to_owned(), number: Some(*number) });
        let mut told = BTreeSet::new();
        for (kind, key, version, number) in self.seen.iter().flat_map(|seen| &seen.events) {
            told.insert(if kind == "DELETED" { (*version, Write { key: key.clone(), number: None }) } else { there(version, key, number) });
        }
        for op in &self.ops {
            match &op.answer {
                Answer::Found(version, number) => drop(told.insert(there(version, op.ask.key(), number))),
                Answer::Listed(_, items) => told.extend(items.iter().map(|(key, version, number)| there(version, key, number))),
                Answer::Written(..) | Answer::Deleted(_) | Answer::Absent | Answer::Exists | Answer::Conflict | Answer::Unknown(_) => {}
            }
        }
        told
    }

    /// Versions never go back from one write to another that began after it.
    fn check_time(&self) -> Result<(), String> {
        let mut writes: Vec<&Op> = self.ops.iter().filter(|op| op.version().is_some()).collect();
        writes.sort_by_key(|op| op.begun);
        let by_begin = writes.clone();
        writes.sort_by_key(|op| op.ended);
        let mut over = writes.into_iter().peekable();
        let mut latest: Option<&Op> = None;
        for op in by_begin {
            while let Some(ended) = over.next_if(|other| other.ended < op.begun) {
                latest = latest.filter(|latest| latest.version() > ended.version()).or(Some(ended));
            }
            if let Some(latest) = latest.filter(|latest| latest.version() > op.version()) {
                return Err(format!("{latest:?} has the later version, though it was over before {op:?} began"));
            }
        }
        Ok(())
    }

    /// Whether enough happened for the check to mean something.
    pub(crate) fn is_telling(&self) -> bool {
        let writes = self.ops.iter().filter(|op| op.version().is_some()).count();
        let refusals = self.ops.iter().filter(|op| matches!(op.answer, Answer::Conflict | Answer::Exists)).count();
        writes > 50 && refusals > 5 && self.seen.len() > 6
    }

    pub(crate) fn figures(&self) -> String {
        let count = |is_so: fn(&Op) -> bool| self.ops.iter().filter(|op| is_so(op)).count();
        format!(
            "{} requests, {} writes, {} refused, {} reads, {} broken off; {} watches, {} events",
            self.ops.len(),
            count(|op| op.version().is_some()),
            count(|op| matches!(op.answer, Answer::Conflict | Answer::Exists)),
            count(|op| matches!(op.answer, Answer::Found(..) | Answer::Absent | Answer::Listed(..))),
            count(Op::is_unknown),
            self.seen.len(),
            self.seen.iter().map(|seen| seen.events.len()).sum::<usize>(),
        )
    }
}

/// Between which versions the state was that an answer tells of.
struct Bounds {
    /// Ends of writes, each with the last version of those that were over.
    over: Vec<(Moment, u64)>,
    /// Beginnings of writes, each with the first version of those that begin there or later.
    to_come: Vec<(Moment, u64)>,
}

impl Bounds {
    fn of(ops: &[Op]) -> Self {
        let mut over: Vec<_> = ops.iter().filter_map(|op| Some((op.ended, op.version()?))).collect();
        over.sort_unstable();
        let mut last = 0;
        for (_, version) in &mut over {
            last = last.max(*version);
            *version = last;
        }
        let mut to_come: Vec<_> = ops.iter().filter_map(|op| Some((op.begun, op.version()?))).collect();
        to_come.sort_unstable();
        let mut first = u64::MAX;
        for (_, version) in to_come.iter_mut().rev() {
            first = first.min(*version);
            *version = first;
        }
        Self { over, to_come }
    }

    /// After all writes that were over before, and before all that began after.
    fn around(&self, op: &Op) -> (u64, u64) {
        let over = self.over.partition_point(|(ended, _)| *ended < op.begun);
        let first = over.checked_sub(1).map_or(0, |at| self.over[at].1);
        let to_come = self.to_come.partition_point(|(begun, _)| *begun <= op.ended);
        (first, self.to_come.get(to_come).map_or(u64::MAX, |(_, version)| version - 1))
    }
}

fn check_op(op: &Op, log: &Log, (first, last): (u64, u64)) -> Result<(), String> {
    let is_possible = |what: &str, is_so: &dyn Fn(Option<u64>) -> bool| {
        if states(op.ask.key(), log, first, last).any(is_so) { Ok(()) } else { Err(what.to_owned()) }
    };
    match (&op.ask, &op.answer) {
        (_, Answer::Unknown(_)) => Ok(()),
        (Ask::Get { .. }, Answer::Found(version, number)) => {
            let written = log.writes.get(version).and_then(|write| write.number);
            if written != Some(*number) {
                Err(format!("version {version} was written with {written:?}"))
            } else if *version > last {
                Err("a read of the future".to_owned())
            } else {
                is_possible("a stale read", &|state| state == Some(*version))
            }
        }
        (Ask::Get { .. } | Ask::Patch { .. } | Ask::Update { .. } | Ask::Delete { .. }, Answer::Absent) => {
            is_possible("absent, while it was there", &|state| state.is_none())
        }
        (Ask::Create { .. }, Answer::Exists) => is_possible("it exists, while it was absent", &|state| state.is_some()),
        (Ask::Update { version, .. } | Ask::Delete { version, .. }, Answer::Conflict) => {
            is_possible("a conflict without a reason", &|state| state != Some(*version))
        }
        (Ask::List, Answer::Listed(at, items)) => check_list(*at, items, log, first, last),
        (ask, Answer::Written(version, _) | Answer::Deleted(Some(version))) => {
            check_write(ask, &op.answer, before(ask.key(), log, *version))
        }
        _ => Err("an answer that does not fit".to_owned()),
    }
}

/// What an object was just before a version: its own, if it was there.
fn before(key: &str, log: &Log, version: u64) -> Option<u64> {
    let (version, number) = log.by_key.get(key)?.range(..version).next_back()?;
    number.map(|_| *version)
}

/// What an object was, one state after the other, from one version to another.
fn states<'l>(key: &'l str, log: &'l Log, first: u64, last: u64) -> impl Iterator<Item = Option<u64>> + 'l {
    let begin = before(key, log, first.saturating_add(1));
    let later =
        log.by_key.get(key).into_iter().flat_map(move |writes| writes.range(first + 1..)).take_while(move |(version, _)| **version <= last);
    std::iter::once(begin).chain(later.map(|(version, number)| number.map(|_| *version)))
}

fn check_write(ask: &Ask, answer: &Answer, before: Option<u64>) -> Result<(), String> {
    let is_right = match (ask, answer) {
        (Ask::Create { number, .. }, Answer::Written(_, written)) => before.is_none() && number == written,
        (Ask::Update { number, version, .. }, Answer::Written(_, written)) => before == Some(*version) && number == written,
        (Ask::Patch { number, .. }, Answer::Written(_, written)) => before.is_some() && number == written,
        (Ask::Delete { version, .. }, Answer::Deleted(_)) => before == Some(*version),
        _ => false,
    };
    if is_right { Ok(()) } else { Err(format!("a write to {before:?} that should have been refused")) }
}

fn check_list(at: u64, items: &[(String, u64, u64)], log: &Log, first: u64, last: u64) -> Result<(), String> {
    if at < first {
        return Err(format!("a stale list: writes up to {first} were over"));
    }
    if at > last {
        return Err(format!("a list of the future: {last} was the last write that had begun"));
    }
    let state = log.by_key.keys().filter_map(|key| {
        let version = before(key, log, at + 1)?;
        Some((key.clone(), (version, log.writes[&version].number?)))
    });
    let state: BTreeMap<_, _> = state.collect();
    let listed: BTreeMap<_, _> = items.iter().map(|(key, version, number)| (key.clone(), (*version, *number))).collect();
    if listed == state { Ok(()) } else { Err(format!("the list at {at} should be {state:?}")) }
}

fn check_seen(seen: &Seen, log: &Log) -> Result<(), String> {
    let mut last = seen.after;
    let mut events = seen.events.iter();
    for (version, write) in log.writes.range(seen.after + 1..=seen.up_to) {
        let Some((kind, key, told, number)) = events.next() else { return Err(format!("a watch missed version {version}: {seen:?}")) };
        if *told <= last {
            return Err(format!("a watch was told version {told} out of order or twice: {seen:?}"));
        }
        last = *told;
        if told != version {
            let later_told = seen.events.iter().any(|(_, _, later, _)| later == version);
            let what = if later_told { "was told out of order or twice" } else { "missed" };
            return Err(format!("a watch {what} version {version}: {seen:?}"));
        }
        let was_there = before(&write.key, log, *version);
        let expected = match (write.number, was_there) {
            (None, _) => "DELETED",
            (Some(_), None) => "ADDED",
            (Some(_), Some(_)) => "MODIFIED",
        };
        if kind != expected || key != &write.key {
            return Err(format!("version {version} of {} is {expected} and is told as {kind} of {key}", write.key));
        }
        let content = write.number.or_else(|| was_there.and_then(|before| log.writes[&before].number));
        if content != Some(*number) {
            return Err(format!("version {version} has {content:?} and is told with {number}"));
        }
    }
    match events.next() {
        Some(more) => Err(format!("a watch was told more than there is, or nobody wrote it: {more:?}; {seen:?}")),
        None => Ok(()),
    }
}
