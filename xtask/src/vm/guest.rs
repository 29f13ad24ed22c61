//! What is in the machine: busybox, the tests at the paths at which they were built, the tools that they call, modules.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::initramfs::Initramfs;
use super::kernel::{Kernel, output};
use super::programs::Suites;

const BUSYBOX: &str = "/bin/busybox";
/// Tools that busybox has not, or not well enough. Tests that need one that is not installed here skip themselves there.
const TOOLS: [&str; 6] = ["apparmor_parser", "crun", "ip", "nft", "runc", "tar"];
/// Modules that containers and their network need, below `kernel` of the modules; whole folders, so that dependencies are there.
const MODULES: [&str; 12] = [
    "arch/x86/crypto",
    "crypto",
    "drivers/net/veth.ko",
    "fs/fuse",
    "fs/overlayfs",
    "lib",
    "net/802",
    "net/bridge",
    "net/ipv4/netfilter",
    "net/ipv6/netfilter",
    "net/llc",
    "net/netfilter",
];

/// Packs everything that the machine boots into `image`.
pub(crate) fn pack(root: &Path, kernel: &Kernel, suites: &Suites, only: &[String], image: &Path) -> Result<()> {
    let mut initramfs = Initramfs::create(image)?;
    if !Path::new(BUSYBOX).exists() {
        bail!("{BUSYBOX} is missing: install it with `apt-get install busybox-static`");
    }
    initramfs.copy(Path::new(BUSYBOX), BUSYBOX)?;
    initramfs.file("/init", 0o755, include_bytes!("init.sh"))?;
    initramfs.file("/guest.sh", 0o755, include_bytes!("guest.sh"))?;
    initramfs.file("/suites", 0o644, suite_list(suites)?.as_bytes())?;
    initramfs.file("/only", 0o644, only.iter().map(|pattern| format!("{pattern}\n")).collect::<String>().as_bytes())?;
    initramfs.file("/etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")?;
    initramfs.file("/etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
    initramfs.file("/etc/hosts", 0o644, b"127.0.0.1 localhost\n")?;
    initramfs.file("/etc/resolv.conf", 0o644, b"nameserver 192.0.2.53\n")?;
    for tool in TOOLS {
        pack_tool(&mut initramfs, tool)?;
    }
    let stripped = tempfile::tempdir()?;
    for program in suites.tests.iter().map(|suite| &suite.program).chain(&suites.binaries) {
        pack_program(&mut initramfs, program, stripped.path())?;
    }
    for suite in &suites.tests {
        initramfs.directory(text(&suite.folder)?)?;
    }
    initramfs.copy_tree(&root.join("examples"), text(&root.join("examples"))?)?;
    for module in MODULES {
        let from = kernel.modules.join("kernel").join(module);
        let to = format!("/lib/modules/{}/kernel/{module}", kernel.version);
        match from.is_dir() {
            true => initramfs.copy_tree(&from, &to)?,
            false => initramfs.copy(&from, &to)?,
        }
    }
    for list in ["modules.builtin", "modules.order"] {
        initramfs.copy(&kernel.modules.join(list), &format!("/lib/modules/{}/{list}", kernel.version))?;
    }
    initramfs.finish()
}

/// A line for each suite: its name, its program, its folder, the tests to leave out, and those to run alone, which have a plus before them.
fn suite_list(suites: &Suites) -> Result<String> {
    let mut list = String::new();
    for suite in &suites.tests {
        write!(list, "{} {} {}", suite.name, text(&suite.program)?, text(&suite.folder)?)?;
        suite.without.iter().try_for_each(|name| write!(list, " {name}"))?;
        suite.only.iter().try_for_each(|name| write!(list, " +{name}"))?;
        list.push('\n');
    }
    Ok(list)
}

/// A program of the workspace, static, at its own path and without what only debuggers read.
fn pack_program(initramfs: &mut Initramfs, program: &Path, scratch: &Path) -> Result<()> {
    let name = program.file_name().context("a program has a name")?;
    let stripped = scratch.join(name);
    let tried = output(Command::new("strip").arg("--strip-debug").arg("-o").arg(&stripped).arg(program));
    initramfs.copy(if tried.is_ok() { &stripped } else { program }, text(program)?)
}

/// A program of this machine and the libraries that it loads, at their own paths.
fn pack_tool(initramfs: &mut Initramfs, name: &str) -> Result<()> {
    let Some(path) =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|folder| Path::new(folder).join(name)).into_iter().find(|path| path.exists())
    else {
        println!("{name} is not installed: tests that need it are skipped");
        return Ok(());
    };
    let listed = output(Command::new("ldd").arg(&path)).unwrap_or_default();
    let libraries: BTreeSet<PathBuf> = listed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect();
    for file in libraries.iter().chain([&path]) {
        initramfs.copy(file, text(file)?)?;
    }
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
