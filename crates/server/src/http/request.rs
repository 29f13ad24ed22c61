//! What the path and the query of a request say.

use crate::kinds::{Kind, METRICS_GROUP, REVIEWS, Review, by_resource, measured};
use crate::status::{ApiError, ApiResult};

/// The parameters of a request, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of a parameter; empty if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A switch. Absent is off; present without a value is on.
    pub(crate) fn flag(&self, name: &str) -> ApiResult<bool> {
        Ok(self.optional_flag(name)?.unwrap_or(false))
    }

    pub(crate) fn optional_flag(&self, name: &str) -> ApiResult<Option<bool>> {
        match self.all(name).next() {
            None => Ok(None),
            Some("1" | "true" | "True" | "") => Ok(Some(true)),
            Some("0" | "false" | "False") => Ok(Some(false)),
            Some(other) => Err(ApiError::bad_request(format!("the parameter {name} is {other:?}, which is neither true nor false"))),
        }
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> ApiResult<Option<T>> {
        match self.get(name) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| ApiError::bad_request(format!("the parameter {name} is {text:?}, which is no number that fits"))),
        }
    }
}

/// Takes `%XX` and `+` for what they stand for.
pub(crate) fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, tail) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(b'%'),
            },
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Objects of a kind.
    Objects(ObjectPath),
    /// What nodes or pods use.
    Measured(ObjectPath),
    /// A review.
    Review(&'static Review),
    /// Anything else.
    Path(Vec<String>),
}

/// Objects of a kind: all, those of a namespace, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectPath {
    pub(crate) kind: &'static Kind,
    /// `None` for all namespaces.
    pub(crate) namespace: Option<String>,
    /// `None` for all objects.
    pub(crate) name: Option<String>,
    /// The endpoint below the object; may be empty.
    pub(crate) part: String,
}

impl ObjectPath {
    /// The namespace in the store: empty for objects outside namespaces.
    pub(crate) fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or_default()
    }
}

/// Reads a path.
///
/// # Errors
/// It looks like one of objects but is none.
pub(crate) fn target(path: &str) -> ApiResult<Target> {
    // Slashes in names do not exist, so parts are split before they are decoded.
    let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(|part| decode(&part.replace('+', "%2B"))).collect();
    let texts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let (group, version, rest) = match texts.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Ok(Target::Path(parts)),
    };
    if rest.is_empty() {
        return Ok(Target::Path(parts));
    }
    if let [resource] = rest
        && version == "v1"
        && let Some(review) = REVIEWS.iter().find(|review| review.group == group && review.resource == *resource)
    {
        return Ok(Target::Review(review));
    }
    let find = |resource: &str| by_resource(group, version, resource).or_else(|| measured(group, version, resource));
    let (namespace, rest) = match rest {
        ["namespaces", namespace, resource, ..] if find(resource).is_some() => (Some(*namespace), &rest[2..]),
        _ => (None, rest),
    };
    let [resource, rest @ ..] = rest else { return Err(ApiError::no_such_path()) };
    let kind = find(resource).ok_or_else(ApiError::no_such_path)?;
    let (name, part) = match rest {
        [] => (None, ""),
        [name] => (Some(*name), ""),
        [name, part] => (Some(*name), *part),
        _ => return Err(ApiError::no_such_path()),
    };
    let known_part = part.is_empty() || kind.part(part).is_some();
    let scoped = namespace.is_some() == kind.namespaced || namespace.is_none() && name.is_none();
    if !known_part || !scoped || name.is_some_and(|name| name == "." || name == ".." || name.contains(['/', '\0'])) {
        return Err(ApiError::no_such_path());
    }
    if namespace.is_some_and(|namespace| namespace.contains(['/', '\0'])) {
        return Err(ApiError::no_such_path());
    }
    let path = ObjectPath { kind, namespace: namespace.map(ToOwned::to_owned), name: name.map(ToOwned::to_owned), part: part.to_owned() };
    Ok(if group == METRICS_GROUP { Target::Measured(path) } else { Target::Objects(path) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        match target(path) {
            Ok(Target::Objects(path) | Target::Measured(path)) => {
                let (namespace, name) = (path.namespace.as_deref().unwrap_or("*"), path.name.as_deref().unwrap_or("*"));
                format!("{} {namespace} {name} {}", path.kind.group_resource(), path.part)
            }
            Ok(Target::Review(review)) => review.kind.to_owned(),
            Ok(Target::Path(parts)) => format!("/{}", parts.join("/")),
            Err(error) => error.code.to_string(),
        }
    }

    #[test]
    fn paths_name_objects() {
        let cases = [
            ("/api/v1/pods", "pods * * "),
            ("/apis/metrics.k8s.io/v1beta1/namespaces/a/pods/b", "pods.metrics.k8s.io a b "),
            ("/apis/metrics.k8s.io/v1beta1/nodes", "nodes.metrics.k8s.io * * "),
            ("/apis/metrics.k8s.io/v1/nodes", "404"),
            ("/apis/metrics.k8s.io/v1beta1/namespaces/a/pods/b/log", "404"),
            ("/api/v1/namespaces/a/pods", "pods a * "),
            ("/api/v1/namespaces/a/pods/b", "pods a b "),
            ("/api/v1/namespaces/a/pods/b/log", "pods a b log"),
            ("/api/v1/namespaces/a", "namespaces * a "),
            ("/api/v1/namespaces/a/finalize", "namespaces * a finalize"),
            ("/api/v1/namespaces/a/status", "namespaces * a status"),
            ("/api/v1/nodes/n/status", "nodes * n status"),
            ("/apis/coordination.k8s.io/v1/namespaces/a/leases/l", "leases.coordination.k8s.io a l "),
            ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", "SelfSubjectAccessReview"),
            ("/api/v1", "/api/v1"),
            ("/healthz", "/healthz"),
            ("/api/v1/namespaces/a/pods/b/nothing", "404"),
            ("/api/v1/pods/b", "404"),
            ("/api/v1/namespaces/a/nodes/n", "404"),
            ("/api/v1/services", "404"),
            ("/api/v2/pods", "404"),
            ("/api/v1/namespaces/a/pods/..", "404"),
            ("/api/v1/namespaces/a/pods/%2e%2e%2fx", "404"),
            ("/api/v1/namespaces/a/pods/b/log/c", "404"),
        ];
        for (path, expected) in cases {
            assert_eq!(shown(path), expected, "{path}");
        }
    }

    #[test]
    fn queries_are_decoded() {
        let query = Query::parse("a=1&b=x%20y+z&c&a=2&d=%zz");
        assert_eq!((query.get("a"), query.get("b"), query.get("d")), ("1", "x y z", "%zz"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((query.flag("c"), query.flag("e")), (Ok(true), Ok(false)));
        assert_eq!(query.number::<u32>("a"), Ok(Some(1)));
        assert!(query.number::<u32>("b").is_err());
    }
}
