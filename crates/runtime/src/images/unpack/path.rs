//! Names of entries in a layer, made clean.
//!
//! Only text: no file system is asked. A clean path is relative, has no empty, `.` or `..` component and no NUL, and is
//! empty for the root itself. What symbolic links make of it is the business of [`super::root`].

/// Deepest path in components. Each level costs a file descriptor while a tree is walked.
pub(crate) const DEPTH_MAX: usize = 256;

/// What is wrong with the name of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryPathError {
    /// `..` climbs above the root.
    #[error("the name leads out of the root file system")]
    Escapes,
    /// More than [`DEPTH_MAX`] components.
    #[error("the name has more than {DEPTH_MAX} components")]
    TooDeep,
    /// A name cannot hold a NUL.
    #[error("the name holds a NUL byte")]
    Nul,
}

/// Cleans a name: `./a//b/../c/` is `a/c`, `/a` is `a`.
pub(crate) fn clean_path(name: &[u8]) -> Result<Vec<u8>, EntryPathError> {
    if name.contains(&0) {
        return Err(EntryPathError::Nul);
    }
    let mut components: Vec<&[u8]> = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                components.pop().ok_or(EntryPathError::Escapes)?;
            }
            other => components.push(other),
        }
    }
    if components.len() > DEPTH_MAX {
        return Err(EntryPathError::TooDeep);
    }
    Ok(components.join(&b'/'))
}

/// Parent and last component of a clean path that is not the root.
pub(crate) fn split_path(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// A path as text for a message or a JSON file: bytes that are not UTF-8, and `%`, as `%XX`.
pub(crate) fn escape_path(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The reverse of [`escape_path`].
pub(crate) fn unescape_path(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut path = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let escaped = (bytes[index] == b'%').then(|| text.get(index + 1..index + 3)).flatten();
        match escaped.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                path.push(byte);
                index += 3;
            }
            None => {
                path.push(bytes[index]);
                index += 1;
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_and_those_that_climb_out_are_refused() {
        for (name, clean) in [
            ("a", Ok("a")),
            ("./a//b/", Ok("a/b")),
            ("/etc/passwd", Ok("etc/passwd")),
            ("a/../b", Ok("b")),
            (".", Ok("")),
            ("", Ok("")),
            ("..", Err(EntryPathError::Escapes)),
            ("a/../../b", Err(EntryPathError::Escapes)),
            ("/..", Err(EntryPathError::Escapes)),
            ("a\0b", Err(EntryPathError::Nul)),
        ] {
            assert_eq!(clean_path(name.as_bytes()), clean.map(|path: &str| path.as_bytes().to_vec()), "{name:?}");
        }
        assert_eq!(clean_path("a/".repeat(DEPTH_MAX + 1).as_bytes()), Err(EntryPathError::TooDeep));
    }

    proptest::proptest! {
        #[test]
        fn escaping_loses_nothing(path: Vec<u8>) {
            proptest::prop_assert_eq!(unescape_path(&escape_path(&path)), path);
        }
    }
}
