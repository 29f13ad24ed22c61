//! What the API has acknowledged, and what it may have done when a connection broke.
//!
//! Each object belongs to one thread of the load, so what it may look like is known: one state, or several while the outcome of a
//! request is unknown. Looking at the API settles which.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Instant;

use serde_json::Value;

use crate::support::PATIENCE;
use crate::workload::{End, Evidence, Kind};

/// Whether something took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    No,
    Unknown,
    Yes,
}

/// A pod of the load.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) kind: Kind,
    pub(crate) evidence: PathBuf,
    pub(crate) uid: Option<String>,
    pub(crate) created: Fact,
    pub(crate) deleted: Fact,
    /// It was asked to go faster than by its own grace, perhaps.
    pub(crate) is_hurried: bool,
    pub(crate) is_gone: bool,
    /// Its shim was killed, perhaps.
    pub(crate) is_lost: bool,
    pub(crate) deleted_at: Option<Instant>,
    /// What its annotation may be.
    pub(crate) mark: Register,
    /// Ids of its containers, by name, as they were first seen.
    pub(crate) containers: BTreeMap<String, String>,
}

impl Pod {
    pub(crate) fn new(kind: Kind, evidence: PathBuf) -> Self {
        Self {
            kind,
            evidence,
            uid: None,
            created: Fact::No,
            deleted: Fact::No,
            is_hurried: false,
            is_gone: false,
            is_lost: false,
            deleted_at: None,
            mark: Register::default(),
            containers: BTreeMap::new(),
        }
    }

    /// Whether it shall be there, as far as anybody knows.
    pub(crate) fn shall_live(&self) -> bool {
        self.created == Fact::Yes && self.deleted == Fact::No && !self.is_gone
    }

    fn end(&self) -> End {
        match (self.is_lost, self.deleted, self.is_hurried) {
            (true, ..) => End::Lost,
            (false, Fact::No, _) => End::Lives,
            (false, _, true) => End::Hurried,
            (false, _, false) => End::Graceful,
        }
    }

    /// Compares it with what the API has of it.
    fn look(&mut self, seen: Option<&Value>) -> Result<(), String> {
        let Some(pod) = seen else { return self.look_absent() };
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        if self.created == Fact::No || self.is_gone {
            return Err("it is there, and should not be".to_owned());
        }
        self.created = Fact::Yes;
        if self.uid.get_or_insert_with(|| uid.clone()) != &uid {
            return Err(format!("its uid is {uid}"));
        }
        let is_going = !pod["metadata"]["deletionTimestamp"].is_null();
        match (self.deleted, is_going) {
            (Fact::Yes, false) => return Err("its acknowledged deletion is forgotten".to_owned()),
            (Fact::No, true) => return Err("nobody asked that it go".to_owned()),
            (Fact::Unknown, false) => self.deleted = Fact::No,
            (Fact::Unknown, true) => self.deleted = Fact::Yes,
            (Fact::Yes, true) | (Fact::No, false) => {}
        }
        if is_going && self.deleted_at.is_some_and(|at| at.elapsed() > PATIENCE) {
            return Err("it does not go".to_owned());
        }
        self.mark.settle(pod["metadata"]["annotations"]["mark"].as_str())?;
        if self.is_lost { Ok(()) } else { self.look_at_containers(pod) }
    }

    fn look_absent(&mut self) -> Result<(), String> {
        match (self.created, self.deleted) {
            (Fact::Yes, Fact::No) => return Err("it is lost, though its creation was acknowledged".to_owned()),
            (Fact::Unknown, Fact::No) => {
                if !Evidence::read(&self.evidence).is_empty() {
                    return Err("it ran, though the API does not have it".to_owned());
                }
            }
            (Fact::No, _) | (_, Fact::Yes | Fact::Unknown) => {}
        }
        self.is_gone = true;
        Ok(())
    }

    /// No container is another one than before, and none was restarted that is not to be.
    fn look_at_containers(&mut self, pod: &Value) -> Result<(), String> {
        let lists = ["containerStatuses", "initContainerStatuses"].map(|list| pod["status"][list].as_array().cloned().unwrap_or_default());
        for status in lists.iter().flatten() {
            let name = status["name"].as_str().unwrap_or_default().to_owned();
            let restarts = if name == "main" { self.kind.restarts() } else { 0 };
            let count = status["restartCount"].as_u64().unwrap_or_default();
            if count > restarts {
                return Err(format!("{name} was restarted {count} times: {status}"));
            }
            let Some(id) = status["containerID"].as_str().filter(|id| !id.is_empty()) else { continue };
            let known = self.containers.entry(name.clone()).or_insert_with(|| id.to_owned());
            if known != id && restarts == 0 {
                return Err(format!("{name} is {id} and was {known}"));
            }
        }
        Ok(())
    }
}

/// The values that something may have.
#[derive(Clone, Debug)]
pub(crate) struct Register {
    possible: BTreeSet<Option<String>>,
}

impl Default for Register {
    fn default() -> Self {
        Self { possible: BTreeSet::from([None]) }
    }
}

impl Register {
    /// It was set, which is acknowledged.
    pub(crate) fn set(&mut self, value: Option<String>) {
        self.possible = BTreeSet::from([value]);
    }

    /// It was set, or not.
    pub(crate) fn may_be(&mut self, value: Option<String>) {
        self.possible.insert(value);
    }

    /// The value, if there is no doubt.
    pub(crate) fn known(&self) -> Option<&Option<String>> {
        self.possible.first().filter(|_| self.possible.len() == 1)
    }

    /// What it is seen to be is what it is.
    fn settle(&mut self, seen: Option<&str>) -> Result<(), String> {
        let seen = seen.map(ToOwned::to_owned);
        if !self.possible.contains(&seen) {
            return Err(format!("its value is {seen:?}, acknowledged was one of {:?}", self.possible));
        }
        self.set(seen);
        Ok(())
    }
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) config_maps: BTreeMap<String, Register>,
    pub(crate) sessions: usize,
    pub(crate) acknowledged: usize,
}

impl Ledger {
    /// Compares all with what the API has; what is wrong.
    pub(crate) fn look(&mut self, pods: &Value, config_maps: &Value) -> Vec<String> {
        let mut wrong = Vec::new();
        let seen = by_name(pods);
        for (name, pod) in self.pods.iter_mut().filter(|(name, pod)| !pod.is_gone || seen.contains_key(name.as_str())) {
            if let Err(why) = pod.look(seen.get(name.as_str()).copied()) {
                wrong.push(format!("pod {name} ({:?}): {why}", pod.kind));
            }
        }
        wrong.extend(seen.keys().filter(|name| !self.pods.contains_key(**name)).map(|name| format!("pod {name} comes from nowhere")));
        let seen = by_name(config_maps);
        for (name, register) in &mut self.config_maps {
            if let Err(why) = register.settle(seen.get(name.as_str()).and_then(|map| map["data"]["value"].as_str())) {
                wrong.push(format!("config map {name}: {why}"));
            }
        }
        wrong
    }

    /// What the containers of pods that are there wrote down so far and must not have.
    pub(crate) fn examine_so_far(&self) -> Vec<String> {
        Self::examine(self.pods.iter().filter(|(_, pod)| !pod.is_gone), Evidence::check_so_far)
    }

    /// What the containers of all pods wrote down and must not have, or must have and did not, when everything has settled.
    pub(crate) fn examine_settled(&self) -> Vec<String> {
        Self::examine(self.pods.iter(), Evidence::check_settled)
    }

    fn examine<'a>(
        pods: impl Iterator<Item = (&'a String, &'a Pod)>,
        check: impl Fn(&Evidence, Kind, End) -> Result<(), String>,
    ) -> Vec<String> {
        let examined = pods.filter_map(|(name, pod)| {
            let why = check(&Evidence::read(&pod.evidence), pod.kind, pod.end()).err()?;
            Some(format!("pod {name} ({:?}, {:?}): {why}", pod.kind, pod.end()))
        });
        examined.collect()
    }
}

fn by_name(list: &Value) -> BTreeMap<&str, &Value> {
    let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().filter_map(|item| Some((item["metadata"]["name"].as_str()?, item))).collect()
}
