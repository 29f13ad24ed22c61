//! Syntax of names: DNS labels and subdomains, label keys and values, ports, environment variables.
//!
//! Each function gives the complaints about a value in the words of the reference, none where the value is right.

/// The longest DNS label, in bytes.
pub(crate) const DNS_LABEL_BYTES_MAX: usize = 63;
/// The longest DNS subdomain, in bytes.
pub(crate) const DNS_SUBDOMAIN_BYTES_MAX: usize = 253;
/// The longest name of a port, in bytes.
const PORT_NAME_BYTES_MAX: usize = 15;

const LABEL_FORMAT: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const SUBDOMAIN_FORMAT: &str = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
const SUBDOMAIN_UNDERSCORE_FORMAT: &str = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*";
const QUALIFIED_FORMAT: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const LABEL_VALUE_FORMAT: &str = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";

/// A complaint with the form that is asked for and examples of it.
fn form(complaint: &str, format: &str, examples: &[&str]) -> String {
    let examples: Vec<_> = examples.iter().map(|example| format!("'{example}', ")).collect();
    format!("{complaint} (e.g. {}regex used for validation is '{format}')", examples.join(" or "))
}

/// A complaint about length.
fn too_long(max: usize) -> String {
    format!("must be no more than {max} bytes")
}

/// A complaint about a number out of its range.
pub(crate) fn out_of_range(min: i64, max: i64) -> String {
    format!("must be between {min} and {max}, inclusive")
}

fn is_lower_alphanumeric(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit()
}

/// `[ends]([middle]*[ends])?`
fn is_word(text: &str, ends: fn(u8) -> bool, middle: fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => ends(*first) && ends(*last) && bytes.iter().all(|b| ends(*b) || middle(*b)),
        _ => false,
    }
}

fn is_dns_word(text: &str) -> bool {
    is_word(text, is_lower_alphanumeric, |b| b == b'-')
}

fn is_dns_words(text: &str) -> bool {
    text.split('.').all(is_dns_word)
}

/// A DNS label, such as the name of a container.
pub(crate) fn dns_label(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > DNS_LABEL_BYTES_MAX {
        complaints.push(too_long(DNS_LABEL_BYTES_MAX));
    }
    if !is_dns_word(value) {
        if is_dns_words(value) {
            complaints.push("must not contain dots".to_owned());
        } else {
            complaints.push(form(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
                LABEL_FORMAT,
                &["my-name", "123-abc"],
            ));
        }
    }
    complaints
}

/// A DNS subdomain, such as the name of a Pod.
pub(crate) fn dns_subdomain(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > DNS_SUBDOMAIN_BYTES_MAX {
        complaints.push(too_long(DNS_SUBDOMAIN_BYTES_MAX));
    }
    if !is_dns_words(value) {
        complaints.push(form(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_FORMAT,
            &["example.com"],
        ));
    }
    complaints
}

/// A DNS subdomain in which underscores may stand, such as a search path.
pub(crate) fn dns_subdomain_with_underscore(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > DNS_SUBDOMAIN_BYTES_MAX {
        complaints.push(too_long(DNS_SUBDOMAIN_BYTES_MAX));
    }
    let is_part = |part: &str| {
        let part = part.strip_prefix('_').unwrap_or(part);
        is_word(part, is_lower_alphanumeric, |b| matches!(b, b'-' | b'_'))
    };
    if !value.split('.').all(is_part) {
        complaints.push(form(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character",
            SUBDOMAIN_UNDERSCORE_FORMAT,
            &["example.com"],
        ));
    }
    complaints
}

/// The beginning of a generated name: what follows it makes a trailing `-` legal.
pub(crate) fn generate_name(value: &str) -> Vec<String> {
    // As in the reference: the last dash and what is before it count as one letter.
    let start = value.strip_suffix('-').and_then(|start| start.char_indices().next_back().map(|(at, _)| &start[..at]));
    start.map_or_else(|| dns_subdomain(value), |start| dns_subdomain(&format!("{start}a")))
}

/// A key of labels or annotations, or another qualified name: `name` or `prefix/name`.
pub(crate) fn qualified_name(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let parts: Vec<_> = value.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                complaints.push("prefix part must be non-empty".to_owned());
            } else {
                complaints.extend(dns_subdomain(prefix).into_iter().map(|text| format!("prefix part {text}")));
            }
            name
        }
        _ => {
            complaints.push(form(
                "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_FORMAT,
                &["MyName", "my.name", "123-abc"],
            ) + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')");
            return complaints;
        }
    };
    if name.is_empty() {
        complaints.push("name part must be non-empty".to_owned());
    } else if name.len() > DNS_LABEL_BYTES_MAX {
        complaints.push(format!("name part {}", too_long(DNS_LABEL_BYTES_MAX)));
    }
    if !is_word(name, |b| b.is_ascii_alphanumeric(), |b| matches!(b, b'-' | b'_' | b'.')) {
        complaints.push(format!(
            "name part {}",
            form(
                "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
                QUALIFIED_FORMAT,
                &["MyName", "my.name", "123-abc"],
            )
        ));
    }
    complaints
}

/// The value of a label.
pub(crate) fn label_value(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > DNS_LABEL_BYTES_MAX {
        complaints.push(too_long(DNS_LABEL_BYTES_MAX));
    }
    if !value.is_empty() && !is_word(value, |b| b.is_ascii_alphanumeric(), |b| matches!(b, b'-' | b'_' | b'.')) {
        complaints.push(form(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
            LABEL_VALUE_FORMAT,
            &["MyValue", "my_value", "12345"],
        ));
    }
    complaints
}

/// The number of a port.
pub(crate) fn port_number(port: i32) -> Vec<String> {
    if (1..=65535).contains(&port) { Vec::new() } else { vec![out_of_range(1, 65535)] }
}

/// The name of a port. k8s: 1.c.9
pub(crate) fn port_name(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > PORT_NAME_BYTES_MAX {
        complaints.push(too_long(PORT_NAME_BYTES_MAX));
    }
    let mut complain = |wrong: bool, text: &str| {
        if wrong {
            complaints.push(text.to_owned());
        }
    };
    let charset = !value.is_empty() && value.bytes().all(|b| is_lower_alphanumeric(b) || b == b'-');
    complain(!charset, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)");
    complain(!value.bytes().any(|b| b.is_ascii_lowercase()), "must contain at least one letter (a-z)");
    complain(value.contains("--"), "must not contain consecutive hyphens");
    complain(value.starts_with('-') || value.ends_with('-'), "must not begin or end with a hyphen");
    complaints
}

/// The name of an HTTP header. k8s: 1.c.8
pub(crate) fn http_header_name(value: &str) -> Vec<String> {
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Vec::new();
    }
    vec![form("a valid HTTP header must consist of alphanumeric characters or '-'", "[-A-Za-z0-9]+", &["X-Header-Name"])]
}

/// The name of an environment variable.
pub(crate) fn env_var_name(value: &str) -> Vec<String> {
    if value.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    if value.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
        return Vec::new();
    }
    vec!["a valid environment variable name must consist only of printable ASCII characters other than '='".to_owned()]
}

/// A key of a ConfigMap or Secret.
pub(crate) fn config_map_key(value: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if value.len() > DNS_SUBDOMAIN_BYTES_MAX {
        complaints.push(too_long(DNS_SUBDOMAIN_BYTES_MAX));
    }
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        complaints.push(form(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match value {
        "." => complaints.push("must not be '.'".to_owned()),
        ".." => complaints.push("must not be '..'".to_owned()),
        _ if value.starts_with("..") => complaints.push("must not start with '..'".to_owned()),
        _ => {}
    }
    complaints
}

/// The id of a user or group.
pub(crate) fn user_or_group_id(id: i64) -> Vec<String> {
    let max = i64::from(i32::MAX);
    if (0..=max).contains(&id) { Vec::new() } else { vec![out_of_range(0, max)] }
}

/// An IP address.
pub(crate) fn ip_address(value: &str) -> Vec<String> {
    match value.parse::<std::net::IpAddr>() {
        Ok(_) => Vec::new(),
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

/// The name of a kernel parameter, with dots or slashes.
pub(crate) fn is_sysctl_name(value: &str) -> bool {
    let is_part = |part: &str| is_word(part, is_lower_alphanumeric, |b| matches!(b, b'-' | b'_'));
    value.len() <= DNS_SUBDOMAIN_BYTES_MAX && value.split(['.', '/']).all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_names_have_no_complaints() {
        assert!(dns_label("my-name").is_empty() && dns_label("0").is_empty());
        assert!(dns_subdomain("a.b-c.d").is_empty());
        assert!(qualified_name("app").is_empty() && qualified_name("example.com/My_Name.1").is_empty());
        assert!(label_value("").is_empty() && label_value("v1.2_3").is_empty());
        assert!(port_name("http-2").is_empty() && env_var_name("a.B-1").is_empty());
        assert!(config_map_key("..a").len() == 1 && config_map_key(".a").is_empty());
        assert!(generate_name("job-").is_empty() && !generate_name("-").is_empty());
        assert!(is_sysctl_name("net/ipv4.ip_forward") && !is_sysctl_name("net..x"));
        assert!(ip_address("10.0.0.1").is_empty() && !ip_address("10.0.0.256").is_empty());
    }

    #[test]
    fn wrong_names_have_the_complaints_of_the_reference() {
        assert_eq!(
            dns_label("My_App"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns_label("a.b"), ["must not contain dots"]);
        assert_eq!(dns_label(&"a".repeat(64)), ["must be no more than 63 bytes"]);
        assert_eq!(
            port_name("--A--------------"),
            [
                "must be no more than 15 bytes",
                "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
                "must contain at least one letter (a-z)",
                "must not contain consecutive hyphens",
                "must not begin or end with a hyphen",
            ]
        );
        assert_eq!(
            qualified_name("/x y"),
            [
                "prefix part must be non-empty",
                "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ]
        );
    }
}
