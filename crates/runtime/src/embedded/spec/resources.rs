//! Limits in OCI's words.

use oci_spec::runtime::{
    LinuxCpu, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources,
};

/// Limits of a container, devices included.
pub(super) fn container_resources(limits: &crate::LinuxResources, privileged: bool) -> LinuxResources {
    let mut resources = linux_resources(limits);
    let devices = if privileged {
        vec![device(true, None, None, None)]
    } else {
        let known = ALLOWED_DEVICES.iter().map(|(typ, major, minor, access)| device_with(true, Some(*typ), *major, *minor, access));
        std::iter::once(device(false, None, None, None)).chain(known).collect()
    };
    resources.set_devices(Some(devices));
    resources
}

/// Limits of a pod, or those of a container without its devices.
pub(crate) fn linux_resources(limits: &crate::LinuxResources) -> LinuxResources {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(limits.cpu_shares.filter(|shares| *shares != 0))
        .set_quota(limits.cpu_quota_micros.filter(|quota| *quota != 0))
        .set_period(limits.cpu_period_micros.filter(|period| *period != 0))
        .set_cpus(limits.cpuset_cpus.clone().filter(|cpus| !cpus.is_empty()));
    let memory_limit = limits.memory_limit_bytes.filter(|bytes| *bytes != 0);
    let mut memory = LinuxMemory::default();
    // Memory and swap together not above the memory alone: a container does not swap.
    memory.set_limit(memory_limit).set_swap(memory_limit);
    let pids = limits.pids_limit.filter(|limit| *limit != 0).map(|limit| {
        let mut pids = LinuxPids::default();
        pids.set_limit(limit);
        pids
    });
    let hugepages: Vec<_> = limits
        .hugepage_limits
        .iter()
        .map(|(size, bytes)| {
            let mut limit = LinuxHugepageLimit::default();
            limit.set_page_size(size.clone()).set_limit(i64::try_from(*bytes).unwrap_or(i64::MAX));
            limit
        })
        .collect();
    let mut resources = LinuxResources::default();
    resources
        .set_cpu((cpu != LinuxCpu::default()).then_some(cpu))
        .set_memory((memory != LinuxMemory::default()).then_some(memory))
        .set_pids(pids)
        .set_hugepage_limits((!hugepages.is_empty()).then_some(hugepages))
        .set_unified((!limits.unified.is_empty()).then(|| limits.unified.clone().into_iter().collect()));
    resources
}

fn device(allow: bool, typ: Option<LinuxDeviceType>, major: Option<i64>, minor: Option<i64>) -> LinuxDeviceCgroup {
    device_with(allow, typ, major, minor, "rwm")
}

fn device_with(allow: bool, typ: Option<LinuxDeviceType>, major: Option<i64>, minor: Option<i64>, access: &str) -> LinuxDeviceCgroup {
    let mut builder = LinuxDeviceCgroupBuilder::default().allow(allow).access(access);
    if let Some(typ) = typ {
        builder = builder.typ(typ);
    }
    if let Some(major) = major {
        builder = builder.major(major);
    }
    if let Some(minor) = minor {
        builder = builder.minor(minor);
    }
    builder.build().expect("every field has a default")
}

type AllowedDevice = (LinuxDeviceType, Option<i64>, Option<i64>, &'static str);

/// What every container may use: any node may be made, but only these opened.
const ALLOWED_DEVICES: [AllowedDevice; 10] = [
    (LinuxDeviceType::C, None, None, "m"),
    (LinuxDeviceType::B, None, None, "m"),
    (LinuxDeviceType::C, Some(1), Some(3), "rwm"), // null
    (LinuxDeviceType::C, Some(1), Some(5), "rwm"), // zero
    (LinuxDeviceType::C, Some(1), Some(7), "rwm"), // full
    (LinuxDeviceType::C, Some(1), Some(8), "rwm"), // random
    (LinuxDeviceType::C, Some(1), Some(9), "rwm"), // urandom
    (LinuxDeviceType::C, Some(5), Some(0), "rwm"), // tty
    (LinuxDeviceType::C, Some(5), Some(2), "rwm"), // ptmx
    (LinuxDeviceType::C, Some(136), None, "rwm"),  // pts
];
