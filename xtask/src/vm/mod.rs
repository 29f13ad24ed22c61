//! `cargo xtask vm`: the tests that make containers, on a machine that has version 2 of control groups and nothing else.
//!
//! Such a machine is booted in QEMU, without KVM if need be: a kernel from a Debian package, which is fetched but not installed, and
//! an initramfs of busybox, the test programs, and what they call. Its `/init` (`guest.sh`) runs every test in a process of its own
//! and powers off. Nothing is left of it but what the kernel and this program wrote into cargo's target folder.

mod guest;
mod initramfs;
pub(crate) mod kernel;
mod programs;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// The emulator.
const QEMU: &str = "qemu-system-x86_64";
/// Processors of the machine.
const PROCESSORS: &str = "2";
/// What the guest says last, before how many tests passed, failed and were skipped.
const VERDICT: &str = "usher-vm-verdict ";

/// What to run, and for how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Only tests whose `package::binary test` contains one of these. Empty: all.
    pub(crate) only: Vec<String>,
    /// Memory of the machine, in MiB.
    pub(crate) memory_mib: u32,
    /// Everything, the boot included, must be over by then.
    pub(crate) within: Duration,
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    ensure!(std::env::consts::ARCH == "x86_64", "the machine is an x86_64, as its tests are: build them on one");
    let cache = crate::target_dir(root)?.join("vm");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    let kernel = kernel::fetch(&cache)?;
    let suites = programs::build(root)?;
    let image = cache.join("initramfs.cpio");
    guest::pack(root, &kernel, &suites, &options.only, &image)?;
    let size = fs::metadata(&image)?.len() >> 20;
    println!("booting {} with an initramfs of {size} MiB", kernel.version);
    let begun = Instant::now();
    let verdict = boot(&kernel, &image, options)?;
    println!("{verdict} in {:.0} s", begun.elapsed().as_secs_f64());
    ensure!(verdict.failed == 0, "{} failed", verdict.failed);
    ensure!(verdict.passed > 0, "no test was run");
    Ok(())
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Verdict {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Verdict {
    /// From the guest's last words.
    fn parse(words: &str) -> Option<Self> {
        let mut numbers = words.split_whitespace().map(|word| word.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { passed: next()?, failed: next()?, skipped: next()? })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let run = self.passed + self.failed;
        write!(f, "{run} tests run: {} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Boots, shows what the machine says, and waits for its verdict.
fn boot(kernel: &kernel::Kernel, image: &Path, options: &Options) -> Result<Verdict> {
    let mut command = Command::new(QEMU);
    // An emulated processor with all it can: KVM may be there and still not run anything.
    command.args(["-accel", "tcg,thread=multi", "-cpu", "max", "-smp", PROCESSORS, "-m", &options.memory_mib.to_string()]);
    command.args(["-display", "none", "-serial", "stdio", "-monitor", "none", "-nic", "none", "-no-reboot", "-nodefaults"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(image);
    // Without mitigations an emulated machine is faster, and nothing in it is secret.
    command.args(["-append", "console=ttyS0 quiet panic=-1 mitigations=off cgroup_no_v1=all rdinit=/init"]);
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let mut machine = Machine(spawned.with_context(|| format!("cannot run {QEMU}: install it with `apt-get install qemu-system-x86`"))?);
    let stdout = machine.0.stdout.take().context("qemu has no output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()).is_err() {
                return;
            }
        }
    });
    let deadline = Instant::now() + options.within;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => match line.strip_prefix(VERDICT).map(Verdict::parse) {
                Some(Some(verdict)) => return Ok(verdict),
                Some(None) => bail!("the machine's verdict cannot be read: {line}"),
                None => println!("{line}"),
            },
            Err(mpsc::RecvTimeoutError::Timeout) => bail!("the machine was not done within {} s", options.within.as_secs()),
            Err(mpsc::RecvTimeoutError::Disconnected) => bail!("the machine ended without a verdict"),
        }
    }
}

/// A machine that does not outlive its user.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It has powered off, or it is to.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict;

    #[test]
    fn a_verdict_is_read_whole_or_not_at_all() {
        assert_eq!(Verdict::parse("3 0 12"), Some(Verdict { passed: 3, failed: 0, skipped: 12 }));
        for broken in ["", "3", "3 0", "3 x 1"] {
            assert_eq!(Verdict::parse(broken), None, "{broken}");
        }
    }
}
