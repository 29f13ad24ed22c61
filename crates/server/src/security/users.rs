//! Users, the two roles they can have, and what each role may do.

use serde_json::{Value, json};

/// The group of those who may do everything, as in the reference.
pub const ADMIN_GROUP: &str = "system:masters";
/// The group of those who may look at most things.
pub const READ_ONLY_GROUP: &str = "usher:read-only";
/// The group of everyone known.
const AUTHENTICATED_GROUP: &str = "system:authenticated";

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Admin,
    /// Look at everything but secrets and what containers say or do.
    ReadOnly,
    /// Know who they are and what there could be: service accounts.
    Known,
}

/// Someone who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The UID, of service accounts.
    pub uid: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl User {
    /// A user of these groups.
    pub fn new(name: impl Into<String>, mut groups: Vec<String>) -> Self {
        groups.push(AUTHENTICATED_GROUP.to_owned());
        Self { name: name.into(), uid: String::new(), groups }
    }

    /// Root on this machine.
    pub fn root() -> Self {
        Self::new("root", vec![ADMIN_GROUP.to_owned()])
    }

    /// What they may do.
    pub fn role(&self) -> Role {
        if self.groups.iter().any(|group| group == ADMIN_GROUP) {
            Role::Admin
        } else if self.groups.iter().any(|group| group == READ_ONLY_GROUP) {
            Role::ReadOnly
        } else {
            Role::Known
        }
    }

    /// The user as reviews show them.
    pub fn to_json(&self) -> Value {
        let mut user = json!({ "username": self.name, "groups": self.groups });
        if !self.uid.is_empty() {
            user["uid"] = json!(self.uid);
        }
        user
    }
}

/// What someone wants to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Action<'a> {
    /// `get`, `list`, …
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// `pods`; empty for paths that are no resources.
    pub resource: &'a str,
    /// `log`; may be empty.
    pub part: &'a str,
    /// May be empty.
    pub namespace: &'a str,
    /// May be empty.
    pub name: &'a str,
    /// For paths that are no resources.
    pub path: &'a str,
}

const LOOKING: [&str; 3] = ["get", "list", "watch"];

/// Parts of pods that show what containers say, or let one do things inside them, though the verb is `get`.
const INSIDE: [&str; 4] = ["attach", "exec", "log", "portforward"];

/// Whether someone of this role may do that.
pub fn may(role: Role, action: &Action<'_>) -> bool {
    let about_oneself =
        action.verb == "create" && matches!(action.resource, "selfsubjectaccessreviews" | "selfsubjectrulesreviews" | "selfsubjectreviews");
    if about_oneself {
        return true;
    }
    match role {
        Role::Admin => true,
        Role::ReadOnly if action.resource.is_empty() => action.verb == "get" && is_below(action.path, &SHOWN_PATHS),
        Role::ReadOnly => {
            let secret = matches!(action.resource, "secrets" | "*") || INSIDE.contains(&action.part) || action.part == "*";
            LOOKING.contains(&action.verb) && !secret
        }
        Role::Known => action.resource.is_empty() && action.verb == "get" && is_below(action.path, &DESCRIBING_PATHS),
    }
}

/// What describes the API.
const DESCRIBING_PATHS: [&str; 4] = ["/api", "/apis", "/openapi", "/version"];
/// What those may see who look: everything but the backup, which holds secrets.
const SHOWN_PATHS: [&str; 8] = ["/api", "/apis", "/openapi", "/version", "/metrics", "/healthz", "/livez", "/readyz"];

fn is_below(path: &str, roots: &[&str]) -> bool {
    path == "/" || roots.iter().any(|root| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// The same as rules have it.
fn non_resource_rules(roots: &[&str]) -> Value {
    let urls: Vec<String> = roots.iter().flat_map(|root| [(*root).to_owned(), format!("{root}/*")]).chain(["/".to_owned()]).collect();
    json!([{ "verbs": ["get"], "nonResourceURLs": urls }])
}

/// The rules of a role, as `kubectl auth can-i --list` shows them.
pub fn rules(role: Role) -> Value {
    let own = json!({
        "verbs": ["create"],
        "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
        "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"],
    });
    let (resources, paths) = match role {
        Role::Admin => (
            json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }, own]),
            json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }]),
        ),
        Role::ReadOnly => {
            let mut seen: Vec<String> = Vec::new();
            for kind in crate::kinds::KINDS.iter().filter(|kind| kind.resource != "secrets") {
                seen.push(kind.resource.to_owned());
                let parts = kind.parts.iter().filter(|part| !INSIDE.contains(&part.name) && part.verbs.contains(&"get"));
                seen.extend(parts.map(|part| format!("{}/{}", kind.resource, part.name)));
            }
            (json!([{ "verbs": LOOKING, "apiGroups": ["*"], "resources": seen }, own]), non_resource_rules(&SHOWN_PATHS))
        }
        Role::Known => (json!([own]), non_resource_rules(&DESCRIBING_PATHS)),
    };
    json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(verb: &'static str, resource: &'static str, part: &'static str) -> Action<'static> {
        Action { verb, resource, part, ..Action::default() }
    }

    #[test]
    fn read_only_users_look_but_see_no_secrets_and_no_insides() {
        let allowed = [
            ("get", "pods", ""),
            ("list", "events", ""),
            ("watch", "nodes", ""),
            ("get", "pods", "status"),
            ("create", "selfsubjectreviews", ""),
        ];
        let refused = [
            ("get", "secrets", ""),
            ("list", "secrets", ""),
            ("watch", "secrets", ""),
            ("get", "pods", "log"),
            ("get", "pods", "exec"),
            ("get", "pods", "attach"),
            ("get", "pods", "portforward"),
            ("create", "pods", "exec"),
            ("delete", "pods", ""),
            ("patch", "configmaps", ""),
            ("create", "serviceaccounts", "token"),
            ("create", "tokenreviews", ""),
        ];
        for (verb, resource, part) in allowed {
            assert!(may(Role::ReadOnly, &action(verb, resource, part)), "{verb} {resource}/{part}");
        }
        for (verb, resource, part) in refused {
            assert!(!may(Role::ReadOnly, &action(verb, resource, part)), "{verb} {resource}/{part}");
            assert!(may(Role::Admin, &action(verb, resource, part)), "{verb} {resource}/{part}");
            assert!(!may(Role::Known, &action(verb, resource, part)), "{verb} {resource}/{part}");
        }
    }

    #[test]
    fn only_administrators_may_have_the_backup() {
        let get = |path: &'static str| Action { verb: "get", path, ..Action::default() };
        for path in ["/", "/api", "/apis/apps/v1", "/metrics", "/version"] {
            assert!(may(Role::ReadOnly, &get(path)) && may(Role::Admin, &get(path)), "{path}");
        }
        assert!(may(Role::Admin, &get(crate::BACKUP_PATH)));
        for role in [Role::ReadOnly, Role::Known] {
            assert!(!may(role, &get(crate::BACKUP_PATH)), "{role:?}");
        }
    }

    #[test]
    fn the_role_comes_from_the_groups() {
        assert_eq!(User::root().role(), Role::Admin);
        assert_eq!(User::new("x", vec![READ_ONLY_GROUP.to_owned()]).role(), Role::ReadOnly);
        assert_eq!(User::new("system:serviceaccount:a:b", vec!["system:serviceaccounts".to_owned()]).role(), Role::Known);
    }
}
