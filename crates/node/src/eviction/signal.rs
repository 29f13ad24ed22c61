//! What a node may run short of, and what that is called.

use std::fmt;

/// Something that is watched, under the name that thresholds have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Memory that is free, or would be without a loss, in bytes.
    MemoryAvailable,
    /// Free bytes of the file system of pods and volumes.
    NodeFsAvailable,
    /// Free inodes of that file system.
    NodeFsInodesFree,
    /// Free bytes of the file system of images and writable layers.
    ImageFsAvailable,
    /// Free inodes of that file system.
    ImageFsInodesFree,
    /// Processes and threads that can still be started.
    PidAvailable,
}

/// A condition of the node that comes of a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeCondition {
    /// Memory is short.
    MemoryPressure,
    /// Disk space or inodes are short.
    DiskPressure,
    /// Processes are short.
    PidPressure,
}

impl Signal {
    /// All of them, memory first: it is what is reclaimed first.
    pub const ALL: [Self; 6] = [
        Self::MemoryAvailable,
        Self::NodeFsAvailable,
        Self::NodeFsInodesFree,
        Self::ImageFsAvailable,
        Self::ImageFsInodesFree,
        Self::PidAvailable,
    ];

    /// The name that thresholds have for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::NodeFsAvailable => "nodefs.available",
            Self::NodeFsInodesFree => "nodefs.inodesFree",
            Self::ImageFsAvailable => "imagefs.available",
            Self::ImageFsInodesFree => "imagefs.inodesFree",
            Self::PidAvailable => "pid.available",
        }
    }

    /// The signal that is called so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// What the node is low on, as the message of an eviction names it (k8s: 8.a.18).
    pub const fn resource(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory",
            Self::NodeFsAvailable | Self::ImageFsAvailable => "ephemeral-storage",
            Self::NodeFsInodesFree | Self::ImageFsInodesFree => "inodes",
            Self::PidAvailable => "pids",
        }
    }

    /// Whether it is of a disk, so that more of it is there when files go.
    pub fn is_of_disk(self) -> bool {
        self.condition() == NodeCondition::DiskPressure
    }

    /// The condition that the node has while this is short.
    pub const fn condition(self) -> NodeCondition {
        match self {
            Self::MemoryAvailable => NodeCondition::MemoryPressure,
            Self::NodeFsAvailable | Self::NodeFsInodesFree | Self::ImageFsAvailable | Self::ImageFsInodesFree => {
                NodeCondition::DiskPressure
            }
            Self::PidAvailable => NodeCondition::PidPressure,
        }
    }
}

impl NodeCondition {
    /// All of them, in the order in which a Node shows them.
    pub const ALL: [Self; 3] = [Self::MemoryPressure, Self::DiskPressure, Self::PidPressure];

    /// Reasons of the condition: while it holds, and while it does not; and the messages beside them.
    pub const fn reasons(self) -> [(&'static str, &'static str); 2] {
        match self {
            Self::MemoryPressure => [
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ],
            Self::DiskPressure => {
                [("KubeletHasDiskPressure", "kubelet has disk pressure"), ("KubeletHasNoDiskPressure", "kubelet has no disk pressure")]
            }
            Self::PidPressure => [
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ],
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for NodeCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MemoryPressure => "MemoryPressure",
            Self::DiskPressure => "DiskPressure",
            Self::PidPressure => "PIDPressure",
        })
    }
}
