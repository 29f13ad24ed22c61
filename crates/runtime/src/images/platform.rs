//! Platforms: which of the images behind one name is for this machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::manifest::{Descriptor, ImageIndex};

/// Operating system and processor, in the words of Go, which images use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux`.
    #[serde(default)]
    pub os: String,
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `v8` and such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        let (architecture, variant) = match std::env::consts::ARCH {
            "x86_64" => ("amd64", None),
            "aarch64" => ("arm64", Some("v8")),
            "arm" => ("arm", Some("v7")),
            "x86" => ("386", None),
            "powerpc64" => ("ppc64le", None),
            other => (other, None),
        };
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// Whether an image for `other` runs on this platform. A missing variant is the base of its architecture.
    pub(crate) fn runs(&self, other: &Self) -> bool {
        let variant = other.variant.as_deref().filter(|variant| !variant.is_empty());
        let is_base = variant.is_none() || (self.architecture == "amd64" && variant == Some("v1"));
        self.os == other.os && self.architecture == other.architecture && (is_base || variant == self.variant.as_deref())
    }

    /// The entry of an index for this platform: one of the very variant before one without, in the order of the index.
    pub(crate) fn choose<'a>(&self, index: &'a ImageIndex) -> Option<&'a Descriptor> {
        let fits = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(|platform| self.runs(platform));
        let is_exact = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(|platform| platform.variant == self.variant);
        let mut fitting = index.manifests.iter().filter(fits);
        let exact = fitting.clone().find(is_exact);
        // An index of one image often does not say what it is for.
        let only = index.manifests.first().filter(|only| index.manifests.len() == 1 && only.platform.is_none());
        exact.or_else(|| fitting.next()).or(only)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}
