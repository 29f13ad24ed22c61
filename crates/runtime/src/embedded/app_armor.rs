//! AppArmor of the kernel: the runtime's own profile, which it loads when the first container needs it, and those that the machine's
//! administrator has loaded, which a container names.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::sync::OnceCell;

use super::blocking;
use super::errors::{StepError, chain};
use crate::{AppArmorProfile, SecurityContext};

/// What the kernel says of itself.
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";
/// The profiles that it knows, a line each.
const LOADED: &str = "/sys/kernel/security/apparmor/profiles";
/// Translates profiles and loads them; of the package `apparmor`.
const PARSERS: [&str; 3] = ["/usr/sbin/apparmor_parser", "/sbin/apparmor_parser", "/usr/bin/apparmor_parser"];
/// The rules of AppArmor 3, which later versions can be held to: what is new there is not forbidden for not being named.
const ABI: &str = "/etc/apparmor.d/abi/3.0";
/// How long loading may take. It takes some milliseconds.
const LOAD_WITHIN: Duration = Duration::from_secs(30);

/// Whether the kernel applies AppArmor profiles.
pub fn has_app_armor() -> bool {
    fs::read_to_string(ENABLED).is_ok_and(|text| is_enabled(&text))
}

/// Whether there is a default profile: the kernel has AppArmor, and there is a program that loads it.
pub fn has_default_app_armor_profile() -> bool {
    has_app_armor() && parser().is_some()
}

fn is_enabled(text: &str) -> bool {
    text.trim() == "Y"
}

fn parser() -> Option<&'static Path> {
    PARSERS.into_iter().map(Path::new).find(|path| path.exists())
}

/// The runtime's own profile, loaded at most once.
#[derive(Debug, Default)]
pub(super) struct DefaultProfile {
    /// Its name; `None` where there is none.
    name: OnceCell<Option<String>>,
    /// That it cannot be loaded was told.
    is_told: AtomicBool,
}

impl DefaultProfile {
    /// The profile that the kernel is to apply to a container. One that was not asked for and cannot be loaded is done without, as on a
    /// machine without AppArmor.
    pub(super) async fn resolve(&self, security: &SecurityContext) -> Result<Option<String>, StepError> {
        match &security.app_armor {
            AppArmorProfile::Localhost(name) => Ok(Some(name.clone())),
            AppArmorProfile::Unconfined => Ok(None),
            AppArmorProfile::Unspecified | AppArmorProfile::RuntimeDefault if security.privileged => Ok(None),
            AppArmorProfile::RuntimeDefault => self.load().await,
            AppArmorProfile::Unspecified => Ok(self.load().await.unwrap_or_else(|error| {
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!(error = chain(&error), "containers run without an AppArmor profile");
                }
                None
            })),
        }
    }

    async fn load(&self) -> Result<Option<String>, StepError> {
        let name = self.name.get_or_try_init(|| async {
            let Some((name, text)) = blocking(wanted).await else { return Ok(None) };
            load(&text).await?;
            Ok::<_, StepError>(Some(name))
        });
        Ok(name.await?.clone())
    }
}

/// Name and text of the profile; the text is empty if the kernel knows it already.
fn wanted() -> Option<(String, String)> {
    if !has_default_app_armor_profile() {
        return None;
    }
    let own = fs::read_to_string("/proc/self/attr/current").unwrap_or_default();
    let (name, text) = profile(own.trim_end_matches(['\0', '\n']), Path::new(ABI).exists());
    let loaded = fs::read_to_string(LOADED).unwrap_or_default();
    Some(if is_loaded(&loaded, &name) { (name, String::new()) } else { (name, text) })
}

fn is_loaded(loaded: &str, name: &str) -> bool {
    loaded.lines().any(|line| line.split_once(' ').is_some_and(|(known, _)| known == name))
}

async fn load(text: &str) -> Result<(), StepError> {
    if text.is_empty() {
        return Ok(());
    }
    let Some(parser) = parser() else { return Ok(()) };
    let failed = |source| StepError::file("run", parser)(source);
    let mut command = Command::new(parser);
    command.args(["--skip-cache", "--replace"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let loaded = async {
        if let Some(mut input) = child.stdin.take() {
            input.write_all(text.as_bytes()).await?;
        }
        child.wait_with_output().await
    };
    let timed_out = |_| StepError::Told(format!("{} does not end", parser.display()));
    let output = tokio::time::timeout(LOAD_WITHIN, loaded).await.map_err(timed_out)?.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(StepError::Told(format!("the default AppArmor profile cannot be loaded: {}: {}", output.status, said.trim())))
}

/// The profile for containers whose runtime has this label. Its name tells one version of its text from another, so that what is loaded
/// once is good until the machine is booted anew.
///
/// Everything is allowed but what leads out of a container that has the rights for it: mounts, what the kernel offers in `/proc` and `/sys`
/// beside processes and control groups, signals to and traces of processes of others.
fn profile(runtime_label: &str, has_abi: bool) -> (String, String) {
    let runtime = runtime_label.split_once(" (").map_or(runtime_label, |(label, _)| label);
    let by_runtime = match runtime {
        "" | "unconfined" => String::new(),
        label => format!("  signal (receive) peer=\"{label}\",\n"),
    };
    let rules = format!(
        r#"flags=(attach_disconnected,mediate_deleted) {{
  network,
  capability,
  file,
  umount,
  signal (receive) peer=unconfined,
{by_runtime}  signal (send, receive) peer=@{{profile_name}},
  ptrace (trace, tracedby, read, readby) peer=@{{profile_name}},
  deny mount,
  deny /proc/[^0-9]* wl,
  deny /proc/[^0-9]*/** wl,
  deny /proc/{{kcore,kmem,mem,sysrq-trigger}} rwklx,
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
  deny /sys/kernel/security/** rwklx,
}}
"#
    );
    let digest = Sha256::digest(rules.as_bytes());
    let version: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = format!("usher-default-{version}");
    let abi = if has_abi { "abi <abi/3.0>,\n" } else { "" };
    let text = format!("{abi}profile {name} {rules}");
    (name, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_armor_is_on_only_where_the_kernel_says_so() {
        assert!(is_enabled("Y\n"));
        assert!(!is_enabled("N\n") && !is_enabled(""));
    }

    #[test]
    fn a_profile_is_known_by_its_whole_name() {
        let loaded = "docker-default (enforce)\nusher-default-0a (enforce)\n";
        assert!(is_loaded(loaded, "usher-default-0a") && is_loaded(loaded, "docker-default"));
        assert!(!is_loaded(loaded, "usher-default-0") && !is_loaded("", "usher-default-0a"));
    }

    #[test]
    fn a_runtime_that_is_confined_may_send_signals_to_its_containers() {
        let (free, text) = profile("unconfined", true);
        assert!(text.starts_with(&format!("abi <abi/3.0>,\nprofile {free} flags=(")) && !text.contains("peer=\""), "{text}");
        assert_eq!(profile("", false).0, free, "the same rules have the same name");
        let (confined, text) = profile("/usr/bin/usher (enforce)", false);
        assert!(text.starts_with(&format!("profile {confined} ")) && text.contains("peer=\"/usr/bin/usher\",\n"), "{text}");
        assert_ne!(confined, free);
    }

    #[tokio::test]
    async fn what_is_named_or_unconfined_or_privileged_needs_no_default() {
        let default = DefaultProfile { name: OnceCell::new_with(Some(Some("default".to_owned()))), ..DefaultProfile::default() };
        for (app_armor, privileged, expected) in [
            (AppArmorProfile::Unspecified, false, Some("default")),
            (AppArmorProfile::RuntimeDefault, false, Some("default")),
            (AppArmorProfile::Unspecified, true, None),
            (AppArmorProfile::RuntimeDefault, true, None),
            (AppArmorProfile::Unconfined, false, None),
            (AppArmorProfile::Localhost("mine".to_owned()), false, Some("mine")),
            (AppArmorProfile::Localhost("mine".to_owned()), true, Some("mine")),
        ] {
            let security = SecurityContext { app_armor: app_armor.clone(), privileged, ..SecurityContext::default() };
            let resolved = default.resolve(&security).await.expect("nothing has to be loaded");
            assert_eq!(resolved.as_deref(), expected, "{app_armor:?} {privileged}");
        }
    }
}
