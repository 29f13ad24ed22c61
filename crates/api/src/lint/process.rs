//! Rules about process 1 of a container and the signal that asks it to stop.

use super::facts::ImageFile;
use super::shell::{Command, Joint, Script, is_shell};
use super::view::{ContainerView, PodView, Sink};

/// Images whose `sh` is BusyBox, by a part of their name.
const BUSYBOX_IMAGES: &[&str] = &["alpine", "busybox"];

/// Why a shell stays process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    /// The script goes on after the program that matters, or around it.
    Busy(&'static str),
    /// The script's last command could take the shell's place, but this shell does not let it.
    Habit,
}

/// `USH501`. k8s: 3.g.3
pub(super) fn shell_swallows_signal(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    // In one process namespace with others a shell is not process 1, and the signal ends it.
    if pod.completes() || pod.spec.share_process_namespace == Some(true) || pod.spec.host_pid == Some(true) {
        return;
    }
    for container in pod.running() {
        let written = container.argv();
        let image = pod.image(container);
        // `args` alone are added to the entrypoint of the image.
        let (argv, place) = match (&container.container.command, &image) {
            (Some(_), _) => (written, None),
            (None, Some(image)) => {
                let tail = if container.container.args.is_some() { written } else { image.cmd.clone() };
                (image.entrypoint.iter().cloned().chain(tail).collect(), Some(container.path.child("image")))
            }
            // The entrypoint is not known. An image without one, or one that runs what it is given, makes this the command.
            (None, None) => (written, None),
        };
        let found = match Command::of(&argv) {
            Some(Command::Shell { shell, index, .. }) => container.script(&argv).and_then(|script| {
                let stays = stays(pod, container, shell, &argv[0], &script)?;
                Some((shell, index, stays, script))
            }),
            Some(Command::Program(_)) | None => None,
        };
        match found {
            Some((shell, index, stays, script)) => {
                let path = place.unwrap_or_else(|| container.argv_path(index));
                tell_swallowed(container, &path, shell, stays, &script, sink);
            }
            None => tell_measured(container, sink),
        }
    }
}

/// The shell that a measured run has shown to let the stop signal come to nothing.
fn swallowing_shell<'a>(container: &'a ContainerView<'_>) -> Option<&'a str> {
    container.measured.as_ref()?.swallowed_by.as_deref().filter(|process| is_shell(process))
}

/// Nothing in the manifest says so, and yet it was so.
fn tell_measured(container: &ContainerView<'_>, sink: &mut Sink<'_>) {
    let Some(process) = swallowing_shell(container) else { return };
    let name = &container.container.name;
    let message = format!("process 1 of {name} was a shell in a measured run, and the stop signal came to nothing");
    let draft =
        sink.value(&container.path.child("name"), message).note(format!("`{process}` had no handler for it, so the kernel dropped it"));
    draft.help("start the program that is to stop with `exec` as the last command, or handle the signal: `trap 'kill $!' TERM`");
}

fn tell_swallowed(
    container: &ContainerView<'_>,
    path: &crate::path::FieldPath,
    shell: &str,
    stays: Stays,
    script: &Script,
    sink: &mut Sink<'_>,
) {
    let name = &container.container.name;
    let last = script.steps.last().map_or("the program", |step| step.name());
    let message = format!("process 1 of {name} is a shell, which does not pass the stop signal on");
    let draft = sink.value(path, message);
    let draft = match stays {
        Stays::Busy(why) => draft.note(why),
        Stays::Habit => draft.note(format!("`{shell}` may stay while `{last}` runs")),
    };
    let draft = match swallowing_shell(container) {
        Some(process) => {
            draft.help(format!("a measured run has shown it: `{process}` had no handler for the stop signal, and the kernel dropped it"))
        }
        None => draft.help("a shell as process 1 ignores SIGTERM: the grace period passes, then everything is killed"),
    };
    match stays {
        Stays::Habit => draft.help(format!("write `exec {last} …`, so that it takes the place of the shell")),
        Stays::Busy(_) => {
            draft.help("start the program that is to stop with `exec` as the last command, or handle the signal: `trap 'kill $!' TERM`")
        }
    };
}

/// Whether and why the shell stays process 1 without handling the signal.
fn stays(pod: &PodView<'_>, container: &ContainerView<'_>, shell: &str, program: &str, script: &Script) -> Option<Stays> {
    let handles = |step: &super::shell::Step| step.is_exec() || matches!(step.name(), "trap" | "eval" | "." | "source");
    let last = script.steps.last()?;
    if script.steps.iter().any(handles) {
        return None;
    }
    if script.endless_loop || last.nest.looped {
        return Some(Stays::Busy("the script is a loop"));
    }
    let before = script.steps.iter().rev().nth(1).map(|step| step.joint);
    if before == Some(Joint::Pipe) {
        return Some(Stays::Busy("the script is a pipe, which the shell waits for"));
    }
    if last.joint == Joint::Background || script.steps.iter().any(|step| step.joint == Joint::Background && !step.nest.looped) {
        return Some(Stays::Busy("the program runs in the background, and the shell waits for it"));
    }
    if last.nest.conditional {
        return Some(Stays::Busy("the last command is in a branch of the script"));
    }
    if last.nest.subshell || (last.is_builtin() && script.steps.iter().all(|step| step.is_builtin())) {
        // A script of a moment, or one that is not understood.
        return None;
    }
    if last.is_builtin() {
        return Some(Stays::Busy("the script goes on after the program"));
    }
    (!replaces_itself(pod, container, shell, program)).then_some(Stays::Habit)
}

/// Whether a shell gives its place to the last command of its script by itself. bash 5 and BusyBox do; dash, which is the
/// `sh` of Debian and Ubuntu, does not.
fn replaces_itself(pod: &PodView<'_>, container: &ContainerView<'_>, shell: &str, program: &str) -> bool {
    if matches!(shell, "bash" | "zsh" | "ksh") {
        return true;
    }
    let image = container.container.image.as_deref().unwrap_or_default();
    let path = if program.contains('/') { program.to_owned() } else { format!("/bin/{program}") };
    match pod.images.file(image, &path) {
        ImageFile::File(real) => !real.ends_with("/dash"),
        ImageFile::Missing | ImageFile::Unknown => BUSYBOX_IMAGES.iter().any(|known| image.contains(known)),
    }
}

/// `USH502`. k8s: 1.d.7, 3.g.1
pub(super) fn stop_signal_kills(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    let cannot_be_handled = |signal: &str| matches!(signal.trim_start_matches("SIG"), "KILL" | "STOP" | "9" | "19");
    for container in pod.running() {
        let name = &container.container.name;
        let written = container.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
        let help =
            "the process cannot finish anything; use a signal that it handles, and `terminationGracePeriodSeconds` to bound the time";
        if let Some(signal) = written {
            if cannot_be_handled(signal) {
                let path = container.path.child("lifecycle").child("stopSignal");
                sink.value(&path, format!("{name} is stopped with {signal}, which no process can handle")).help(help);
            }
        } else if let Some(signal) = pod.image(container).and_then(|image| image.stop_signal).filter(|signal| cannot_be_handled(signal)) {
            let message = format!("the image of {name} asks to be stopped with {signal}, which no process can handle");
            sink.value(&container.path.child("image"), message).help(help);
        }
    }
}
