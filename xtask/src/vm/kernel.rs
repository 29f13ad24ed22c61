//! The kernel of the machine: Debian's for the cloud, taken out of its package. Fetched once; nothing is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// Always depends on the newest kernel package of the distribution.
const META_PACKAGE: &str = "linux-image-cloud-amd64";

/// A kernel and its modules.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    /// What `uname -r` says in it.
    pub(crate) version: String,
    /// To be booted.
    pub(crate) image: PathBuf,
    /// `/lib/modules/VERSION` of the package.
    pub(crate) modules: PathBuf,
}

/// Finds the kernel that was fetched before, or fetches one.
pub(crate) fn fetch(cache: &Path) -> Result<Kernel> {
    let folder = cache.join("kernel");
    if let Some(kernel) = find(&folder) {
        return Ok(kernel);
    }
    let package = newest_package()?;
    println!("fetching {package}");
    let download = cache.join("download");
    let _ = fs::remove_dir_all(&download);
    fs::create_dir_all(&download)?;
    output(Command::new("apt-get").args(["-qq", "-o", "APT::Sandbox::User=root", "download", &package]).current_dir(&download))?;
    let archive = fs::read_dir(&download)?.next().context("apt-get downloaded nothing")??.path();
    // Renamed when complete, so that a broken attempt is not taken for a kernel.
    let unpacked = download.join("unpacked");
    output(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
    let _ = fs::remove_dir_all(&folder);
    fs::rename(&unpacked, &folder)?;
    fs::remove_dir_all(&download)?;
    find(&folder).with_context(|| format!("package {package} holds no kernel"))
}

fn find(folder: &Path) -> Option<Kernel> {
    let entries = fs::read_dir(folder.join("boot")).ok()?;
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let version = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned)).max()?;
    let image = folder.join("boot").join(format!("vmlinuz-{version}"));
    let modules =
        ["lib/modules", "usr/lib/modules"].map(|place| folder.join(place).join(&version)).into_iter().find(|path| path.is_dir())?;
    Some(Kernel { version, image, modules })
}

fn newest_package() -> Result<String> {
    let depends = output(Command::new("apt-cache").args(["depends", "--important", META_PACKAGE]))
        .context("the kernel is taken from a Debian package: run this on Debian, after `apt-get update`")?;
    let package = depends.lines().filter_map(|line| line.trim().strip_prefix("Depends: ")).find(|name| name.starts_with("linux-image-"));
    package.map(str::to_owned).with_context(|| format!("{META_PACKAGE} names no kernel: run `apt-get update`"))
}

/// Runs a command and gives what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot run {name}"))?;
    ensure!(output.status.success(), "{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
