//! The five capability sets of a process.

use oci_spec::runtime::{Capabilities, LinuxCapabilities};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::error::{During as _, Failure};

/// The sets as bits, numbered as the kernel does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapabilityPlan {
    bounding: u64,
    effective: u64,
    inheritable: u64,
    permitted: u64,
    ambient: u64,
}

impl CapabilityPlan {
    /// No `process.capabilities` means none at all.
    pub(crate) fn new(sets: Option<&LinuxCapabilities>) -> Self {
        let Some(sets) = sets else { return Self::default() };
        Self {
            bounding: bits(sets.bounding().as_ref()),
            effective: bits(sets.effective().as_ref()),
            inheritable: bits(sets.inheritable().as_ref()),
            permitted: bits(sets.permitted().as_ref()),
            ambient: bits(sets.ambient().as_ref()),
        }
    }

    /// Takes away what this process does not have itself, and says what that was.
    pub(crate) fn clamp(&mut self, clamped: &mut Vec<String>) -> Result<(), Failure> {
        let own = capabilities(None).during("read capabilities of", "the runtime")?.permitted.bits();
        let asked = self.bounding | self.effective | self.inheritable | self.permitted | self.ambient;
        for set in [&mut self.bounding, &mut self.effective, &mut self.inheritable, &mut self.permitted, &mut self.ambient] {
            *set &= own;
        }
        let missing: Vec<_> = (0..NAMES.len()).filter(|number| asked & !own & 1 << number != 0).map(|number| NAMES[number]).collect();
        if !missing.is_empty() {
            clamped.push(format!("capabilities {} are not granted: this runtime does not have them itself", missing.join(", ")));
        }
        Ok(())
    }

    /// Drops everything that is not in the bounding set, for good. Needs CAP_SETPCAP.
    pub(crate) fn limit_bounding_set(&self) -> Result<(), Failure> {
        for number in 0..64 {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            match capability_is_in_bounding_set(capability) {
                Ok(true) if self.bounding & capability.bits() == 0 => {
                    remove_capability_from_bounding_set(capability).during("drop from the bounding set capability", number)?;
                }
                Ok(_) => {}
                // Past the last capability that the kernel knows.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Sets permitted, effective, inheritable and ambient. `keep` stays permitted and effective besides, until the next call.
    pub(crate) fn apply(&self, keep: CapabilitySet) -> Result<(), Failure> {
        let sets = CapabilitySets {
            effective: CapabilitySet::from_bits_retain(self.effective) | keep,
            permitted: CapabilitySet::from_bits_retain(self.permitted) | keep,
            inheritable: CapabilitySet::from_bits_retain(self.inheritable),
        };
        set_capabilities(None, sets).during("set capabilities", "of the process")?;
        clear_ambient_capability_set().during("clear", "ambient capabilities")?;
        for number in (0..64).filter(|number| self.ambient & 1 << number != 0) {
            let capability = CapabilitySet::from_bits_retain(1 << number);
            configure_capability_in_ambient_set(capability, true).during("raise ambient capability", NAMES.get(number).unwrap_or(&"?"))?;
        }
        Ok(())
    }
}

fn bits(set: Option<&Capabilities>) -> u64 {
    let number = |name: &str| NAMES.iter().position(|known| *known == name);
    set.into_iter().flatten().filter_map(|capability| number(&capability.to_string())).fold(0, |bits, number| bits | 1 << number)
}

/// In the order of the kernel's numbers.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_of_the_specification_has_a_number() {
        let names: Vec<String> = NAMES.iter().map(|name| format!("\"CAP_{name}\"")).collect();
        let all: Capabilities = serde_json::from_str(&format!("[{}]", names.join(","))).expect("known to the specification");
        assert_eq!(all.len(), NAMES.len());
        assert_eq!(bits(Some(&all)), (1 << NAMES.len()) - 1);
    }

    #[test]
    fn absent_capabilities_are_none() {
        assert_eq!(CapabilityPlan::new(None), CapabilityPlan::default());
    }
}
