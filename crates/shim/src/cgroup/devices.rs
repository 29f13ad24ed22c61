//! Which devices the processes of a container may open or make: OCI rules, with everything else denied.
//!
//! The rules of the bundle are followed by the devices that every container has. The last rule that speaks of an access decides;
//! an access no rule speaks of is denied.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::CgroupError;

/// One rule, with `None` for "any".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeviceRule {
    pub(super) allow: bool,
    pub(super) kind: Option<DeviceKind>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: Access,
}

/// The type of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceKind {
    Block,
    Character,
}

/// A set of make, read and write, with the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(pub(super) u8);

impl Access {
    pub(super) const MAKE: Self = Self(1);
    pub(super) const READ: Self = Self(2);
    pub(super) const WRITE: Self = Self(4);
    pub(super) const ALL: Self = Self(7);

    fn letters(self) -> String {
        let letters = [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MAKE, 'm')];
        letters.iter().filter(|(access, _)| self.0 & access.0 != 0).map(|(_, letter)| letter).collect()
    }
}

impl DeviceRule {
    /// The line for `devices.allow` or `devices.deny` of version 1.
    pub(super) fn line_v1(&self) -> String {
        let number = |number: Option<u32>| number.map_or_else(|| "*".to_owned(), |number| number.to_string());
        let kind = match self.kind {
            // The kernel takes every rule for all kinds as one for all devices and accesses; it has nothing finer.
            None => return "a".to_owned(),
            Some(DeviceKind::Block) => 'b',
            Some(DeviceKind::Character) => 'c',
        };
        format!("{kind} {}:{} {}", number(self.major), number(self.minor), self.access.letters())
    }

    fn covers_everything(&self) -> bool {
        self.kind.is_none() && self.major.is_none() && self.minor.is_none() && self.access == Access::ALL
    }
}

/// All rules in order: deny everything, what the bundle says, what every container has. Rules that a later one makes void are left out.
pub(super) fn rules(bundle: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, CgroupError> {
    let deny_all = DeviceRule { allow: false, kind: None, major: None, minor: None, access: Access::ALL };
    let mut rules = vec![deny_all];
    for (index, device) in bundle.iter().enumerate() {
        for rule in read_rule(index, device)? {
            if rule.covers_everything() {
                rules.clear();
            }
            rules.push(rule);
        }
    }
    let all_allowed = rules.len() == 1 && rules[0].allow;
    if !all_allowed {
        rules.extend(EVERY_CONTAINER);
    }
    Ok(rules)
}

/// A rule for all kinds of device that is not for everything becomes one for each kind.
fn read_rule(index: usize, device: &LinuxDeviceCgroup) -> Result<Vec<DeviceRule>, CgroupError> {
    let malformed = |reason| CgroupError::unsupported(format!("devices[{index}]"), reason);
    let number = |number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number).map(Some).map_err(|_| malformed("device number out of range")),
    };
    let mut access = Access(0);
    for letter in device.access().as_deref().unwrap_or_default().chars() {
        access.0 |= match letter {
            'r' => Access::READ.0,
            'w' => Access::WRITE.0,
            'm' => Access::MAKE.0,
            _ => return Err(malformed("access must be of the letters r, w and m")),
        };
    }
    if access.0 == 0 {
        access = Access::ALL;
    }
    let kind = match device.typ() {
        None | Some(LinuxDeviceType::A) => None,
        Some(LinuxDeviceType::B) => Some(DeviceKind::Block),
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Some(DeviceKind::Character),
        Some(LinuxDeviceType::P) => return Err(malformed("type must be a, b or c")),
    };
    let rule = DeviceRule { allow: device.allow(), kind, major: number(device.major())?, minor: number(device.minor())?, access };
    if rule.kind.is_some() || rule.covers_everything() {
        return Ok(vec![rule]);
    }
    let of_kind = |kind| DeviceRule { kind: Some(kind), ..rule };
    Ok(vec![of_kind(DeviceKind::Block), of_kind(DeviceKind::Character)])
}

const fn allow(kind: DeviceKind, major: Option<u32>, minor: Option<u32>, access: Access) -> DeviceRule {
    DeviceRule { allow: true, kind: Some(kind), major, minor, access }
}

/// Making any node is harmless (opening it is what counts); null, zero, full, tty, random, urandom, console, ptmx, and the pseudo-terminals.
const EVERY_CONTAINER: [DeviceRule; 11] = [
    allow(DeviceKind::Character, None, None, Access::MAKE),
    allow(DeviceKind::Block, None, None, Access::MAKE),
    allow(DeviceKind::Character, Some(1), Some(3), Access::ALL),
    allow(DeviceKind::Character, Some(1), Some(5), Access::ALL),
    allow(DeviceKind::Character, Some(1), Some(7), Access::ALL),
    allow(DeviceKind::Character, Some(1), Some(8), Access::ALL),
    allow(DeviceKind::Character, Some(1), Some(9), Access::ALL),
    allow(DeviceKind::Character, Some(5), Some(0), Access::ALL),
    allow(DeviceKind::Character, Some(5), Some(1), Access::ALL),
    allow(DeviceKind::Character, Some(5), Some(2), Access::ALL),
    allow(DeviceKind::Character, Some(136), None, Access::ALL),
];
