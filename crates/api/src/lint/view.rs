//! One pod as rules see it, and where they put what they find.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, PodSpec, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::facts::{ImageConfig, Images, Measured, MeasuredContainer};
use super::rule::Rule;
use super::services::Service;
use super::shape::Described;
use super::shell::{Command, LeastTime, Script, Variables, base_name, program_time};
use super::{FINDINGS_MAX, Finding};
use crate::diagnostic::Label;
use crate::path::FieldPath;
use crate::read::Document;
use crate::source::Span;
use crate::template::{Ending, Workload};

/// A pod that an object describes, defaulted.
#[derive(Debug)]
pub(super) struct PodView<'a> {
    pub(super) document: &'a Document,
    pub(super) workload: Workload,
    pub(super) spec: &'a PodSpec,
    /// The path of `spec`.
    pub(super) path: FieldPath,
    /// All containers, init containers first.
    pub(super) containers: Vec<ContainerView<'a>>,
    pub(super) images: &'a dyn Images,
    /// Labels of the pods.
    pub(super) labels: &'a BTreeMap<String, String>,
    /// The Services in the same text.
    pub(super) services: &'a [Service],
}

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It prepares something and ends.
    Init,
    /// An init container that runs as long as the pod.
    Sidecar,
    /// One of `containers`.
    Regular,
}

/// A container of a pod.
#[derive(Debug)]
pub(super) struct ContainerView<'a> {
    pub(super) container: &'a Container,
    pub(super) role: Role,
    pub(super) path: FieldPath,
    pub(super) measured: Option<MeasuredContainer>,
    /// Environment variables whose value the manifest gives.
    pub(super) variables: Variables,
}

/// A hook of a container.
#[derive(Debug)]
pub(super) struct Hook<'a> {
    pub(super) handler: &'a LifecycleHandler,
    /// `postStart` or `preStop`.
    pub(super) name: &'static str,
    pub(super) path: FieldPath,
}

/// How long something takes, at the least.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Time {
    /// Infinite where it never ends by itself.
    pub(super) seconds: f64,
    pub(super) origin: Origin,
    /// What says so.
    pub(super) path: FieldPath,
}

/// How a time is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The manifest says it.
    Written,
    /// A run has shown it.
    Measured,
}

impl<'a> PodView<'a> {
    pub(super) fn new(
        document: &'a Document,
        described: &'a Described,
        images: &'a dyn Images,
        services: &'a [Service],
        measured: Option<&Measured>,
    ) -> Self {
        let Described { template, spec, labels } = described;
        let path = template.path.child("spec");
        let measured = |container: &Container| measured?.containers.get(&container.name).cloned();
        let init = spec.init_containers.iter().flatten().enumerate().map(|(index, container)| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            (container, if sidecar { Role::Sidecar } else { Role::Init }, path.child("initContainers").index(index))
        });
        let regular = spec.containers.iter().enumerate();
        let regular = regular.map(|(index, container)| (container, Role::Regular, path.child("containers").index(index)));
        let containers = init.chain(regular).map(|(container, role, path)| ContainerView {
            container,
            role,
            path,
            measured: measured(container),
            variables: variables(container),
        });
        let containers = containers.collect();
        Self { document, workload: template.workload, spec, containers, path, images, labels, services }
    }

    /// `terminationGracePeriodSeconds`.
    pub(super) fn grace_seconds(&self) -> f64 {
        // k8s: 1.b.1
        match self.spec.termination_grace_period_seconds.unwrap_or(crate::defaults::DEFAULT_TERMINATION_GRACE_PERIOD_SECONDS) {
            ..0 => 1.0,
            seconds => seconds as f64,
        }
    }

    /// Its path.
    pub(super) fn grace_path(&self) -> FieldPath {
        self.path.child("terminationGracePeriodSeconds")
    }

    /// Whether the manifest has a field.
    pub(super) fn has(&self, path: &FieldPath) -> bool {
        self.document.positions.find(path).is_some()
    }

    /// Whether the pod is meant to complete.
    pub(super) fn completes(&self) -> bool {
        match self.workload.ending() {
            Ending::Completed => true,
            Ending::Deleted => false,
            Ending::ByRestartPolicy => matches!(self.spec.restart_policy.as_deref(), Some("Never" | "OnFailure")),
        }
    }

    pub(super) fn with_role(&self, role: Role) -> impl DoubleEndedIterator<Item = &ContainerView<'a>> {
        self.containers.iter().filter(move |container| container.role == role)
    }

    /// Containers that run as long as the pod does.
    pub(super) fn running(&self) -> impl Iterator<Item = &ContainerView<'a>> {
        self.containers.iter().filter(|container| container.role != Role::Init)
    }

    /// What the image of a container says about itself, if it is at hand.
    pub(super) fn image(&self, container: &ContainerView<'_>) -> Option<ImageConfig> {
        self.images.config(container.container.image.as_deref()?)
    }
}

impl<'a> ContainerView<'a> {
    pub(super) fn hooks(&self) -> impl Iterator<Item = Hook<'a>> + use<'a> {
        let lifecycle = self.container.lifecycle.as_ref();
        let path = self.path.child("lifecycle");
        let hook = move |name: &'static str, handler: Option<&'a LifecycleHandler>| {
            handler.map(|handler| Hook { handler, name, path: path.child(name) })
        };
        let post_start = hook("postStart", lifecycle.and_then(|lifecycle| lifecycle.post_start.as_ref()));
        let pre_stop = hook("preStop", lifecycle.and_then(|lifecycle| lifecycle.pre_stop.as_ref()));
        post_start.into_iter().chain(pre_stop)
    }

    pub(super) fn hook(&self, name: &str) -> Option<Hook<'a>> {
        self.hooks().find(|hook| hook.name == name)
    }

    pub(super) fn probes(&self) -> impl Iterator<Item = (&'static str, &'a Probe, FieldPath)> + use<'a> {
        let container = self.container;
        let path = self.path.clone();
        let probes = [
            ("startupProbe", &container.startup_probe),
            ("livenessProbe", &container.liveness_probe),
            ("readinessProbe", &container.readiness_probe),
        ];
        probes.into_iter().filter_map(move |(name, probe)| Some((name, probe.as_ref()?, path.child(name))))
    }

    /// The commands of its hooks and exec probes, with their paths and what they are.
    pub(super) fn exec_actions(&self) -> Vec<(&'static str, &'a ExecAction, FieldPath)> {
        let hooks = self.hooks().filter_map(|hook| Some((hook.name, hook.handler.exec.as_ref()?, hook.path.child("exec"))));
        let probes = self.probes().filter_map(|(name, probe, path)| Some((name, probe.exec.as_ref()?, path.child("exec"))));
        hooks.chain(probes).collect()
    }

    /// The requests of its hooks and probes: what they are, host, port, path.
    pub(super) fn requests(&self) -> Vec<Request<'a>> {
        let http = |name, http: &'a HTTPGetAction, path: FieldPath| Request {
            name,
            host: http.host.as_deref().unwrap_or_default(),
            port: &http.port,
            path,
        };
        let mut requests: Vec<Request<'a>> = Vec::new();
        for hook in self.hooks() {
            requests.extend(hook.handler.http_get.as_ref().map(|action| http(hook.name, action, hook.path.child("httpGet"))));
        }
        for (name, probe, path) in self.probes() {
            requests.extend(probe.http_get.as_ref().map(|action| http(name, action, path.child("httpGet"))));
            requests.extend(probe.tcp_socket.as_ref().map(|action| Request {
                name,
                host: action.host.as_deref().unwrap_or_default(),
                port: &action.port,
                path: path.child("tcpSocket"),
            }));
        }
        requests
    }

    /// The script of a command line, if a shell runs it.
    pub(super) fn script(&self, argv: &[String]) -> Option<Script> {
        match Command::of(argv)? {
            Command::Shell { script, .. } => Some(Script::parse(script, &self.variables)),
            Command::Program(_) => None,
        }
    }

    /// How long a hook takes at the least; `None` where nothing is known.
    pub(super) fn hook_time(&self, hook: &Hook<'_>) -> Option<Time> {
        let written = written_time(self, hook);
        let measured = self.measured.as_ref().and_then(|measured| match hook.name {
            "postStart" => measured.post_start_seconds,
            _ => measured.pre_stop_seconds,
        });
        let measured = measured.map(|seconds| Time { seconds, origin: Origin::Measured, path: hook.path.clone() });
        [written, measured].into_iter().flatten().max_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }

    /// How long its preStop hook takes at the least; nothing where there is none or nothing is known.
    pub(super) fn pre_stop_time(&self) -> Option<Time> {
        self.hook_time(&self.hook("preStop")?)
    }

    /// How long its process takes to stop, where the manifest or a run says so.
    pub(super) fn drain_time(&self) -> Option<Time> {
        let written = super::drain::written(self);
        let measured = self.measured.as_ref().and_then(|measured| measured.drain_seconds);
        let measured = measured.map(|seconds| Time { seconds, origin: Origin::Measured, path: self.path.child("name") });
        [written, measured].into_iter().flatten().max_by(|a, b| a.seconds.total_cmp(&b.seconds))
    }

    /// Whether a run had to be killed although its process did something with the stop signal: it needs longer than was measured.
    pub(super) fn was_cut_off(&self) -> bool {
        self.measured.as_ref().is_some_and(|measured| measured.killed && measured.drain_seconds.is_some())
    }

    /// The container's own command line as far as the manifest gives it.
    pub(super) fn argv(&self) -> Vec<String> {
        self.container.command.iter().chain(&self.container.args).flatten().cloned().collect()
    }

    /// The path of a word of that command line.
    pub(super) fn argv_path(&self, index: usize) -> FieldPath {
        let command = self.container.command.as_ref().map_or(0, Vec::len);
        match index.checked_sub(command) {
            None => self.path.child("command").index(index),
            Some(index) => self.path.child("args").index(index),
        }
    }
}

/// A request of a hook or probe.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) name: &'static str,
    pub(super) host: &'a str,
    pub(super) port: &'a IntOrString,
    /// The path of the action.
    pub(super) path: FieldPath,
}

impl Request<'_> {
    pub(super) fn is_hook(&self) -> bool {
        matches!(self.name, "postStart" | "preStop")
    }

    pub(super) fn is_to_localhost(&self) -> bool {
        is_localhost(self.host)
    }
}

pub(super) fn is_localhost(host: &str) -> bool {
    host == "localhost" || host == "::1" || host == "[::1]" || host.starts_with("127.")
}

fn written_time(container: &ContainerView<'_>, hook: &Hook<'_>) -> Option<Time> {
    if let Some(sleep) = &hook.handler.sleep {
        let path = hook.path.child("sleep").child("seconds");
        return Some(Time { seconds: sleep.seconds as f64, origin: Origin::Written, path });
    }
    let argv = hook.handler.exec.as_ref()?.command.as_deref()?;
    let path = hook.path.child("exec").child("command");
    let (time, index): (LeastTime, usize) = match Command::of(argv)? {
        Command::Shell { script, index, .. } => (Script::parse(script, &container.variables).least_time(), index),
        Command::Program(program) => {
            let arguments = argv[1..].iter().map(String::as_str);
            (program_time(base_name(program), arguments), argv.len() - 1)
        }
    };
    let seconds = if time.endless { f64::INFINITY } else { time.seconds };
    (seconds > 0.0).then(|| Time { seconds, origin: Origin::Written, path: path.index(index) })
}

/// Variables that the manifest gives a value, without references to others.
fn variables(container: &Container) -> Variables {
    let given = container.env.iter().flatten().filter_map(|variable| {
        let value = variable.value.as_ref().filter(|value| !value.contains("$("))?;
        Some((variable.name.clone(), value.clone()))
    });
    given.collect()
}

/// `30 s`, `1.5 s`.
pub(super) fn shown(seconds: f64) -> String {
    if seconds.is_infinite() {
        return "for ever".to_owned();
    }
    let tenths = (seconds * 10.0).round() / 10.0;
    format!("{tenths} s")
}

/// Takes what one rule finds.
pub(super) struct Sink<'a> {
    pub(super) rule: &'static Rule,
    pub(super) document: &'a Document,
    pub(super) found: &'a mut Vec<Finding>,
}

impl Sink<'_> {
    /// A finding about the value of a field, or, where the manifest does not have it, about what is around it.
    pub(super) fn value(&mut self, path: &FieldPath, message: impl Into<String>) -> Draft<'_> {
        let place = self.document.place(path).1;
        let span = if place.value.is_empty() { place.key.unwrap_or(place.value) } else { place.value };
        self.at(path, span, message)
    }

    /// A finding about a field as a whole, whatever its value.
    pub(super) fn key(&mut self, path: &FieldPath, message: impl Into<String>) -> Draft<'_> {
        let place = self.document.place(path).1;
        self.at(path, place.key.unwrap_or(place.value), message)
    }

    pub(super) fn at(&mut self, path: &FieldPath, span: Span, message: impl Into<String>) -> Draft<'_> {
        if self.found.len() >= FINDINGS_MAX {
            // The last one is written over: nobody reads so many.
            self.found.pop();
        }
        self.found.push(Finding {
            rule: self.rule,
            message: message.into(),
            path: path.clone(),
            span,
            note: String::new(),
            related: Vec::new(),
            help: Vec::new(),
            object: super::object_name(self.document),
            container: super::container_of(self.document, path),
        });
        let finding = self.found.last_mut().expect("one was pushed");
        Draft { document: self.document, finding }
    }
}

/// A finding that is being written.
pub(super) struct Draft<'a> {
    document: &'a Document,
    finding: &'a mut Finding,
}

impl Draft<'_> {
    /// What is said under the place.
    pub(super) fn note(self, text: impl Into<String>) -> Self {
        self.finding.note = text.into();
        self
    }

    /// Another place that explains it; nothing where the manifest does not have it.
    pub(super) fn see(self, path: &FieldPath, text: impl Into<String>) -> Self {
        if let Some(place) = self.document.positions.find(path) {
            let span = if place.value.is_empty() { place.key.unwrap_or(place.value) } else { place.value };
            self.finding.related.push(Label { span, text: text.into() });
        }
        self
    }

    /// The key of another field that explains it.
    pub(super) fn see_key(self, path: &FieldPath, text: impl Into<String>) -> Self {
        if let Some(place) = self.document.positions.find(path) {
            self.finding.related.push(Label { span: place.key.unwrap_or(place.value), text: text.into() });
        }
        self
    }

    /// A place in another object of the text.
    pub(super) fn see_span(self, span: Span, text: impl Into<String>) -> Self {
        self.finding.related.push(Label { span, text: text.into() });
        self
    }

    /// What to do about it.
    pub(super) fn help(self, text: impl Into<String>) -> Self {
        self.finding.help.push(text.into());
        self
    }
}
