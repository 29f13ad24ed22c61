//! Rules about the commands of hooks and probes: is the program there, and does anybody read the shell syntax in it?

use super::facts::{ImageConfig, ImageFile};
use super::shell::{Command, Joint, Script, base_name};
use super::view::{ContainerView, PodView, Sink};
use crate::path::FieldPath;

/// Where programs are looked for where nobody says.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Images that have no shell, unless their tag says `debug`.
const WITHOUT_SHELL: &[&str] = &["gcr.io/distroless/"];

/// `USH207`. k8s: 3.c.2
pub(super) fn not_in_image(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let image = container.container.image.as_deref().unwrap_or_default();
        let known = pod.images.config(image);
        for (what, exec, path) in container.exec_actions() {
            let argv = exec.command.as_deref().unwrap_or_default();
            let path = path.child("command");
            let (Some(program), Some(command)) = (argv.first(), Command::of(argv)) else { continue };
            // Another rule speaks of the one, Kubernetes may expand the other.
            if program.contains(|c: char| c.is_whitespace() || c == '$') {
                continue;
            }
            let is_shell = matches!(command, Command::Shell { .. });
            let Some(config) = &known else {
                if is_shell && has_no_shell(image) {
                    let message = format!("the {what} of {} needs {program}, but its image has no shell", container.container.name);
                    tell_missing(container, what, &path.index(0), message, sink);
                }
                continue;
            };
            let lookup = Lookup { pod, container, image, config };
            if lookup.is_missing(program) {
                let message = format!("{program} is not in the image of {}, so its {what} always fails", container.container.name);
                tell_missing(container, what, &path.index(0), message, sink);
            } else if let Command::Shell { index, .. } = command
                && let Some(script) = container.script(argv)
                && let Some(missing) = lookup.missing_in(&script, program)
            {
                let message = format!("{missing} is not in the image of {}, but its {what} runs it", container.container.name);
                tell_missing(container, what, &path.index(index), message, sink);
            }
        }
    }
}

fn tell_missing(container: &ContainerView<'_>, what: &str, path: &FieldPath, message: String, sink: &mut Sink<'_>) {
    let draft = sink.value(path, message).see(&container.path.child("image"), "the image");
    match what {
        "preStop" => draft.help("use the `sleep` or `httpGet` action, which need nothing from the image"),
        "postStart" => draft.help("the container is killed each time it has started; use a program that the image has"),
        _ => draft.help("use an httpGet, tcpSocket or grpc probe, which need nothing from the image"),
    };
}

fn has_no_shell(image: &str) -> bool {
    let tag = image.rsplit_once(':').map_or("", |(_, tag)| tag);
    WITHOUT_SHELL.iter().any(|prefix| image.starts_with(prefix)) && !tag.contains("debug")
}

/// Looks for the programs of one container in its image.
struct Lookup<'a> {
    pod: &'a PodView<'a>,
    container: &'a ContainerView<'a>,
    image: &'a str,
    config: &'a ImageConfig,
}

impl Lookup<'_> {
    /// Whether a program is surely missing, as the kernel and a search along `PATH` see it.
    fn is_missing(&self, program: &str) -> bool {
        if program.contains('/') {
            let folder = self.container.container.working_dir.as_deref().filter(|dir| !dir.is_empty()).unwrap_or(&self.config.working_dir);
            let path = if program.starts_with('/') { program.to_owned() } else { format!("{folder}/{program}") };
            return !self.is_mounted_over(&path) && self.pod.images.file(self.image, &path) == ImageFile::Missing;
        }
        let in_image = self.config.env.iter().find_map(|variable| variable.strip_prefix("PATH="));
        let search = self.container.variables.get("PATH").map(String::as_str).or(in_image).unwrap_or(DEFAULT_PATH);
        if self.container.container.env.iter().flatten().any(|variable| variable.name == "PATH")
            && !self.container.variables.contains_key("PATH")
        {
            return false;
        }
        search.split(':').filter(|folder| !folder.is_empty()).all(|folder| {
            let path = format!("{folder}/{program}");
            !self.is_mounted_over(&path) && self.pod.images.file(self.image, &path) == ImageFile::Missing
        })
    }

    /// Whether a volume may bring what is at a path.
    fn is_mounted_over(&self, path: &str) -> bool {
        let mounts = self.container.container.volume_mounts.iter().flatten();
        mounts.into_iter().any(|mount| {
            let at = mount.mount_path.trim_end_matches('/');
            path == at || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'))
        })
    }

    /// The first program that a script surely runs and the image surely lacks.
    fn missing_in(&self, script: &Script, shell: &str) -> Option<String> {
        // BusyBox has programs of its own inside.
        let at = if shell.contains('/') { shell.to_owned() } else { format!("/bin/{shell}") };
        if matches!(self.pod.images.file(self.image, &at), ImageFile::File(real) if real.contains("busybox"))
            || base_name(shell) == "busybox"
        {
            return None;
        }
        // A script that looks around, or has another way, knows what it does.
        let looks = |name: &str| matches!(name, "command" | "type" | "which" | "hash");
        let careful = |step: &super::shell::Step| {
            step.joint == Joint::Or || looks(&step.words[0].text) || matches!(step.name(), "." | "source" | "eval" | "export")
        };
        if script.steps.iter().any(careful) {
            return None;
        }
        let runs = script.steps.iter().filter(|step| !step.nest.conditional && !step.is_builtin());
        let programs = runs.filter_map(|step| {
            let word = step.words.iter().find(|word| !matches!(word.text.as_str(), "exec" | "nohup"))?;
            (word.known && !word.text.is_empty() && !script.functions.contains(&word.text)).then_some(&word.text)
        });
        programs.into_iter().find(|program| self.is_missing(program)).cloned()
    }
}

/// `USH208`. k8s: 3.c.2, 2.d.17
pub(super) fn syntax_without_shell(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        for (what, exec, path) in container.exec_actions() {
            let argv = exec.command.as_deref().unwrap_or_default();
            let path = path.child("command");
            let Some(Command::Program(program)) = Command::of(argv) else {
                reference_in_script(container, what, argv, &path, sink);
                continue;
            };
            let name = &container.container.name;
            if argv.len() == 1 && program.trim().contains(' ') {
                let words: Vec<String> = program.split_whitespace().map(|word| format!("{word:?}")).collect();
                let message = format!("the {what} of {name} looks for one program called {program:?}");
                let draft = sink.value(&path.index(0), message).note("a command line in one word");
                draft.help(format!("write each word for itself: `command: [{}]`", words.join(", ")));
                continue;
            }
            let expanded =
                |word: &str| what.ends_with("Probe") && reference(word).is_some_and(|name| container.variables.contains_key(name));
            let suspicious = argv.iter().enumerate().skip(1).find(|(_, word)| is_syntax(word) && !expanded(word));
            let Some((index, word)) = suspicious.filter(|_| !reads_syntax(program)) else { continue };
            let message = format!("the {what} of {name} passes {word:?} to {} as it is: no shell reads it", base_name(program));
            let draft = sink.value(&path.index(index), message).note("means something to a shell only");
            // What Kubernetes would expand, a shell reads as a command.
            let words = argv.iter().map(|word| match reference(word).filter(|name| is_variable_name(name)) {
                Some(name) => format!("${{{name}}}"),
                None => word.replace('"', "\\\""),
            });
            draft.help(format!("have a shell run it: `command: [sh, -c, \"{}\"]`", words.collect::<Vec<_>>().join(" ")));
        }
    }
}

/// A word that is shell syntax as a whole, or a variable that nobody will expand.
fn is_syntax(word: &str) -> bool {
    let name = word.strip_prefix('$').unwrap_or_default();
    let braced = name.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
    let variable = [Some(name), braced, reference(word)].into_iter().flatten().any(is_variable_name);
    variable || matches!(word, "&&" | "||" | ";" | "|" | ">" | ">>" | "<" | "&" | "2>&1" | ">/dev/null" | "2>/dev/null")
}

/// The name in `$(NAME)`.
fn reference(word: &str) -> Option<&str> {
    word.strip_prefix("$(")?.strip_suffix(')')
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Programs that take a program or an expression of their own as arguments.
fn reads_syntax(program: &str) -> bool {
    matches!(
        base_name(program),
        "awk"
            | "expr"
            | "test"
            | "["
            | "find"
            | "sed"
            | "grep"
            | "jq"
            | "perl"
            | "python"
            | "python3"
            | "ruby"
            | "node"
            | "env"
            | "su"
            | "gosu"
            | "chroot"
    )
}

/// Kubernetes expands `$(NAME)` in a container's own command, in exec probes where the manifest gives the value, and not
/// in hooks. k8s: 2.d.17, 7.d.1
fn reference_in_script(container: &ContainerView<'_>, what: &str, argv: &[String], path: &FieldPath, sink: &mut Sink<'_>) {
    let Some(Command::Shell { script, index, .. }) = Command::of(argv) else { return };
    let literal = |name: &str| !(what.ends_with("Probe") && container.variables.contains_key(name));
    let mut variables = container.container.env.iter().flatten().filter(|variable| literal(&variable.name));
    let Some(variable) = variables.find(|variable| script.contains(&format!("$({})", variable.name))) else { return };
    let name = &variable.name;
    let message = format!("`$({name})` in the {what} of {} runs a program called {name}", container.container.name);
    let draft = sink.value(&path.index(index), message).note("Kubernetes does not expand it here, and the shell reads it its own way");
    draft.help(format!("write `${name}`, which the shell expands"));
}

/// `USH209`
pub(super) fn script_split(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in &pod.containers {
        for (what, exec, path) in container.exec_actions() {
            let argv = exec.command.as_deref().unwrap_or_default();
            let path = path.child("command");
            tell_split(container, what, argv, |index| path.index(index), sink);
        }
        if container.container.command.is_some() {
            tell_split(container, "command", &container.argv(), |index| container.argv_path(index), sink);
        }
    }
}

fn tell_split(container: &ContainerView<'_>, what: &str, argv: &[String], path: impl Fn(usize) -> FieldPath, sink: &mut Sink<'_>) {
    let Some(Command::Shell { shell, script, index }) = Command::of(argv) else { return };
    // A script of one word that uses no arguments has no use for what follows.
    let one_word = !script.contains(char::is_whitespace) && !script.contains(['$', ';', '&', '|']);
    let Some(next) = argv.get(index + 1).filter(|_| one_word) else { return };
    let name = &container.container.name;
    let message = format!("the {what} of {name} runs `{script}` alone: {shell} takes one word behind `-c` as the script");
    let draft = sink.value(&path(index), message).note("this is the whole script");
    let draft = draft.see(&path(index + 1), format!("{next:?} is not part of it"));
    draft.help(format!("write the script as one word: `\"{}\"`", argv[index..].join(" ").replace('"', "\\\"")));
}
