//! The programs that the machine runs: the workspace's own tests, as `cargo nextest` runs them here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// A test program that says something about control groups.
struct Wanted {
    package: &'static str,
    target: &'static str,
    /// Names, or the beginnings of names, of tests that say nothing there.
    without: &'static [&'static str],
    /// The same of the only tests that say something there; none for all.
    only: &'static [&'static str],
}

/// Left out of the others: the reference runtime, the wire, footprints and whatever else is the same everywhere.
const WANTED: &[Wanted] = &[
    Wanted { package: "usher", target: "version_2", without: &[], only: &[] },
    Wanted { package: "usher-shim", target: "limits", without: &[], only: &[] },
    Wanted { package: "usher-shim", target: "isolation", without: &[], only: &[] },
    Wanted { package: "usher-shim", target: "exec", without: &[], only: &[] },
    Wanted { package: "usher-shim", target: "create", without: &[], only: &[] },
    Wanted { package: "usher-shim", target: "failure", without: &[], only: &[] },
    // A footprint is measured in pages of a machine, not of an emulator.
    Wanted { package: "usher-shim", target: "shim", without: &["footprint::"], only: &[] },
    Wanted { package: "usher-runtime", target: "embedded", without: &[], only: &[] },
    Wanted { package: "usher", target: "hooks", without: &[], only: &[] },
    Wanted { package: "usher", target: "containment", without: &[], only: &[] },
    // Other OCI runtimes; crun refuses machines that have both versions, as most of those do on which these tests run otherwise.
    Wanted { package: "usher", target: "podlife", without: &[], only: &["runtime_classes::"] },
];

/// A test program.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    /// `package::target`, as in the output of nextest.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// The folder of its package, from which it runs.
    pub(crate) folder: PathBuf,
    /// Tests to leave out.
    pub(crate) without: &'static [&'static str],
    /// The only tests to run; none for all.
    pub(crate) only: &'static [&'static str],
}

/// Everything that was built: the suites, and the programs that they call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suites {
    pub(crate) tests: Vec<Suite>,
    pub(crate) binaries: Vec<PathBuf>,
}

/// The tests of the workload, which have cargo build it.
const WORKLOAD: &str = "words";

/// Builds the tests, as they are built for running them here.
pub(crate) fn build(root: &Path) -> Result<Suites> {
    let mut command = crate::cargo_command(root);
    command.args(["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]);
    for target in WANTED.iter().map(|wanted| wanted.target).chain([WORKLOAD]) {
        command.args(["--test", target]);
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "the tests cannot be built");
    let mut suites = Suites::default();
    let mut programs = BTreeMap::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { continue };
        let Some(program) = message["executable"].as_str().map(PathBuf::from) else { continue };
        let (Some(target), Some(manifest)) = (message["target"]["name"].as_str(), message["manifest_path"].as_str()) else { continue };
        let folder = Path::new(manifest).parent().context("a manifest is in a folder")?.to_owned();
        if message["profile"]["test"] == true {
            let package = package_of(message["package_id"].as_str().unwrap_or_default(), &folder);
            programs.insert((package, target.to_owned()), (program, folder));
        } else if message["target"]["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "bin")) {
            suites.binaries.push(program);
        }
    }
    for wanted in WANTED {
        let found = programs.remove(&(wanted.package.to_owned(), wanted.target.to_owned()));
        let (program, folder) = found.with_context(|| format!("{} has no tests named {}", wanted.package, wanted.target))?;
        suites.tests.push(Suite {
            name: format!("{}::{}", wanted.package, wanted.target),
            program,
            folder,
            without: wanted.without,
            only: wanted.only,
        });
    }
    Ok(suites)
}

/// `path+file:///…/crates/shim#usher-shim@0.1.0`, or without the name where it is that of the folder.
fn package_of(id: &str, folder: &Path) -> String {
    let fragment = id.rsplit_once('#').map_or("", |(_, fragment)| fragment);
    match fragment.split_once('@') {
        Some((name, _)) => name.to_owned(),
        None => folder.file_name().unwrap_or_default().to_string_lossy().into_owned(),
    }
}
