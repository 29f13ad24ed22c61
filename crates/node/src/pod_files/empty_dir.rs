//! emptyDir volumes: a folder on the node's disk, or in memory.

use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs;
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use rustix::mount::{MountFlags, UnmountFlags};

use super::ownership::{Access, give_to_group};
use super::volume::VolumeProblem;
use super::{make_private_dirs, set_mode};
use crate::container_config::resources::pod_memory_limit_bytes;
use crate::machine::Machine;
use crate::quantity::{Amount, QuantityError};

/// Everyone in the pod may write, whatever user its containers run as.
const EMPTY_DIR_MODE: u32 = 0o777;
/// Where the kernel tells which sizes of large pages it has.
const HUGE_PAGES: &str = "/sys/kernel/mm/hugepages";
/// Memory file systems are at least one page, in bytes.
const TMPFS_BYTES_MIN: i64 = 4096;

/// What the files of a volume are kept on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// The file system of the pod's folder. Its size limit is not enforced here: the reference evicts for it.
    Disk,
    /// Memory in large pages; how much is bounded by the containers' limits of it.
    HugePages {
        /// Of one page.
        page_bytes: i64,
    },
    /// Memory, at most so many bytes.
    Memory {
        /// In bytes; none for what the engine fills itself.
        bytes_max: Option<i64>,
    },
}

/// The medium that an emptyDir asks for.
pub(super) fn medium(source: Option<&EmptyDirVolumeSource>, pod: &Pod, machine: &Machine) -> Result<Medium, VolumeProblem> {
    let limit = source.and_then(|source| source.size_limit.as_ref()).map(Amount::parse).transpose()?;
    match source.and_then(|source| source.medium.as_deref()).unwrap_or_default() {
        "" => Ok(Medium::Disk),
        "Memory" => {
            // The smallest of the volume's limit, the pod's and all of the machine.
            let limit = limit.map(Amount::units).filter(|bytes| *bytes > 0).unwrap_or(i64::MAX);
            let bytes = limit.min(pod_memory_limit_bytes(pod)?.unwrap_or(i64::MAX)).min(machine.memory_bytes);
            Ok(Medium::Memory { bytes_max: Some(bytes.max(TMPFS_BYTES_MIN)) })
        }
        "HugePages" => match page_sizes(pod)?.as_slice() {
            [page_bytes] => huge_pages(*page_bytes),
            [] => Err(VolumeProblem::HugePages("no container of the pod has a limit of hugepages-SIZE".to_owned())),
            _ => Err(VolumeProblem::HugePages("the pod uses pages of several sizes; name one, such as medium HugePages-2Mi".to_owned())),
        },
        other => match other.strip_prefix("HugePages-") {
            Some(size) => huge_pages(Amount::parse(&Quantity(size.to_owned()))?.units()),
            None => Err(VolumeProblem::Unsupported { what: format!("emptyDir.medium {other}") }),
        },
    }
}

/// Sizes of the pages that the pod's containers have limits of, in bytes, each once.
fn page_sizes(pod: &Pod) -> Result<Vec<i64>, VolumeProblem> {
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let limits = containers.filter_map(|container| container.resources.as_ref()?.limits.as_ref());
    let sizes: BTreeSet<_> = limits.flat_map(|limits| limits.keys()).filter_map(|name| name.strip_prefix("hugepages-")).collect();
    Ok(sizes.into_iter().map(|size| Ok(Amount::parse(&Quantity(size.to_owned()))?.units())).collect::<Result<_, QuantityError>>()?)
}

/// Pages of a size that the machine's kernel does not have are told before anything is mounted.
fn huge_pages(page_bytes: i64) -> Result<Medium, VolumeProblem> {
    let folder = format!("{HUGE_PAGES}/hugepages-{}kB", page_bytes >> 10);
    if Path::new(&folder).is_dir() {
        return Ok(Medium::HugePages { page_bytes });
    }
    Err(VolumeProblem::HugePages(format!("this machine has no pages of {page_bytes} bytes ({folder} does not exist)")))
}

/// Makes an emptyDir; one that is there already is left as it is.
pub(super) fn make_empty_dir(dir: &Path, medium: &Medium, fs_group: Option<i64>) -> Result<(), VolumeProblem> {
    if dir.exists() {
        return Ok(());
    }
    make_private_dirs(dir.parent().unwrap_or(dir)).map_err(|source| VolumeProblem::io("mkdir", dir, source))?;
    fs::create_dir(dir).map_err(|source| VolumeProblem::io("mkdir", dir, source))?;
    let made = set_up(dir, medium, fs_group);
    if made.is_err() {
        // A half-made volume must not be taken for a whole one the next time.
        let _ = rustix::mount::unmount(dir, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW);
        let _ = fs::remove_dir(dir);
    }
    made
}

fn set_up(dir: &Path, medium: &Medium, fs_group: Option<i64>) -> Result<(), VolumeProblem> {
    set_mode(dir, EMPTY_DIR_MODE).map_err(|source| VolumeProblem::io("chmod", dir, source))?;
    match medium {
        Medium::Disk => {}
        Medium::Memory { bytes_max } => mount_tmpfs(dir, *bytes_max)?,
        Medium::HugePages { page_bytes } => {
            mount_huge_pages(dir, *page_bytes)?;
            // Its root is everyone's only after it is mounted.
            set_mode(dir, EMPTY_DIR_MODE).map_err(|source| VolumeProblem::io("chmod", dir, source))?;
        }
    }
    give_to_group(dir, fs_group, Access::ReadWrite).map_err(|source| VolumeProblem::io("chown", dir, source))
}

/// Mounts an empty file system of large pages.
fn mount_huge_pages(dir: &Path, page_bytes: i64) -> Result<(), VolumeProblem> {
    let options = CString::new(format!("pagesize={page_bytes}")).unwrap_or_default();
    rustix::mount::mount("nodev", dir, "hugetlbfs", MountFlags::empty(), Some(options.as_c_str()))
        .map_err(|source| VolumeProblem::io("mount a hugetlbfs at", dir, source))
}

/// Mounts an empty file system in memory.
fn mount_tmpfs(dir: &Path, bytes_max: Option<i64>) -> Result<(), VolumeProblem> {
    let options = bytes_max.map(|bytes| format!("size={bytes}")).and_then(|options| CString::new(options).ok());
    rustix::mount::mount("tmpfs", dir, "tmpfs", MountFlags::empty(), options.as_deref())
        .map_err(|source| VolumeProblem::io("mount a tmpfs at", dir, source))
}
