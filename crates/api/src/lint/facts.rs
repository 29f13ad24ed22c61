//! What rules may ask about the world beyond the manifest: images that are at hand, and runs that were measured.
//!
//! Only the questions; whoever calls the rules answers them. No answer is always allowed, and rules then say less.

use std::collections::BTreeMap;
use std::fmt;

/// What an image says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The program with its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments, or the program where there is no entrypoint.
    pub cmd: Vec<String>,
    /// Its environment, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Where commands run.
    pub working_dir: String,
    /// The signal that asks its process to stop.
    pub stop_signal: Option<String>,
}

/// What is at a path of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFile {
    /// Surely nothing.
    Missing,
    /// A regular file; its path with all symbolic links followed.
    File(String),
    /// It cannot be told.
    Unknown,
}

/// The images that are at hand.
pub trait Images: fmt::Debug {
    /// The image of this name as a manifest writes it, if it is at hand.
    fn config(&self, image: &str) -> Option<ImageConfig>;

    /// What is at an absolute path of an image that is at hand.
    fn file(&self, image: &str, path: &str) -> ImageFile;
}

/// No image is at hand.
#[derive(Clone, Copy, Debug)]
pub struct NoImages;

impl Images for NoImages {
    fn config(&self, _image: &str) -> Option<ImageConfig> {
        None
    }

    fn file(&self, _image: &str, _path: &str) -> ImageFile {
        ImageFile::Unknown
    }
}

/// What runs of one pod have shown. Where there were several, each number is the longest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// `metadata.namespace` of the pod that ran.
    pub namespace: String,
    /// `metadata.name` of the pod that ran.
    pub pod: String,
    /// By name of the container.
    pub containers: BTreeMap<String, MeasuredContainer>,
}

/// What runs have shown of one container.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeasuredContainer {
    /// Seconds that its postStart hook ran.
    pub post_start_seconds: Option<f64>,
    /// Seconds that its preStop hook ran.
    pub pre_stop_seconds: Option<f64>,
    /// Seconds from the stop signal to the end of its process, where it did something with the signal. At least so many where it was
    /// killed.
    pub drain_seconds: Option<f64>,
    /// Whether its process had to be killed.
    pub killed: bool,
    /// The process that its stop signal went to and that let it come to nothing.
    pub swallowed_by: Option<String>,
    /// Seconds from its start until it was ready.
    pub ready_seconds: Option<f64>,
}

impl Measured {
    /// Adds what other runs have shown.
    pub fn merge(&mut self, other: &Self) {
        for (name, container) in &other.containers {
            self.containers.entry(name.clone()).or_default().merge(container);
        }
    }
}

impl MeasuredContainer {
    fn merge(&mut self, other: &Self) {
        let longest = |one: Option<f64>, other: Option<f64>| match (one, other) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (one, other) => one.or(other),
        };
        self.post_start_seconds = longest(self.post_start_seconds, other.post_start_seconds);
        self.pre_stop_seconds = longest(self.pre_stop_seconds, other.pre_stop_seconds);
        self.drain_seconds = longest(self.drain_seconds, other.drain_seconds);
        self.ready_seconds = longest(self.ready_seconds, other.ready_seconds);
        self.killed |= other.killed;
        self.swallowed_by = self.swallowed_by.take().or_else(|| other.swallowed_by.clone());
    }
}
