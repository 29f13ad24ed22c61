//! Rules about where hooks and probes send their requests.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::view::{ContainerView, PodView, Sink};

/// `USH210`. k8s: 3.d.5, 3.d.6, 12.d.3
pub(super) fn unknown_name(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        for request in container.requests() {
            let IntOrString::String(port) = request.port else { continue };
            if port.parse::<u16>().is_ok() || port_names(container).any(|name| name == port) {
                continue;
            }
            let (name, what) = (&container.container.name, request.name);
            // k8s: 12.d.3: a probe that cannot be sent counts as neither.
            let outcome = if request.is_hook() { "always fails" } else { "never succeeds" };
            let message = format!("{name} has no port named {port:?}, so its {what} {outcome}");
            let path = request.path.child("port");
            let elsewhere = pod.running().find(|other| port_names(other).any(|name| name == port));
            let draft = sink.value(&path, message);
            let near = crate::nearest::nearest(port, port_names(container));
            let draft = match (near, elsewhere) {
                (Some(near), _) => draft.note(format!("did you mean `{near}`?")),
                (None, Some(other)) => draft.note(format!("a port of {}: names are those of the own container", other.container.name)),
                (None, None) => draft.note("no such name in `ports`"),
            };
            draft.help(format!("give the number, or name the port: `ports: [{{name: {port}, containerPort: …}}]`"));
        }
    }
}

fn port_names<'a>(container: &ContainerView<'a>) -> impl Iterator<Item = &'a str> {
    container.container.ports.iter().flatten().filter_map(|port| port.name.as_deref())
}

/// `USH211`. A declaration is for people and opens nothing, but one that is there and lacks the port hints at a slip.
pub(super) fn undeclared(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    for container in pod.running() {
        let declares = container.container.ports.as_ref().is_some_and(|ports| !ports.is_empty());
        for request in container.requests().into_iter().filter(|request| declares && request.is_hook() && request.host.is_empty()) {
            let IntOrString::Int(port) = request.port else { continue };
            if pod.running().any(|other| other.container.ports.iter().flatten().any(|declared| declared.container_port == *port)) {
                continue;
            }
            let (name, what) = (&container.container.name, request.name);
            let draft =
                sink.value(&request.path.child("port"), format!("the {what} hook of {name} asks port {port}, which no container declares"));
            let draft = draft.see_key(&container.path.child("ports"), format!("the ports that {name} declares"));
            draft.help("if something listens there, declare it; if not, the hook always fails");
        }
    }
}

/// `USH212`. k8s: 3.d.2, 12.a.6
pub(super) fn host_network(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    if pod.spec.host_network != Some(true) {
        return;
    }
    for container in pod.running() {
        for request in container.requests().into_iter().filter(|request| request.is_hook() && request.host.is_empty()) {
            let (name, what) = (&container.container.name, request.name);
            let draft =
                sink.key(&request.path, format!("the {what} hook of {name} always fails on a kubelet: the pod has no address of its own"));
            let draft = draft.note("without `host`").see(&pod.path.child("hostNetwork"), "the pod uses the node's network");
            draft.help("give `host: 127.0.0.1`: on the host's network that is where the pod listens");
        }
    }
}

/// `USH213`. k8s: 3.d.23
pub(super) fn localhost(pod: &PodView<'_>, sink: &mut Sink<'_>) {
    if pod.spec.host_network == Some(true) {
        return;
    }
    for container in pod.running() {
        for request in container.requests().into_iter().filter(|request| request.is_to_localhost()) {
            let (name, what) = (&container.container.name, request.name);
            let message = format!("the {what} of {name} asks {}, which is the node and not the pod", request.host);
            let draft = sink.value(&request.path.child("host"), message).note("requests are sent by the node");
            draft.help("leave `host` out: the default is the pod's own address; the process must listen on it, not on localhost alone");
        }
    }
}
