//! From files on the command line to pods that can be run, or to everything that is wrong with them at once.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::priority::{Priority, PriorityClasses, PriorityError};
use api::{Colour, Diagnostic, LoadOptions, Object, Replica, Severity, Source};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use node::Pod;
use node::container_config::Objects;

/// What the manifests of one command line hold.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// The pods, in order, each with a uid of its own.
    pub(crate) pods: Vec<Pod>,
    /// What the pods may speak of.
    pub(crate) objects: Objects,
    /// Warnings, rendered.
    pub(crate) warnings: String,
    /// What was made of objects that are no pods, a line each.
    pub(crate) notes: String,
    /// What pods of each RuntimeClass cost beside their containers.
    overheads: BTreeMap<String, BTreeMap<String, Quantity>>,
    /// The PriorityClasses beside those of the system.
    priorities: PriorityClasses,
}

/// Random characters that the API server adds to a `generateName`.
const GENERATED_SUFFIX_LENGTH: usize = 5;

/// Those that it takes: no vowels, so that no words come out.
const GENERATED_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Reads the files; `-` is standard input. The inner error is everything that is wrong with them, rendered.
pub(crate) fn read(files: &[PathBuf], options: LoadOptions<'_>, color: bool) -> anyhow::Result<Result<Manifests, String>> {
    let colour = if color { Colour::Ansi } else { Colour::Plain };
    let mut manifests = Manifests { priorities: PriorityClasses::system(), ..Manifests::default() };
    let mut refused = String::new();
    for file in files {
        let (name, bytes) = contents(file)?;
        let source = match Source::new(&name, &bytes) {
            Ok(source) => source,
            Err(error) => {
                refused.push_str(&format!("error: {name}: {error}\n"));
                continue;
            }
        };
        let loaded = api::load_with(&source, options);
        let (errors, warnings): (Vec<Diagnostic>, Vec<Diagnostic>) =
            loaded.diagnostics.iter().cloned().partition(|diagnostic| diagnostic.severity == Severity::Error);
        if errors.is_empty() {
            manifests.warnings.push_str(&api::render(&source, &warnings, colour));
        } else {
            refused.push_str(&api::render(&source, &errors, colour));
            continue;
        }
        for object in loaded.objects {
            manifests.take(object, &name, options.namespace);
        }
    }
    if !refused.is_empty() {
        return Ok(Err(refused));
    }
    manifests.apply_runtime_classes();
    let wrong = manifests.apply_priority_classes();
    if !wrong.is_empty() {
        return Ok(Err(wrong));
    }
    if manifests.pods.is_empty() {
        return Ok(Err(manifests.notes + "error: there is nothing to run in what was given\n"));
    }
    let misses = options.overrides.misses(manifests.pods.iter());
    if !misses.is_empty() {
        return Ok(Err(misses.iter().map(|miss| format!("error: {miss}\n")).collect()));
    }
    if let Some(name) = first_repeated(&manifests.pods) {
        return Ok(Err(format!("error: two pods are called {name}; give one of them another name or namespace\n")));
    }
    Ok(Ok(manifests))
}

impl Manifests {
    fn take(&mut self, object: Object, file: &str, namespace: &str) {
        match object {
            Object::Pod(mut pod) => {
                complete(&mut pod.metadata, namespace);
                // k8s: 1.a.13: what the manifest of a running pod says of its life there is not said of this one.
                pod.status = None;
                self.pods.push(*pod);
            }
            Object::ConfigMap(mut config_map) => {
                config_map.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
                self.objects.insert_config_map(config_map);
            }
            Object::Secret(mut secret) => {
                secret.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
                self.objects.insert_secret(secret);
            }
            Object::Replica(replica) => self.take_replica(*replica, file, namespace),
            Object::Other(other) => {
                let (kind, name) = (&other.document.kind, other.document.name().unwrap_or_default());
                if let ("RuntimeClass", Some(handler)) = (kind.as_str(), other.value["handler"].as_str()) {
                    self.objects.insert_runtime_class(name, handler);
                    self.overheads.insert(name.to_owned(), overhead(&other.value));
                    return;
                }
                if kind == "PriorityClass" {
                    self.priorities.insert(&other.value);
                    return;
                }
                let why = match kind.as_str() {
                    "PersistentVolumeClaim" => "is not needed: the folder of a claim is made on first use",
                    _ => "is skipped",
                };
                self.notes.push_str(&format!("note: {file}: {kind} {name} {why}\n"));
            }
        }
    }

    /// A class that is not among the documents is the handler of that name.
    fn apply_runtime_classes(&mut self) {
        for spec in self.pods.iter_mut().filter_map(|pod| pod.spec.as_mut()) {
            let Some(class) = spec.runtime_class_name.clone().filter(|class| !class.is_empty()) else { continue };
            match self.overheads.get(&class) {
                Some(overhead) if !overhead.is_empty() => {
                    spec.overhead.get_or_insert_with(|| overhead.clone());
                }
                Some(_) => {}
                None => self.objects.insert_runtime_class(class.clone(), class),
            }
        }
    }

    /// Gives the pods the priorities of their classes; what is wrong with them otherwise. A pod that names no class may say its priority
    /// itself, since nobody else does.
    fn apply_priority_classes(&mut self) -> String {
        let mut wrong = String::new();
        for Pod { metadata, spec, .. } in &mut self.pods {
            let Some(spec) = spec else { continue };
            let asked = Priority::of(spec);
            if asked.class().is_none() && (spec.priority.is_some() || !self.priorities.has_default()) {
                continue;
            }
            match self.priorities.admit(asked) {
                Ok(priority) => priority.write(spec),
                Err(error) => {
                    let name = metadata.name.as_deref().unwrap_or_default();
                    let cure = match error {
                        PriorityError::NoClass(_) => {
                            "; put its PriorityClass into one of the files, or name system-node-critical or system-cluster-critical"
                        }
                        PriorityError::Number { .. } | PriorityError::Preemption { .. } => "; leave it out",
                    };
                    wrong.push_str(&format!("error: pod {name}: spec.priorityClassName: {error}{cure}\n"));
                }
            }
        }
        wrong
    }

    fn take_replica(&mut self, replica: Replica, file: &str, namespace: &str) {
        let Replica { kind, metadata, wanted, mut pod, .. } = replica;
        let (kind, name) = (kind.name(), metadata.name.or(metadata.generate_name).unwrap_or_default());
        if wanted == Some(0) {
            self.notes.push_str(&format!("note: {file}: {kind} {name} is skipped, it asks for no pods\n"));
            return;
        }
        complete(&mut pod.metadata, namespace);
        let count = wanted.filter(|wanted| *wanted > 1).map(|wanted| format!(", not {wanted}")).unwrap_or_default();
        let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
        self.notes.push_str(&format!("note: {file}: {kind} {name} is run as one pod{count}: {pod_name}\n"));
        self.pods.push(pod);
    }
}

fn overhead(class: &serde_json::Value) -> BTreeMap<String, Quantity> {
    serde_json::from_value(class["overhead"]["podFixed"].clone()).unwrap_or_default()
}

/// What an API server adds to a new object.
fn complete(metadata: &mut ObjectMeta, namespace: &str) {
    if metadata.name.as_ref().is_none_or(String::is_empty)
        && let Some(prefix) = &metadata.generate_name
    {
        let picks = random_bytes::<GENERATED_SUFFIX_LENGTH>();
        let suffix = picks.iter().map(|pick| char::from(GENERATED_ALPHABET[usize::from(*pick) % GENERATED_ALPHABET.len()]));
        metadata.name = Some(prefix.chars().chain(suffix).collect());
    }
    metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    metadata.uid = Some(random_uid());
    // k8s: 1.a.13
    metadata.generation = Some(1);
}

/// The same pod once more: another object for the API, with a uid of its own.
pub(crate) fn once_more(pod: &Pod) -> Pod {
    let mut pod = pod.clone();
    pod.metadata.uid = Some(random_uid());
    pod
}

/// RFC 9562, version 4.
fn random_uid() -> String {
    let mut bytes = random_bytes::<16>();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => unreachable!("the kernel has no random numbers: {error}"),
        }
    }
    bytes
}

fn contents(file: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    // One byte more than is allowed is enough to see that it is too much.
    let limit = api::source::MANIFEST_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(("<stdin>".to_owned(), bytes));
    }
    let open = || std::fs::File::open(file)?.take(limit).read_to_end(&mut bytes);
    let mut open = open;
    open().with_context(|| format!("cannot read {}", file.display()))?;
    Ok((file.display().to_string(), bytes))
}

fn first_repeated(pods: &[Pod]) -> Option<String> {
    let name = |pod: &Pod| {
        let metadata = &pod.metadata;
        format!("{}/{}", metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
    };
    let mut seen = std::collections::BTreeSet::new();
    pods.iter().map(name).find(|name| !seen.insert(name.clone()))
}

#[cfg(test)]
mod tests;
