//! Logs that nobody reads any more: those of dead instances of containers, and those of pods that are gone, when there are too many or too
//! old ones.
//!
//! The folder of logs may be shared with other engines. So only logs of pods of which this root remembers something are touched: a journal,
//! or a mark in `gone`, which is made when there is no journal of it any more, and goes with its logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::dead::DeadInstance;
use crate::NodeConfig;

/// The folder of marks, below the root.
const GONE_FOLDER: &str = "gone";
/// Logs of pods that are gone, in bytes, by default.
const BYTES_MAX_DEFAULT: u64 = 512 << 20;
/// How long they are kept by default: as long as journals.
const AGE_MAX_DEFAULT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How much is kept of the logs of pods that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPolicy {
    /// So many bytes, the newest; 0 keeps none, as the reference does.
    pub bytes_max: u64,
    /// For so long.
    pub age_max: Duration,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { bytes_max: BYTES_MAX_DEFAULT, age_max: AGE_MAX_DEFAULT }
    }
}

/// A pod as files are named after it: `NAMESPACE_NAME_UID`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

impl PodName {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '_').map(ToOwned::to_owned);
        Some(Self { namespace: parts.next()?, name: parts.next()?, uid: parts.next()? })
    }
}

impl std::fmt::Display for PodName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}_{}", self.namespace, self.name, self.uid)
    }
}

/// Remembers that a pod was here, so that its logs, if there are any, can be found when no journal tells of it.
///
/// # Errors
/// When the mark cannot be made.
pub fn mark_gone(node: &NodeConfig, pod: &PodName) -> io::Result<()> {
    if !node.log_root.join(pod.to_string()).exists() {
        return Ok(());
    }
    let folder = node.root.join(GONE_FOLDER);
    fs::create_dir_all(&folder)?;
    fs::File::create(folder.join(pod.to_string())).map(drop)
}

/// Pods of which this root remembers something and that have no folder any more.
///
/// # Errors
/// When the root cannot be listed.
pub fn remembered(node: &NodeConfig) -> io::Result<Vec<PodName>> {
    let mut found = BTreeSet::new();
    for name in names_in(&node.root.join(GONE_FOLDER))? {
        found.extend(PodName::parse(&name));
    }
    found.extend(journaled(node)?);
    Ok(found.into_iter().filter(|pod| !node.pod_dir(&pod.uid).exists()).collect())
}

/// Pods that have a journal.
///
/// # Errors
/// When the journals cannot be listed.
pub fn journaled(node: &NodeConfig) -> io::Result<BTreeSet<PodName>> {
    let names = names_in(&node.journal_dir())?;
    Ok(names.iter().filter_map(|name| PodName::parse(name.strip_suffix(".jsonl")?)).collect())
}

fn names_in(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Logs of a pod that is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoneLogs {
    /// Of which pod.
    pub pod: PodName,
    /// How large they are.
    pub bytes: u64,
    /// When they were written to, since 1970.
    pub written_at: Duration,
}

/// The logs that are too many or too old; `now` is wall-clock time since 1970.
pub fn too_many(mut logs: Vec<GoneLogs>, policy: &LogPolicy, now: Duration) -> Vec<GoneLogs> {
    // The newest first: what does not fit any more is older than all that does.
    logs.sort_by(|a, b| b.written_at.cmp(&a.written_at).then_with(|| a.pod.cmp(&b.pod)));
    let mut kept = 0_u64;
    let mut is_full = false;
    logs.retain(|logs| {
        is_full |= kept.saturating_add(logs.bytes) > policy.bytes_max || policy.bytes_max == 0;
        let goes = is_full || now.saturating_sub(logs.written_at) > policy.age_max;
        if !goes {
            kept += logs.bytes;
        }
        goes
    });
    logs
}

/// The logs of pods that are gone, and the marks of those that have none.
///
/// # Errors
/// When a folder cannot be read.
pub fn measure(node: &NodeConfig, gone: &[PodName]) -> io::Result<Vec<GoneLogs>> {
    let mut found = Vec::new();
    for pod in gone {
        match size_of(&node.log_root.join(pod.to_string()))? {
            Some((bytes, written_at)) => found.push(GoneLogs { pod: pod.clone(), bytes, written_at }),
            None => forget(node, pod)?,
        }
    }
    Ok(found)
}

/// Removes the logs of a pod that is gone. Only what logs are made of: `CONTAINER/N.log…`; anything else stays, and its folder with it.
///
/// # Errors
/// When something of it cannot be removed.
pub fn remove(node: &NodeConfig, pod: &PodName) -> io::Result<()> {
    let folder = node.log_root.join(pod.to_string());
    for container in folders_in(&folder)? {
        for file in files_of(&container)?.into_values().flatten() {
            ignore_missing(fs::remove_file(file))?;
        }
        remove_if_empty(&container)?;
    }
    remove_if_empty(&folder)?;
    forget(node, pod)
}

/// The instances before the newest one of each container of a pod that is there, as far as they have logs.
///
/// # Errors
/// When a folder cannot be read.
pub fn dead_instances(node: &NodeConfig, pod: &PodName) -> io::Result<Vec<DeadInstance>> {
    let mut dead = Vec::new();
    for folder in folders_in(&node.log_root.join(pod.to_string()))? {
        let container = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (instance, files) in files_of(&folder)?.into_iter().rev().skip(1) {
            let written = files.iter().filter_map(|file| fs::symlink_metadata(file).and_then(|metadata| metadata.modified()).ok()).max();
            let written_at = since_1970(written.unwrap_or(UNIX_EPOCH));
            dead.push(DeadInstance { pod: pod.clone(), container: container.clone(), instance, written_at, files });
        }
    }
    Ok(dead)
}

/// Removes the logs of dead instances; returns how many files went.
///
/// # Errors
/// When a file cannot be removed.
pub fn remove_instances(dead: Vec<DeadInstance>) -> io::Result<u64> {
    let mut removed = 0;
    for file in dead.into_iter().flat_map(|instance| instance.files) {
        ignore_missing(fs::remove_file(file))?;
        removed += 1;
    }
    Ok(removed)
}

fn forget(node: &NodeConfig, pod: &PodName) -> io::Result<()> {
    ignore_missing(fs::remove_file(node.root.join(GONE_FOLDER).join(pod.to_string())))
}

/// Bytes, and the last time of writing; `None` if there is no such folder.
fn size_of(folder: &Path) -> io::Result<Option<(u64, Duration)>> {
    let Ok(metadata) = fs::symlink_metadata(folder) else { return Ok(None) };
    let (mut bytes, mut written_at) = (0, metadata.modified()?);
    for container in folders_in(folder)? {
        for file in files_of(&container)?.into_values().flatten() {
            let Ok(metadata) = fs::symlink_metadata(&file) else { continue };
            bytes += metadata.len();
            written_at = written_at.max(metadata.modified()?);
        }
    }
    Ok(Some((bytes, since_1970(written_at))))
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Folders of containers. Links are not followed.
fn folders_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let names = names_in(folder)?;
    Ok(names.into_iter().map(|name| folder.join(name)).filter(|path| fs::symlink_metadata(path).is_ok_and(|data| data.is_dir())).collect())
}

/// The files of a container's logs, by instance: `3.log`, `3.log.20260102-030405`.
fn files_of(container: &Path) -> io::Result<BTreeMap<u32, Vec<PathBuf>>> {
    let mut instances: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    for name in names_in(container)? {
        let Some((number, rest)) = name.split_once(".log") else { continue };
        let Ok(number) = number.parse() else { continue };
        if rest.is_empty() || rest.starts_with('.') {
            instances.entry(number).or_default().push(container.join(name));
        }
    }
    Ok(instances)
}

fn remove_if_empty(folder: &Path) -> io::Result<()> {
    match fs::remove_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        result => ignore_missing(result),
    }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str) -> PodName {
        PodName { namespace: "ns".to_owned(), name: name.to_owned(), uid: format!("uid-{name}") }
    }

    fn logs(name: &str, bytes: u64, secs: u64) -> GoneLogs {
        GoneLogs { pod: pod(name), bytes, written_at: Duration::from_secs(secs) }
    }

    fn names(logs: &[GoneLogs]) -> Vec<&str> {
        logs.iter().map(|logs| logs.pod.name.as_str()).collect()
    }

    #[test]
    fn the_oldest_logs_go_first_and_those_that_are_too_old_in_any_case() {
        let all = || vec![logs("c", 40, 30), logs("a", 50, 10), logs("d", 30, 40), logs("b", 10, 20)];
        let now = Duration::from_secs(50);
        let age_max = Duration::from_secs(100);
        assert_eq!(names(&too_many(all(), &LogPolicy { bytes_max: 130, age_max }, now)), [""; 0]);
        assert_eq!(names(&too_many(all(), &LogPolicy { bytes_max: 100, age_max }, now)), ["a"]);
        assert_eq!(names(&too_many(all(), &LogPolicy { bytes_max: 69, age_max }, now)), ["c", "b", "a"], "no older one stays for a newer");
        assert_eq!(names(&too_many(all(), &LogPolicy { bytes_max: 0, age_max }, now)), ["d", "c", "b", "a"]);
        let short = LogPolicy { bytes_max: 130, age_max: Duration::from_secs(25) };
        assert_eq!(names(&too_many(all(), &short, now)), ["b", "a"]);
    }

    fn node(folder: &Path) -> NodeConfig {
        NodeConfig {
            allocations: crate::Allocations::default(),
            root: folder.join("root"),
            log_root: folder.join("logs"),
            node_name: "n".to_owned(),
            host_ips: vec![],
            log_max_bytes: 1,
            log_max_files: 2,
            journal: crate::journal::JournalLimits::default(),
            pod_pids_max: None,
            back_off_max: lifecycle::BACK_OFF_MAX,
            pulls: None,
        }
    }

    fn write(node: &NodeConfig, pod: &PodName, file: &str) {
        let path = node.log_root.join(pod.to_string()).join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, "12345").expect("written");
    }

    #[test]
    fn only_logs_of_pods_that_were_here_are_touched_and_only_what_logs_are_made_of() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = node(folder.path());
        let [marked, journaled, strange, here, mine] = ["marked", "journaled", "strange", "here", "mine"].map(pod);
        for pod in [&marked, &journaled, &strange, &here, &mine] {
            write(&node, pod, "app/0.log");
            write(&node, pod, "app/0.log.20260102-030405");
        }
        write(&node, &mine, "app/notes");
        for pod in [&marked, &here, &mine, &pod("without")] {
            mark_gone(&node, pod).expect("marked");
        }
        fs::create_dir_all(node.journal_dir()).expect("made");
        fs::write(node.journal_path("ns", "journaled", "uid-journaled"), "").expect("written");
        fs::create_dir_all(node.pod_dir(&here.uid)).expect("made");

        let gone = remembered(&node).expect("listed");
        assert_eq!(gone, [journaled.clone(), marked.clone(), mine.clone()], "one without logs needs no mark");
        let measured = measure(&node, &gone).expect("measured");
        assert_eq!(measured.iter().map(|logs| logs.bytes).collect::<Vec<_>>(), [10, 10, 10]);
        for pod in &gone {
            remove(&node, pod).expect("removed");
        }
        let left = names_in(&node.log_root).expect("listed").into_iter().collect::<BTreeSet<_>>();
        assert_eq!(left, [&strange, &here, &mine].map(ToString::to_string).into_iter().collect());
        assert_eq!(names_in(&node.log_root.join(mine.to_string()).join("app")).expect("listed"), ["notes"]);
        assert_eq!(names_in(&node.root.join(GONE_FOLDER)).expect("listed"), [here.to_string()], "marks go with the logs");
    }

    #[test]
    fn dead_instances_are_those_before_the_newest_and_their_logs_are_all_that_goes() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = node(folder.path());
        let pod = pod("web");
        for file in ["app/8.log", "app/9.log", "app/9.log.20260102-030405", "app/10.log", "app/11.log", "other/0.log", "app/x.log"] {
            write(&node, &pod, file);
        }
        let dead = dead_instances(&node, &pod).expect("found");
        let found: Vec<_> = dead.iter().map(|dead| (dead.container.as_str(), dead.instance, dead.files.len())).collect();
        assert_eq!(found, [("app", 10, 1), ("app", 9, 2), ("app", 8, 1)]);
        assert!(dead.iter().all(|dead| dead.written_at > Duration::ZERO), "{dead:?}");
        let old = dead.into_iter().filter(|dead| dead.instance < 10).collect();
        assert_eq!(remove_instances(old).expect("removed"), 3);
        let mut left = names_in(&node.log_root.join(pod.to_string()).join("app")).expect("listed");
        left.sort();
        assert_eq!(left, ["10.log", "11.log", "x.log"]);
        assert_eq!(dead_instances(&node, &PodName { uid: "none".to_owned(), ..pod }).expect("no logs at all"), []);
    }
}
