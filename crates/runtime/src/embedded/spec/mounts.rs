//! What is mounted in a container besides its root file system.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::{Mount, MountBuilder};

use super::SpecError;
use crate::{ContainerConfig, MountPropagation};

/// The mounts in the order in which they are to be made, and the propagation that the root needs for them.
///
/// As in containerd: the usual ones first, except where the manifest mounts something at the same place (or all of `/dev`);
/// then the manifest's, the shallower ones first, so that none hides another.
pub(super) fn mounts(
    container: &ContainerConfig,
    shm: &Path,
    images: &BTreeMap<String, Vec<PathBuf>>,
) -> Result<(Vec<Mount>, Option<&'static str>), SpecError> {
    let mut wanted: Vec<crate::Mount> = container.mounts.clone();
    if !wanted.iter().any(|mount| clean(&mount.container_path) == Path::new("/dev/shm")) {
        wanted.push(crate::Mount { host_path: shm.to_owned(), container_path: "/dev/shm".into(), ..crate::Mount::default() });
    }
    wanted.sort_by_key(|mount| depth(&mount.container_path));

    let taken: BTreeSet<PathBuf> = wanted.iter().map(|mount| clean(&mount.container_path)).collect();
    let is_free =
        |destination: &Path| !(taken.contains(destination) || destination.starts_with("/dev") && taken.contains(Path::new("/dev")));
    let mut mounts: Vec<Mount> = usual_mounts(container.security.privileged)
        .into_iter()
        .filter(|(destination, ..)| is_free(Path::new(destination)))
        .map(|(destination, typ, options)| mount(destination.into(), typ, typ.into(), options))
        .collect();
    let mut propagation = None;
    for wish in &wanted {
        if let Some(id) = &wish.image_id {
            let layers = images.get(id).ok_or_else(|| SpecError::NoMountedImage(id.clone()))?;
            mounts.push(of_image(wish.container_path.clone(), layers));
            continue;
        }
        let (bind, of_root) = bind(wish)?;
        mounts.push(bind);
        propagation = match (propagation, of_root) {
            (Some("rshared"), _) => Some("rshared"),
            (other, None) => other,
            (_, wider) => wider,
        };
    }
    Ok((mounts, propagation))
}

fn usual_mounts(privileged: bool) -> [(&'static str, &'static str, Vec<&'static str>); 6] {
    let access = if privileged { "rw" } else { "ro" };
    [
        ("/proc", "proc", vec!["nosuid", "noexec", "nodev"]),
        ("/dev", "tmpfs", vec!["nosuid", "strictatime", "mode=755", "size=65536k"]),
        ("/dev/pts", "devpts", vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]),
        ("/dev/mqueue", "mqueue", vec!["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", vec!["nosuid", "noexec", "nodev", access]),
        ("/sys/fs/cgroup", "cgroup", vec!["nosuid", "noexec", "nodev", "relatime", access]),
    ]
}

fn bind(wish: &crate::Mount) -> Result<(Mount, Option<&'static str>), SpecError> {
    let (propagation, of_root) = match wish.propagation {
        MountPropagation::Private => ("rprivate", None),
        MountPropagation::HostToContainer => ("rslave", Some("rslave")),
        MountPropagation::Bidirectional => ("rshared", Some("rshared")),
    };
    let access = match (wish.readonly, wish.recursive_readonly) {
        (true, true) if wish.propagation != MountPropagation::Private => {
            return Err(SpecError::RecursiveReadonlyPropagated(wish.host_path.clone()));
        }
        (true, true) => "rro",
        (true, false) => "ro",
        (false, true) => return Err(SpecError::RecursiveReadonlyOfWritable(wish.host_path.clone())),
        (false, false) => "rw",
    };
    Ok((mount(wish.container_path.clone(), "bind", wish.host_path.clone(), vec!["rbind", propagation, access]), of_root))
}

/// The layers laid over each other. A single layer is no overlay: it is shown as it is.
fn of_image(destination: PathBuf, layers: &[PathBuf]) -> Mount {
    let plain = ["ro", "nosuid", "nodev"];
    match layers {
        [only] => mount(destination, "bind", only.clone(), ["rbind", "rprivate"].into_iter().chain(plain).collect()),
        _ => {
            let layers: Vec<String> = layers.iter().map(|layer| format!("lowerdir+={}", layer.display())).collect();
            mount(destination, "overlay", "overlay".into(), plain.into_iter().chain(layers.iter().map(String::as_str)).collect())
        }
    }
}

fn mount(destination: PathBuf, typ: &str, source: PathBuf, options: Vec<&str>) -> Mount {
    MountBuilder::default()
        .destination(destination)
        .typ(typ)
        .source(source)
        .options(options.into_iter().map(str::to_owned).collect::<Vec<_>>())
        .build()
        .expect("no id mappings are given, which is all that is validated")
}

/// The path without `.`, doubled slashes and `..`; it need not exist here.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

fn depth(path: &Path) -> usize {
    clean(path).components().count()
}
