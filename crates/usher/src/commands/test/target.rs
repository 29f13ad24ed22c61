//! Where the requests of a test go: a port of the pod, by number or name, and a path.

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use node::Pod;

/// As it was asked for: which pod it is, is known later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    text: String,
    port: IntOrString,
    path: String,
}

/// For one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was asked for.
    pub(crate) url: String,
    /// The port in the pod's network.
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
    /// The container that serves it, if that is known.
    pub(crate) container: Option<String>,
}

impl Url {
    /// Reads `http://:PORT/PATH`; the scheme and the path may be left out.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{what}; write a port of the pod and a path, for example http://:8080/ or :http/healthz");
        if text.starts_with("https://") {
            return Err(wrong("requests of a test are not encrypted"));
        }
        let rest = text.strip_prefix("http://").unwrap_or(text);
        let (authority, path) = rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash));
        let Some(port) = authority.strip_prefix(':') else {
            return Err(wrong("the host is always the pod, and is left out"));
        };
        if port.is_empty() {
            return Err(wrong("the port is missing"));
        }
        if path.chars().any(|character| !character.is_ascii_graphic()) {
            return Err(wrong("a path has only printable ASCII characters"));
        }
        let port = match port.parse::<i32>() {
            Ok(number) if u16::try_from(number).is_ok_and(|number| number > 0) => IntOrString::Int(number),
            Ok(_) => return Err(wrong("a port is a number from 1 to 65535")),
            Err(_) => IntOrString::String(port.to_owned()),
        };
        Ok(Self { text: text.to_owned(), port, path: path.to_owned() })
    }

    /// The port of this pod.
    ///
    /// # Errors
    /// When no container names the port.
    pub(crate) fn resolve(&self, pod: &Pod) -> anyhow::Result<Target> {
        let spec = pod.spec.as_ref();
        let containers: Vec<&Container> =
            spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers)).collect();
        let ports = || containers.iter().flat_map(|one| one.ports.iter().flatten().map(move |port| (one.name.as_str(), port)));
        let (port, container) = match &self.port {
            IntOrString::Int(number) => {
                let declared = ports().find(|(_, port)| port.container_port == *number).map(|(name, _)| name.to_owned());
                let only = spec.filter(|spec| spec.containers.len() == 1).map(|spec| spec.containers[0].name.clone());
                (*number, declared.or(only))
            }
            IntOrString::String(wanted) => {
                let found = ports().find(|(_, port)| port.name.as_ref() == Some(wanted));
                let (name, port) = found.ok_or_else(|| {
                    let pod = pod.metadata.name.as_deref().unwrap_or_default();
                    let named: Vec<_> = ports().filter_map(|(_, port)| port.name.as_deref()).collect();
                    let named = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
                    anyhow::anyhow!("--http {}: pod {pod} names no port {wanted:?} (it names: {named}); name it in a container's ports, or write its number", self.text)
                })?;
                (port.container_port, Some(name.to_owned()))
            }
        };
        Ok(Target { url: self.text.clone(), port: u16::try_from(port)?, path: self.path.clone(), container })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerPort, PodSpec};

    use super::*;

    fn pod(ports: &[(&str, &str, i32)]) -> Pod {
        let container = |name: &str| Container {
            name: name.to_owned(),
            ports: Some(
                ports
                    .iter()
                    .filter(|(of, ..)| *of == name)
                    .map(|(_, name, port)| ContainerPort {
                        name: Some((*name).to_owned()),
                        container_port: *port,
                        ..ContainerPort::default()
                    })
                    .collect(),
            ),
            ..Container::default()
        };
        let spec = PodSpec { containers: vec![container("app"), container("other")], ..PodSpec::default() };
        Pod { spec: Some(spec), ..Pod::default() }
    }

    #[test]
    fn a_port_is_found_by_number_or_name_with_the_container_that_serves_it() {
        let pod = pod(&[("app", "http", 8080), ("other", "admin", 9000)]);
        let cases = [
            ("http://:8080/", 8080, "/", Some("app")),
            (":http/a?b=c", 8080, "/a?b=c", Some("app")),
            (":admin", 9000, "/", Some("other")),
            ("http://:7/x", 7, "/x", None),
        ];
        for (text, port, path, container) in cases {
            let target = Url::parse(text).expect(text).resolve(&pod).expect(text);
            let wanted = Target { url: text.to_owned(), port, path: path.to_owned(), container: container.map(str::to_owned) };
            assert_eq!(target, wanted);
        }
        let unknown = Url::parse(":metrics/").expect("a name").resolve(&pod).expect_err("no such name").to_string();
        assert!(unknown.contains("names no port \"metrics\" (it names: http, admin)"), "{unknown}");
    }

    #[test]
    fn what_is_no_port_of_a_pod_is_refused_with_an_example() {
        for (text, why) in [
            ("https://:8443/", "not encrypted"),
            ("http://example.com/", "the host is always the pod"),
            ("8080", "the host is always the pod"),
            (":/x", "the port is missing"),
            (":0/", "from 1 to 65535"),
            (":70000/", "from 1 to 65535"),
            (":8080/a b", "printable ASCII"),
        ] {
            let error = Url::parse(text).expect_err(text);
            assert!(error.contains(why) && error.contains("for example http://:8080/"), "{text}: {error}");
        }
    }
}
