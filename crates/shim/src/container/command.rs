//! Finding the program of a command as a shell would, and the words for not finding it.
//!
//! The texts are those that users of Kubernetes search for, so they are kept letter by letter.

use std::{
    ffi::{CString, OsStr},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Access, AtFlags, CWD, FileType, accessat, stat},
    io::Errno,
};

use super::error::{CommandError, Failure};

/// Finds `command` in the file system of this process, with its user's permissions. `environment` is that of the command.
pub(crate) fn find(command: &CString, environment: &[CString]) -> Result<CString, Failure> {
    let name = OsStr::from_bytes(command.as_bytes());
    if command.as_bytes().contains(&b'/') {
        return match check(Path::new(name)) {
            Ok(()) => Ok(command.clone()),
            Err(Unusable { stat: true, errno }) => {
                let name = name.to_string_lossy();
                Err(failure(format!("exec: \"{name}\": stat {name}: {}", words(errno)), errno))
            }
            Err(Unusable { stat: false, errno }) => Err(failure(format!("exec: \"{}\": {}", name.to_string_lossy(), words(errno)), errno)),
        };
    }
    if !name.is_empty() {
        for directory in search_path(environment).split(|&byte| byte == b':') {
            let directory = if directory.is_empty() { b".".as_slice() } else { directory };
            let candidate = PathBuf::from(OsStr::from_bytes(directory)).join(name);
            if check(&candidate).is_ok()
                && let Ok(path) = CString::new(candidate.into_os_string().as_bytes())
            {
                return Ok(path);
            }
        }
    }
    Err(failure(format!("exec: \"{}\": executable file not found in $PATH", name.to_string_lossy()), Errno::NOENT))
}

/// The words for what `execve` itself refused.
pub(crate) fn refused(path: &CString, error: &std::io::Error) -> Failure {
    let errno = Errno::from_io_error(error).unwrap_or(Errno::IO);
    failure(format!("exec {}: {}", path.to_string_lossy(), words(errno)), errno)
}

fn failure(text: String, errno: Errno) -> Failure {
    Failure::Command(CommandError { text, errno: errno.raw_os_error() })
}

struct Unusable {
    /// The file could not even be looked at.
    stat: bool,
    errno: Errno,
}

fn check(path: &Path) -> Result<(), Unusable> {
    let status = stat(path).map_err(|errno| Unusable { stat: true, errno })?;
    if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
        return Err(Unusable { stat: false, errno: Errno::ISDIR });
    }
    // Root passes the access check when any of the three bits is set, and so it should.
    accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(|errno| Unusable { stat: false, errno })
}

fn search_path(environment: &[CString]) -> &[u8] {
    environment.iter().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH=")).unwrap_or(PATH_DEFAULT)
}

fn words(errno: Errno) -> String {
    let text = match errno {
        Errno::NOENT => "no such file or directory",
        Errno::ACCESS => "permission denied",
        Errno::PERM => "operation not permitted",
        Errno::ISDIR => "is a directory",
        Errno::NOTDIR => "not a directory",
        Errno::NOEXEC => "exec format error",
        Errno::TOOBIG => "argument list too long",
        Errno::LOOP => "too many levels of symbolic links",
        Errno::NAMETOOLONG => "file name too long",
        Errno::TXTBSY => "text file busy",
        Errno::NOMEM => "cannot allocate memory",
        Errno::IO => "input/output error",
        other => return other.to_string(),
    };
    text.to_owned()
}

/// When the environment of the command has none.
const PATH_DEFAULT: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[cfg(test)]
mod tests {
    use super::*;

    fn check_command(command: &str, path: Option<&str>) -> Result<String, String> {
        let environment: Vec<_> = path.into_iter().map(|path| CString::new(format!("PATH={path}")).expect("no NUL")).collect();
        match find(&CString::new(command).expect("no NUL"), &environment) {
            Ok(found) => Ok(found.into_string().expect("text")),
            Err(Failure::Command(error)) => Err(error.text),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn missing_commands_are_told_in_the_known_words() {
        let not_found = |text: &str| Err(text.to_owned());
        assert_eq!(check_command("tapp", Some("/nowhere:/etc")), not_found("exec: \"tapp\": executable file not found in $PATH"));
        assert_eq!(check_command("", None), not_found("exec: \"\": executable file not found in $PATH"));
        assert_eq!(check_command("/no/such", None), not_found("exec: \"/no/such\": stat /no/such: no such file or directory"));
        assert_eq!(check_command("/etc", None), not_found("exec: \"/etc\": is a directory"));
        let temporary = tempfile::tempdir().expect("temporary directory");
        let directory = temporary.path().to_str().expect("text");
        std::fs::write(format!("{directory}/text"), "").expect("written");
        let denied = format!("exec: \"{directory}/text\": permission denied");
        assert_eq!(check_command(&format!("{directory}/text"), None), not_found(&denied));
        // Not executable is as good as not there when it is searched for.
        assert_eq!(check_command("text", Some(directory)), not_found("exec: \"text\": executable file not found in $PATH"));
    }

    #[test]
    fn the_path_of_the_commands_own_environment_is_searched() {
        assert_eq!(check_command("sh", Some("/nowhere:/bin")), Ok("/bin/sh".into()));
        assert_eq!(check_command("sh", None).map(|path| path.ends_with("/sh")), Ok(true));
        assert_eq!(check_command("/bin/sh", Some("")), Ok("/bin/sh".into()));
    }
}
