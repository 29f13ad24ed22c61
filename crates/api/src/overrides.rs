//! What a command line says over a manifest: other images, other environment variables.
//!
//! Applied before defaults, since these depend on what is applied (k8s: 1.a.1), and before validation, which then holds for it too.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

/// Changes of every Pod of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Images, in order; a later one wins.
    pub images: Vec<ImageOverride>,
    /// Environment variables, in order; a later one wins.
    pub env: Vec<EnvOverride>,
}

/// Another image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageOverride {
    /// Of the container of this name, init containers included; without one, of the only container of its Pod.
    pub container: Option<String>,
    /// The image.
    pub image: String,
}

/// Another value of an environment variable, or one more variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvOverride {
    /// Of the container of this name; without one, of all containers, init containers included.
    pub container: Option<String>,
    /// The variable.
    pub name: String,
    /// Its value, in which `$(VAR)` is expanded as in a manifest.
    pub value: String,
}

/// What an [`ImageOverride`] or [`EnvOverride`] in words cannot mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverrideError {
    /// No image.
    #[error("there is no image in it; write [CONTAINER=]IMAGE")]
    NoImage,
    /// No container before the sign that ends its name.
    #[error("the name of the container is empty")]
    NoContainer,
    /// No variable, or no value.
    #[error("write [CONTAINER:]NAME=VALUE")]
    NoVariable,
}

impl ImageOverride {
    /// Reads `[CONTAINER=]IMAGE`.
    ///
    /// # Errors
    /// When a part is empty.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let (container, image) = match text.split_once('=') {
            Some(("", _)) => return Err(OverrideError::NoContainer),
            Some((container, image)) => (Some(container.to_owned()), image),
            None => (None, text),
        };
        if image.is_empty() { Err(OverrideError::NoImage) } else { Ok(Self { container, image: image.to_owned() }) }
    }
}

impl EnvOverride {
    /// Reads `[CONTAINER:]NAME=VALUE`.
    ///
    /// # Errors
    /// When a part other than the value is empty.
    pub fn parse(text: &str) -> Result<Self, OverrideError> {
        let (name, value) = text.split_once('=').ok_or(OverrideError::NoVariable)?;
        let (container, name) = match name.split_once(':') {
            Some(("", _)) => return Err(OverrideError::NoContainer),
            Some((container, name)) => (Some(container.to_owned()), name),
            None => (None, name),
        };
        if name.is_empty() {
            Err(OverrideError::NoVariable)
        } else {
            Ok(Self { container, name: name.to_owned(), value: value.to_owned() })
        }
    }
}

impl Overrides {
    /// Changes a Pod; returns what cannot be meant for it, in words.
    pub fn apply(&self, pod: &mut Pod) -> Vec<String> {
        let mut problems = Vec::new();
        let Some(spec) = &mut pod.spec else { return problems };
        let names: Vec<_> = spec.containers.iter().map(|container| container.name.clone()).collect();
        for wanted in &self.images {
            let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
            match &wanted.container {
                Some(name) => {
                    containers
                        .filter(|container| container.name == *name)
                        .for_each(|container| container.image = Some(wanted.image.clone()));
                }
                None => match &mut spec.containers[..] {
                    [only] => only.image = Some(wanted.image.clone()),
                    _ => problems.push(format!(
                        "which container is to have the image {}? There are {}; write CONTAINER={}",
                        wanted.image,
                        names.join(", "),
                        wanted.image
                    )),
                },
            }
        }
        for wanted in &self.env {
            let containers = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
            containers.filter(|container| wanted.container.as_ref().is_none_or(|name| container.name == *name)).for_each(|container| {
                set_variable(container, &wanted.name, &wanted.value);
            });
        }
        problems
    }

    /// What names a container that none of the Pods has, in words.
    pub fn misses<'a>(&self, pods: impl Iterator<Item = &'a Pod>) -> Vec<String> {
        let specs = pods.filter_map(|pod| pod.spec.as_ref());
        let containers = specs.flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
        let known: BTreeSet<&str> = containers.map(|container| container.name.as_str()).collect();
        let wanted = self.images.iter().map(|wanted| &wanted.container).chain(self.env.iter().map(|wanted| &wanted.container));
        let missing: BTreeSet<&str> = wanted.flatten().map(String::as_str).filter(|name| !known.contains(name)).collect();
        let all: Vec<_> = known.iter().copied().collect();
        missing.into_iter().map(|name| format!("there is no container {name:?}, there are {}", all.join(", "))).collect()
    }
}

/// The last of several variables of one name counts, so that one is changed.
fn set_variable(container: &mut Container, name: &str, value: &str) {
    let variables = container.env.get_or_insert_default();
    let fresh = EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None };
    match variables.iter_mut().rev().find(|variable| variable.name == name) {
        Some(known) => *known = fresh,
        None => variables.push(fresh),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(containers: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": containers})).expect("a pod")
    }

    #[test]
    fn words_of_the_command_line_are_read() {
        let image =
            |container: Option<&str>, image: &str| ImageOverride { container: container.map(str::to_owned), image: image.to_owned() };
        assert_eq!(ImageOverride::parse("registry:5000/app:2"), Ok(image(None, "registry:5000/app:2")));
        assert_eq!(ImageOverride::parse("app=registry:5000/app:2"), Ok(image(Some("app"), "registry:5000/app:2")));
        assert_eq!(ImageOverride::parse("app="), Err(OverrideError::NoImage));
        assert_eq!(ImageOverride::parse(""), Err(OverrideError::NoImage));
        assert_eq!(ImageOverride::parse("=x"), Err(OverrideError::NoContainer));
        let env = |container: Option<&str>, name: &str, value: &str| EnvOverride {
            container: container.map(str::to_owned),
            name: name.to_owned(),
            value: value.to_owned(),
        };
        assert_eq!(EnvOverride::parse("URL=http://a:80/?x=1"), Ok(env(None, "URL", "http://a:80/?x=1")));
        assert_eq!(EnvOverride::parse("app:URL="), Ok(env(Some("app"), "URL", "")));
        for wrong in ["URL", "=1", "app:=1"] {
            assert_eq!(EnvOverride::parse(wrong), Err(OverrideError::NoVariable), "{wrong}");
        }
        assert_eq!(EnvOverride::parse(":URL=1"), Err(OverrideError::NoContainer));
    }

    #[test]
    fn images_and_variables_are_changed_where_they_are_meant() {
        let mut pod = pod(json!({
            "containers": [{"name": "a", "image": "old", "env": [{"name": "X", "value": "1"}, {"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}],
            "initContainers": [{"name": "i", "image": "old"}],
        }));
        let overrides = Overrides {
            images: vec![ImageOverride::parse("new").expect("an image"), ImageOverride::parse("i=other").expect("an image")],
            env: vec![EnvOverride::parse("X=2").expect("a variable"), EnvOverride::parse("a:Y=3").expect("a variable")],
        };
        assert_eq!(overrides.apply(&mut pod), Vec::<String>::new());
        let spec = serde_json::to_value(pod.spec.as_ref()).expect("serializes");
        assert_eq!(
            spec,
            json!({
                "containers": [{"name": "a", "image": "new", "env": [
                    {"name": "X", "value": "1"}, {"name": "X", "value": "2"}, {"name": "Y", "value": "3"}]}],
                "initContainers": [{"name": "i", "image": "other", "env": [{"name": "X", "value": "2"}]}],
            })
        );
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        let mut two = pod(json!({"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}));
        let overrides = Overrides {
            images: vec![ImageOverride::parse("new").expect("an image"), ImageOverride::parse("c=new").expect("an image")],
            env: vec![EnvOverride::parse("d:X=1").expect("a variable")],
        };
        assert_eq!(overrides.apply(&mut two), ["which container is to have the image new? There are a, b; write CONTAINER=new"]);
        assert_eq!(
            overrides.misses([&two].into_iter()),
            ["there is no container \"c\", there are a, b", "there is no container \"d\", there are a, b"]
        );
    }
}
