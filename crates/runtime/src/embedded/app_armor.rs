//! AppArmor of the kernel. Its profiles are loaded by whoever administers the machine; a container only names one.

use std::fs;

/// What the kernel says of itself.
const ENABLED: &str = "/sys/module/apparmor/parameters/enabled";

/// Whether the kernel applies AppArmor profiles.
pub fn has_app_armor() -> bool {
    fs::read_to_string(ENABLED).is_ok_and(|text| is_enabled(&text))
}

fn is_enabled(text: &str) -> bool {
    text.trim() == "Y"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_armor_is_on_only_where_the_kernel_says_so() {
        assert!(is_enabled("Y\n"));
        assert!(!is_enabled("N\n") && !is_enabled(""));
    }
}
