//! `$(VAR)` in commands, arguments, environment values and sub-paths (k8s: 7.d.1).
//!
//! Not a shell: `$$` stands for one `$`, an unknown name stays as it is written, nothing is expanded twice.

/// Replaces each `$(NAME)` by what `lookup` knows of it; a name that it does not know stays literal.
pub(crate) fn expand(text: &str, mut lookup: impl FnMut(&str) -> Option<String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        rest = match after.as_bytes().first() {
            Some(b'$') => {
                expanded.push('$');
                &after[1..]
            }
            Some(b'(') => match after.find(')') {
                Some(close) => {
                    let name = &after[1..close];
                    match lookup(name) {
                        Some(value) => expanded.push_str(&value),
                        None => expanded.push_str(&rest[dollar..dollar + close + 2]),
                    }
                    &after[close + 1..]
                }
                None => {
                    expanded.push_str("$(");
                    &after[1..]
                }
            },
            _ => {
                expanded.push('$');
                after
            }
        };
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests;
