//! The first process of a container: command, environment, folder, user and rights.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use oci_spec::image;
use oci_spec::runtime::{Capability, Process, User};

use super::{SpecError, SpecInput, capabilities};
use crate::ContainerConfig;

const PATH_DEFAULT: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) fn process(input: &SpecInput<'_>, bounding: &HashSet<Capability>) -> Result<Process, SpecError> {
    let SpecInput { container, image, user, sandbox, .. } = *input;
    let mut oci_user = User::default();
    oci_user.set_uid(user.uid).set_gid(user.gid).set_additional_gids(Some(user.groups.clone()));
    let mut process = Process::default();
    process
        .set_terminal(Some(container.tty))
        .set_user(oci_user)
        .set_args(Some(arguments(container, image)?))
        .set_env(Some(environment(container, image, &sandbox.hostname)))
        .set_cwd(working_dir(container, image))
        .set_capabilities(Some(capabilities::process_sets(bounding, user.uid)))
        .set_rlimits(None)
        .set_apparmor_profile(input.app_armor.map(str::to_owned))
        .set_no_new_privileges(Some(container.security.no_new_privs))
        .set_oom_score_adj(container.resources.oom_score_adj);
    Ok(process)
}

/// The manifest's command replaces the image's entry point and its command; the manifest's arguments alone replace only the latter.
fn arguments(container: &ContainerConfig, image: &image::Config) -> Result<Vec<String>, SpecError> {
    let entry_point = image.entrypoint().as_deref().unwrap_or_default();
    let image_command = image.cmd().as_deref().unwrap_or_default();
    let arguments = match (container.command.is_empty(), container.args.is_empty()) {
        (false, _) => [container.command.as_slice(), &container.args].concat(),
        (true, false) => [entry_point, &container.args].concat(),
        (true, true) => [entry_point, image_command].concat(),
    };
    if arguments.is_empty() { Err(SpecError::NoCommand) } else { Ok(arguments) }
}

/// `PATH`, `TERM` and `HOSTNAME` have defaults, the image overrides those, and the manifest overrides the image. A variable
/// stays where it was first named. An entry of the image without `=` takes a variable away.
fn environment(container: &ContainerConfig, image: &image::Config, hostname: &str) -> Vec<String> {
    let mut variables: Vec<String> = vec![PATH_DEFAULT.to_owned()];
    if container.tty {
        variables.push("TERM=xterm".to_owned());
    }
    variables.push(format!("HOSTNAME={hostname}"));
    let image_entries = image.env().iter().flatten().cloned();
    let container_entries = container.envs.iter().map(|(name, value)| format!("{name}={value}"));
    for entry in image_entries.chain(container_entries) {
        let name = name_of(&entry);
        let place = variables.iter().position(|variable| name_of(variable) == name);
        match (place, entry.contains('=')) {
            (Some(place), true) => variables[place] = entry,
            (Some(place), false) => drop(variables.remove(place)),
            (None, true) => variables.push(entry),
            (None, false) => {}
        }
    }
    variables
}

fn name_of(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(name, _)| name)
}

fn working_dir(container: &ContainerConfig, image: &image::Config) -> PathBuf {
    let wanted = container.working_dir.as_deref().filter(|dir| !dir.is_empty());
    let dir = wanted.or_else(|| image.working_dir().as_deref()).unwrap_or_default();
    Path::new("/").join(dir)
}
