//! The system calls of the architectures that filters can name, by number.

use oci_spec::runtime::Arch;

/// An architecture whose calls a filter judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Architecture {
    X86_64,
    /// The calls of x86_64 with short pointers: told apart by a bit in the number.
    X32,
    I386,
    Aarch64,
    Arm,
}

impl Architecture {
    /// That of this machine.
    pub(super) const NATIVE: Self = if cfg!(target_arch = "aarch64") { Self::Aarch64 } else { Self::X86_64 };

    /// `None` for those whose programs can run neither on x86_64 nor on aarch64; calls of unlisted architectures kill.
    pub(super) fn from_oci(architecture: Arch) -> Option<Self> {
        match architecture {
            Arch::ScmpArchNative => Some(Self::NATIVE),
            Arch::ScmpArchX86 => Some(Self::I386),
            Arch::ScmpArchX86_64 => Some(Self::X86_64),
            Arch::ScmpArchX32 => Some(Self::X32),
            Arch::ScmpArchArm => Some(Self::Arm),
            Arch::ScmpArchAarch64 => Some(Self::Aarch64),
            Arch::ScmpArchMips
            | Arch::ScmpArchMips64
            | Arch::ScmpArchMips64n32
            | Arch::ScmpArchMipsel
            | Arch::ScmpArchMipsel64
            | Arch::ScmpArchMipsel64n32
            | Arch::ScmpArchPpc
            | Arch::ScmpArchPpc64
            | Arch::ScmpArchPpc64le
            | Arch::ScmpArchS390
            | Arch::ScmpArchS390x
            | Arch::ScmpArchParisc
            | Arch::ScmpArchParisc64
            | Arch::ScmpArchRiscv64
            | Arch::ScmpArchLoongarch64
            | Arch::ScmpArchM68k
            | Arch::ScmpArchSh
            | Arch::ScmpArchSheb => None,
        }
    }

    /// The kernel's number for it. X32 shares that of x86_64.
    pub(super) fn audit_number(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::I386 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Whether the kernel takes 32 bits of each argument only.
    pub(super) fn has_short_arguments(self) -> bool {
        matches!(self, Self::I386 | Self::Arm)
    }

    /// All calls, by number.
    pub(super) fn calls(self) -> Vec<(u32, &'static str)> {
        match self {
            Self::X86_64 => x86_64_calls().collect(),
            Self::X32 => x32_calls(),
            Self::I386 => {
                let last = syscalls::x86::Sysno::last().id() as u32;
                (0..=last).filter_map(|number| Some((number, syscalls::x86::Sysno::new(number as usize)?.name()))).collect()
            }
            Self::Aarch64 => {
                let last = syscalls::aarch64::Sysno::last().id() as u32;
                (0..=last).filter_map(|number| Some((number, syscalls::aarch64::Sysno::new(number as usize)?.name()))).collect()
            }
            Self::Arm => {
                let last = syscalls::arm::Sysno::last().id() as u32;
                let ordinary = 0..=last.min(ARM_ORDINARY_MAX);
                let private = ARM_PRIVATE..=last.max(ARM_PRIVATE);
                let name = |number: u32| syscalls::arm::Sysno::new(number as usize).map(|call| (number, call.name()));
                ordinary.chain(private).filter_map(name).collect()
            }
        }
    }
}

fn x86_64_calls() -> impl Iterator<Item = (u32, &'static str)> {
    let last = syscalls::x86_64::Sysno::last().id() as u32;
    (0..=last).filter_map(|number| Some((number, syscalls::x86_64::Sysno::new(number as usize)?.name())))
}

/// Calls whose arguments have pointers in structures have numbers of their own; the others are those of x86_64.
fn x32_calls() -> Vec<(u32, &'static str)> {
    let shared = x86_64_calls().filter(|(_, name)| !X32_OWN.contains(name)).collect::<Vec<_>>();
    let own = (X32_OWN_FIRST..).zip(X32_OWN);
    let mut calls: Vec<_> = shared.into_iter().chain(own).map(|(number, name)| (number | X32_BIT, name)).collect();
    calls.sort_unstable();
    calls
}

pub(super) const X32_BIT: u32 = 0x4000_0000;
const X32_OWN_FIRST: u32 = 512;
const X32_OWN: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];
/// The calls of 32-bit Arm that other systems had before are far above the ordinary ones.
const ARM_PRIVATE: u32 = 0x000f_0000;
const ARM_ORDINARY_MAX: u32 = 0xffff;
