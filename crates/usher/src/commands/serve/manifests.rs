//! The manifest folder: what its files say, and every change of that.
//!
//! Not the pods themselves: see [`statics`](super::statics). A file that cannot be used is told of once for each change of it, and
//! leaves the others alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use api::defaults::DEFAULT_NAMESPACE;
use api::{Diagnostic, LoadOptions, NodeSupport, Object, Overrides, Severity, Source};
use k8s_openapi::jiff;
use node::Pod;
use node::folder_watch::FolderWatch;
use node::static_pods::{Origin, hash, static_pod};
use tokio::time::{Interval, MissedTickBehavior};

/// Time between two looks when nothing is told of, as the reference has it (`fileCheckFrequency`).
pub(super) const EVERY_DEFAULT: Duration = Duration::from_secs(20);
/// Files that are looked at; more are nobody's manifests.
const FILES_MAX: usize = 1_000;
/// What is wrong with a file is told with so many findings.
const FINDINGS_MAX: usize = 3;

/// A folder of manifests, or a single one.
#[derive(Debug)]
pub(super) struct ManifestFolder {
    path: PathBuf,
    node_name: String,
    /// What the node does for its pods.
    support: NodeSupport,
    watch: Option<FolderWatch>,
    looks: Interval,
    files: BTreeMap<PathBuf, Known>,
    /// Why the folder cannot be listed, as it was told.
    unreadable: Option<String>,
}

/// What is known of a file.
#[derive(Debug)]
struct Known {
    content: Option<u128>,
    says: Result<Box<Pod>, String>,
    /// Another file has a pod of this name, as it was told.
    is_second: bool,
}

/// What a look came to.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The pods that the files describe.
    pub(super) pods: Vec<Pod>,
    /// Names of files that cannot be used.
    pub(super) bad_files: Vec<String>,
    /// What is wrong, of each file that is left out.
    pub(super) complaints: Vec<String>,
}

impl ManifestFolder {
    pub(super) fn new(path: PathBuf, node_name: &str, every: Duration) -> Self {
        let mut looks = tokio::time::interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let node_name = node_name.to_owned();
        Self { path, node_name, support: NodeSupport::default(), watch: None, looks, files: BTreeMap::new(), unreadable: None }
    }

    /// The same, of a node that does this for its pods.
    pub(super) fn with_support(self, support: NodeSupport) -> Self {
        Self { support, ..self }
    }

    /// Waits until something may have changed. May be dropped and called again: nothing is lost.
    pub(super) async fn changed(&mut self) {
        let Self { watch, looks, path, .. } = self;
        let told = async {
            match watch.as_ref() {
                Some(watch) => watch.changed().await,
                None => std::future::pending().await,
            }
        };
        let told = tokio::select! {
            told = told => told,
            // A folder may have come, or another one may have taken its name.
            _ = looks.tick() => {
                *watch = None;
                return;
            }
        };
        if let Err(error) = told {
            tracing::warn!(%error, folder = %path.display(), "changes of manifests are found by looking only");
            *watch = None;
        }
    }

    /// Reads what has changed. `None` if the folder cannot be read: then nothing is known of what is wanted.
    pub(super) fn look(&mut self) -> (Option<Look>, Vec<String>) {
        if self.watch.is_none() {
            // Before reading, so that no change is missed. Of a single file the folder around it is watched.
            let folder = if self.path.is_dir() { Some(self.path.as_path()) } else { self.path.parent() };
            self.watch = folder.and_then(|folder| FolderWatch::new(folder).ok());
        }
        let found = match manifests(&self.path) {
            Ok(found) => found,
            Err(error) => {
                let text = format!("cannot list the manifests in {}: {error}", self.path.display());
                let is_news = self.unreadable.as_ref() != Some(&text);
                self.unreadable = Some(text.clone());
                return (None, if is_news { vec![text] } else { Vec::new() });
            }
        };
        self.unreadable = None;
        self.files.retain(|path, _| found.contains(path));
        let mut news = Vec::new();
        for path in found {
            self.read(&path, &mut news);
        }
        let look = self.collect(&mut news);
        (Some(look), news)
    }

    /// Reads a file if it is not as it was.
    fn read(&mut self, path: &Path, news: &mut Vec<String>) {
        let read = contents(path);
        let content = read.as_ref().ok().map(|(bytes, _)| hash(bytes));
        if let Some(known) = self.files.get(path)
            && known.content == content
            && (content.is_some() || known.says.is_err())
        {
            return;
        }
        let says = match read {
            Ok((bytes, written_at)) => pod_of(path, &bytes, written_at, (&self.node_name, &self.support)),
            // It has gone meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => Err(format!("cannot be read: {error}")),
        };
        if let Err(why) = &says {
            news.push(complaint(path, why));
        }
        self.files.insert(path.to_owned(), Known { content, says: says.map(Box::new), is_second: false });
    }

    /// The pods of all files; of two of the same name, that of the first file.
    fn collect(&mut self, news: &mut Vec<String>) -> Look {
        let mut look = Look::default();
        let mut names: BTreeMap<(Option<String>, Option<String>), PathBuf> = BTreeMap::new();
        for (path, known) in &mut self.files {
            let pod = match &known.says {
                Ok(pod) => pod,
                Err(why) => {
                    look.bad_files.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
                    look.complaints.push(complaint(path, why));
                    continue;
                }
            };
            let name = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
            let Some(first) = names.get(&name) else {
                known.is_second = false;
                names.insert(name, path.clone());
                look.pods.push(pod.as_ref().clone());
                continue;
            };
            let (namespace, name) = (name.0.unwrap_or_default(), name.1.unwrap_or_default());
            let why = format!("{} has a pod {namespace}/{name} too; give one of them another name", first.display());
            look.complaints.push(complaint(path, &why));
            if !known.is_second {
                news.push(complaint(path, &why));
            }
            known.is_second = true;
        }
        look
    }
}

fn complaint(path: &Path, why: &str) -> String {
    format!("the manifest {} cannot be used: {why}", path.display())
}

/// The files that may be manifests, in order. A folder that is not there has none.
fn manifests(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let nothing = |error: std::io::Error| if error.kind() == std::io::ErrorKind::NotFound { Ok(Vec::new()) } else { Err(error) };
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return nothing(error),
    };
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return nothing(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Editors and copiers write under hidden names first.
        let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        // A link counts as what it leads to.
        let is_file = fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_file());
        if !is_hidden && is_file {
            found.push(entry.path());
        }
    }
    found.sort();
    found.truncate(FILES_MAX);
    Ok(found)
}

fn contents(path: &Path) -> std::io::Result<(Vec<u8>, SystemTime)> {
    let file = fs::File::open(path)?;
    let written_at = file.metadata()?.modified()?;
    // One byte more than is allowed is enough to see that it is too much.
    let limit = api::source::MANIFEST_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes, written_at))
}

fn pod_of(path: &Path, bytes: &[u8], written_at: SystemTime, (node_name, node): (&str, &NodeSupport)) -> Result<Pod, String> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let source = Source::new(name, bytes).map_err(|error| error.to_string())?;
    let options = LoadOptions { namespace: DEFAULT_NAMESPACE, overrides: &Overrides::default(), node };
    let manifest = api::load_with(&source, options);
    if manifest.has_errors() {
        return Err(findings(&source, &manifest.diagnostics));
    }
    let documents = api::read(&source).documents;
    let ([Object::Pod(pod)], [document]) = (manifest.objects.as_slice(), documents.as_slice()) else {
        let kinds: Vec<_> = documents.iter().map(|document| document.kind.as_str()).collect();
        return Err(format!("a file of the manifest folder has one Pod, and this has {}", kinds.join(", ")));
    };
    let since = written_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seen = i128::try_from(since.as_nanos()).ok().and_then(|nanos| jiff::Timestamp::from_nanosecond(nanos).ok()).unwrap_or_default();
    let seen = seen.to_string();
    let origin = Origin { node_name, file: path, seen: &seen, written: &document.value };
    static_pod(pod.as_ref().clone(), &origin).map_err(|error| error.to_string())
}

/// The first errors, each in one line with its place.
fn findings(source: &Source, diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).collect();
    let line = |diagnostic: &&Diagnostic| {
        let Some(label) = &diagnostic.primary else { return diagnostic.message.clone() };
        let position = source.position(label.span.start);
        let note = if label.text.is_empty() { String::new() } else { format!(" ({})", label.text) };
        format!("{}:{}: {}{note}", position.line, position.column, diagnostic.message)
    };
    let mut told: Vec<_> = errors.iter().take(FINDINGS_MAX).map(line).collect();
    if errors.len() > FINDINGS_MAX {
        told.push(format!("and {} more", errors.len() - FINDINGS_MAX));
    }
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: NAME}\nspec: {containers: [{name: c, image: i}]}\n";

    struct Folder {
        folder: tempfile::TempDir,
        manifests: ManifestFolder,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let manifests = ManifestFolder::new(folder.path().to_owned(), "node", EVERY_DEFAULT);
            Self { folder, manifests }
        }

        fn write(&self, name: &str, text: &str) {
            fs::write(self.folder.path().join(name), text).expect("a file is written");
        }

        /// Names of the pods, bad files, and news.
        fn look(&mut self) -> (Vec<String>, Vec<String>, Vec<String>) {
            let (look, news) = self.manifests.look();
            let look = look.expect("the folder is readable");
            (look.pods.into_iter().filter_map(|pod| pod.metadata.name).collect(), look.bad_files, news)
        }
    }

    fn good(name: &str) -> String {
        GOOD.replace("NAME", name)
    }

    #[tokio::test]
    async fn a_bad_file_is_told_of_once_for_each_change_and_leaves_the_others_alone() {
        let mut folder = Folder::new();
        folder.write("a.yaml", &good("a"));
        folder.write("b.yaml", &good("b").replace("image: i", "imag: i"));
        folder.write(".hidden.yaml", "nonsense");
        fs::create_dir(folder.folder.path().join("c")).expect("a folder");
        let (pods, bad, news) = folder.look();
        assert_eq!((pods, bad), (vec!["a-node".to_owned()], vec!["b.yaml".to_owned()]));
        assert_eq!(news.len(), 1);
        assert!(news[0].contains("b.yaml cannot be used: 4:"), "{news:?}");
        assert!(news[0].contains("unknown field \"spec.containers[0].imag\" (did you mean `image`?)"), "{news:?}");
        assert_eq!(folder.look().2, Vec::<String>::new(), "once");

        folder.write("b.yaml", &good("b").replace("kind: Pod", "kind: ConfigMap").replace("spec:", "data:"));
        assert_eq!(folder.look().2.len(), 1, "it is bad in another way");
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\n";
        folder.write("b.yaml", &format!("{}---\n{map}", good("b")));
        let news = folder.look().2;
        assert!(news[0].ends_with("a file of the manifest folder has one Pod, and this has Pod, ConfigMap"), "{news:?}");

        folder.write("b.yaml", &good("b"));
        let (pods, bad, news) = folder.look();
        assert_eq!((pods, bad, news), (vec!["a-node".to_owned(), "b-node".to_owned()], vec![], vec![]));
        fs::remove_file(folder.folder.path().join("a.yaml")).expect("removed");
        assert_eq!(folder.look().0, ["b-node"]);
    }

    #[tokio::test]
    async fn of_two_pods_of_one_name_the_first_counts_and_the_other_is_told_of() {
        let mut folder = Folder::new();
        folder.write("1.yaml", &good("a"));
        folder.write("2.yaml", &good("a").replace("image: i", "image: j"));
        let (pods, bad, news) = folder.look();
        assert_eq!((pods.as_slice(), bad.len(), news.len()), (["a-node".to_owned()].as_slice(), 0, 1), "{news:?}");
        assert!(news[0].contains("2.yaml cannot be used") && news[0].contains("1.yaml has a pod default/a-node too"), "{news:?}");
        assert_eq!(folder.look().2, Vec::<String>::new(), "once");
        fs::remove_file(folder.folder.path().join("1.yaml")).expect("removed");
        let (look, news) = folder.manifests.look();
        let pods = look.expect("readable").pods;
        assert_eq!((pods.len(), news.len()), (1, 0));
        assert_eq!(pods[0].spec.as_ref().expect("a spec").containers[0].image.as_deref(), Some("j"));
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_has_no_pods_and_a_path_may_be_a_single_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("pods");
        let mut manifests = ManifestFolder::new(path.clone(), "node", EVERY_DEFAULT);
        assert_eq!(manifests.look().0.expect("nothing is wrong").pods.len(), 0);
        fs::write(&path, good("only")).expect("written");
        assert_eq!(manifests.look().0.expect("readable").pods.len(), 1);
    }
}
