//! Rules of container ports.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, ContainerPort};

use super::error::FieldError;
use super::{Errors, names, text};
use crate::path::FieldPath;

/// Checks the ports of one container.
pub(super) fn validate_ports(ports: &[ContainerPort], path: &FieldPath, errors: &mut Errors) {
    let mut names_seen = BTreeSet::new();
    for (index, port) in ports.iter().enumerate() {
        let path = path.index(index);
        let name = text(&port.name);
        if !name.is_empty() {
            let wrong = names::port_name(name);
            if wrong.is_empty() && !names_seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            super::complain(errors, &path.child("name"), name, wrong);
        }
        if port.container_port == 0 {
            errors.push(FieldError::required(&path.child("containerPort"), ""));
        } else {
            let wrong = names::port_number(port.container_port).into_iter();
            let field = path.child("containerPort");
            errors.extend(wrong.map(|text| FieldError::invalid(&field, port.container_port, text)));
        }
        if let Some(host_port) = port.host_port.filter(|port| *port != 0) {
            let wrong = names::port_number(host_port).into_iter();
            let field = path.child("hostPort");
            errors.extend(wrong.map(|text| FieldError::invalid(&field, host_port, text)));
        }
        match text(&port.protocol) {
            "" => errors.push(FieldError::required(&path.child("protocol"), "")),
            "TCP" | "UDP" | "SCTP" => {}
            other => {
                let supported = ["SCTP", "TCP", "UDP"];
                errors.push(FieldError::not_supported(&path.child("protocol"), other, &supported));
            }
        }
    }
}

/// Ports of the host can be taken only once by the containers that run together.
pub(super) fn validate_host_ports<'a>(containers: impl IntoIterator<Item = (usize, &'a Container)>, path: &FieldPath, errors: &mut Errors) {
    let mut taken = BTreeSet::new();
    for (container_index, container) in containers {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let Some(host_port) = port.host_port.filter(|port| *port != 0) else {
                continue;
            };
            let key = format!("{}/{}/{host_port}", text(&port.protocol), text(&port.host_ip));
            if taken.contains(&key) {
                let path = path.index(container_index).child("ports").index(index).child("hostPort");
                errors.push(FieldError::duplicate(&path, &key));
            }
            taken.insert(key);
        }
    }
}

/// On the network of the host, a container's port is the host's port.
pub(super) fn validate_host_network_ports(containers: &[Container], path: &FieldPath, errors: &mut Errors) {
    for (container_index, container) in containers.iter().enumerate() {
        for (index, port) in container.ports.iter().flatten().enumerate() {
            let host_port = port.host_port.unwrap_or(0);
            if host_port != port.container_port {
                let path = path.index(container_index).child("ports").index(index).child("hostPort");
                let detail = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&path, host_port, detail));
            }
        }
    }
}
