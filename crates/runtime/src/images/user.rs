//! The user of a container: names to numbers, by the image's own `/etc/passwd` and `/etc/group`.
//!
//! The rules are containerd's, so that the same image runs as the same user. The files are read through the layers,
//! without a mount, and never from outside of them.

use std::io;

use super::layered::LayeredRoot;
use super::store::Image;

/// Largest `/etc/passwd` or `/etc/group` that is read: some ten thousand users.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Largest number that counts as an id; anything beyond is taken for a name.
const ID_MAX: i64 = i32::MAX as i64;

/// A user in numbers, as the OCI runtime specification wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedUser {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Primary group, then all groups that name the user as a member.
    pub additional_gids: Vec<u32>,
    /// The home directory, if the user is known.
    pub home: Option<String>,
}

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum ResolveUserError {
    /// More than one colon.
    #[error("invalid USER value {0:?}")]
    Invalid(String),
    /// The name is not in `/etc/passwd`.
    #[error("no users found: {0:?} is not in /etc/passwd of the image")]
    NoUser(String),
    /// The name is not in `/etc/group`.
    #[error("no groups found: {0:?} is not in /etc/group of the image")]
    NoGroup(String),
    /// The file cannot be read.
    #[error("read {path} of the image")]
    Read {
        /// The file.
        path: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct GroupEntry {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// One half of `user:group`.
enum Id<'a> {
    Number(u32),
    Name(&'a str),
}

impl Image {
    /// Resolves `user` (`name`, `uid`, or one of these with `:group` or `:gid`; empty means root). Reads two small files.
    pub fn resolve_user(&self, user: &str) -> Result<ResolvedUser, ResolveUserError> {
        let open_error = |source| ResolveUserError::Read { path: "the layers", source };
        let root = LayeredRoot::open(self.lower_dirs()).map_err(open_error)?;
        resolve_user(&root, user)
    }
}

// containerd: oci WithUser, WithAdditionalGIDs
fn resolve_user(root: &LayeredRoot, user: &str) -> Result<ResolvedUser, ResolveUserError> {
    let (user_part, group_part) = match user.split_once(':') {
        Some((_, group)) if group.contains(':') => return Err(ResolveUserError::Invalid(user.to_owned())),
        Some((user, group)) => (user, Some(group)),
        None => (user, None),
    };
    let user_part = if user_part.is_empty() { "0" } else { user_part };
    let passwd: Vec<PasswdEntry> = entries(root, "/etc/passwd", parse_passwd)?;
    let groups: Vec<GroupEntry> = entries(root, "/etc/group", parse_group)?;

    let (uid, entry) = match id(user_part) {
        Id::Number(uid) => (uid, passwd.iter().find(|entry| entry.uid == uid)),
        Id::Name(name) => {
            let entry = passwd.iter().find(|entry| entry.name == name);
            let entry = entry.ok_or_else(|| ResolveUserError::NoUser(name.to_owned()))?;
            (entry.uid, Some(entry))
        }
    };
    let gid = match group_part.map(id) {
        None => entry.map_or(0, |entry| entry.gid),
        Some(Id::Number(gid)) => gid,
        Some(Id::Name(name)) => {
            let group = groups.iter().find(|group| group.name == name);
            group.ok_or_else(|| ResolveUserError::NoGroup(name.to_owned()))?.gid
        }
    };
    let mut additional_gids = vec![gid];
    if let Some(entry) = entry {
        // A group of the user's own name is the primary one, whatever it lists.
        let is_member = |group: &&GroupEntry| group.name != entry.name && group.members.contains(&entry.name);
        for group in groups.iter().filter(is_member) {
            if !additional_gids.contains(&group.gid) {
                additional_gids.push(group.gid);
            }
        }
    }
    Ok(ResolvedUser { uid, gid, additional_gids, home: entry.map(|entry| entry.home.clone()) })
}

fn id(text: &str) -> Id<'_> {
    match text.parse::<i64>() {
        Ok(number @ 0..=ID_MAX) => Id::Number(u32::try_from(number).unwrap_or_default()),
        _ => Id::Name(text),
    }
}

/// The lines of a file that are entries; no file, no entries.
fn entries<T>(root: &LayeredRoot, path: &'static str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, ResolveUserError> {
    let content = root.read_file(path, FILE_BYTES_MAX).map_err(|source| ResolveUserError::Read { path, source })?;
    let text = String::from_utf8_lossy(content.as_deref().unwrap_or_default());
    Ok(text.lines().filter_map(|line| parse(line.trim())).collect())
}

/// `name:password:uid:gid:comment:home:shell`. A line without numbers where they belong is none, and not user 0.
fn parse_passwd(line: &str) -> Option<PasswdEntry> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    let home = fields.nth(1).unwrap_or_default().to_owned();
    Some(PasswdEntry { name, uid, gid, home })
}

/// `name:password:gid:member,member`.
fn parse_group(line: &str) -> Option<GroupEntry> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let gid = fields.nth(1)?.parse().ok()?;
    let members = fields.next().unwrap_or_default().split(',').map(str::trim).filter(|member| !member.is_empty());
    Some(GroupEntry { name, gid, members: members.map(str::to_owned).collect() })
}

#[cfg(test)]
mod tests;
