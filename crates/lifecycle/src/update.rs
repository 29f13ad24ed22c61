//! A live pod's manifest changes: what may change, and what follows from it.
//!
//! Of a pod that exists, the API lets only images, `activeDeadlineSeconds` and a negative grace be changed (rows 1.d.13, 1.b.4), and, on
//! endpoints of their own, ephemeral containers be added and resources be changed; whatever else differs in the new spec is not looked
//! at. Only another image restarts a container (k8s: 2.e.3), and other resources where its `resizePolicy` asks for it (`resize.rs`).
//!
//! ```text
//!  not yet made           starts with the new image, without the pauses that the old one had earned
//!  image looked for       given up, its turn comes again
//!  being made, postStart  goes on with the old image, replaced when it runs
//!  running                stopped (preStop and grace of the spec), then started with the new image
//!  being stopped, ended   the restart policy decides whether the new image is ever started
//! ```

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::action::{Action, StopCause};
use crate::back_off::BackOff;
use crate::container::{Container, Role, Stage};
use crate::spec::{ContainerSpec, PodSpec};
use crate::time::Timestamp;
use crate::worker::PodWorker;

impl PodWorker {
    /// The manifest of the pod is another one from here on. A pod that is going takes it up without consequence.
    pub fn handle_update(&mut self, spec: PodSpec, now: Timestamp) {
        let resources = spec.clone();
        self.spec.active_deadline_secs = spec.active_deadline_secs;
        self.spec.termination_grace_period_secs = spec.termination_grace_period_secs;
        for changed in spec.init_containers.into_iter().chain(spec.containers) {
            let found = self.containers.iter().position(|container| container.spec.name == changed.name);
            if let Some(index) = found.filter(|index| self.containers[*index].spec.image != changed.image) {
                self.take_image(index, changed.image);
            }
        }
        self.take_ephemeral_containers(spec.ephemeral_containers);
        self.take_resources(&resources);
        self.consider_resize();
        if self.termination.is_none() {
            for index in 0..self.containers.len() {
                self.replace_if_outdated(index, now);
            }
        }
        self.settle(now);
    }

    /// Those that are new join the others; one that is there stays as it is.
    fn take_ephemeral_containers(&mut self, wanted: Vec<ContainerSpec>) {
        for spec in wanted {
            if self.spec.ephemeral_containers.iter().all(|known| known.name != spec.name) {
                self.spec.ephemeral_containers.push(spec.clone());
                self.containers.push(Container::new(spec, Role::Ephemeral));
            }
        }
    }

    fn take_image(&mut self, index: usize, image: String) {
        let name = &self.containers[index].spec.name;
        let of_spec = self.spec.init_containers.iter_mut().chain(&mut self.spec.containers).find(|container| container.name == *name);
        if let Some(of_spec) = of_spec {
            of_spec.image.clone_from(&image);
        }
        let container = &mut self.containers[index];
        container.spec.image = image;
        // k8s: 5.b.7: the image is part of what the pauses are remembered by.
        container.back_off = BackOff::default();
        if self.termination.is_some() {
            return;
        }
        match container.stage.clone() {
            Stage::BackOff { .. } | Stage::RetryLater { .. } | Stage::ImagePullFailed { .. } => container.stage = Stage::Waiting,
            Stage::InspectingImage { .. } => self.give_turn_back(index),
            Stage::PullingImage { action } => {
                self.tell(Action::CancelPull { pull: action });
                self.give_turn_back(index);
            }
            Stage::Waiting
            | Stage::Creating { .. }
            | Stage::Starting { .. }
            | Stage::PostStart { .. }
            | Stage::Running
            | Stage::Stopping(_)
            | Stage::Exited { .. }
            | Stage::Done => {}
        }
    }

    fn give_turn_back(&mut self, index: usize) {
        self.containers[index].stage = Stage::Waiting;
        self.end_turn(index);
    }

    /// Stops a container that runs another image than the manifest names (k8s: 4.a.8, 4.a.9). A plain init container is let
    /// finish with the old one (k8s: 6.a.7).
    pub(crate) fn replace_if_outdated(&mut self, index: usize, now: Timestamp) {
        let container = &self.containers[index];
        let is_outdated = container.instance.as_ref().is_some_and(|instance| instance.image != container.spec.image);
        if container.stage != Stage::Running || !is_outdated {
            return;
        }
        let name = &container.spec.name;
        let text = match container.role {
            Role::Init | Role::Ephemeral => return,
            Role::Sidecar => format!("Init container {name} definition changed"),
            Role::Regular => format!("Container {name} definition changed, will be restarted"),
        };
        if let Some(instance) = &mut self.containers[index].instance {
            instance.is_replaced = true;
        }
        self.stop_alone(index, StopCause::DefinitionChanged, text, None, now);
    }
}
