//! What an author probably meant by a field that does not exist or a value of the wrong type.
//!
//! Only words for people; nothing is decided here.

use super::{Object, Type, schemas};
use crate::path::{FieldPath, Segment};
use crate::read::{Data, Entry, Node};

/// Likeness from which a name counts as a slip of the hand, so that other explanations are not looked for.
const TYPO: f64 = 0.8;

/// The longest value repeated in a message, in characters.
const SHOWN_CHARS_MAX: usize = 40;

/// A name that people write, the type they write it in (its last part, or `*`), what to say at the place, and help.
type Slip = (&'static str, &'static str, &'static str, &'static str);

const SLIPS: &[Slip] = &[
    ("ResourceRequirements", "cpu", "belongs under `limits` or `requests`", ""),
    ("ResourceRequirements", "memory", "belongs under `limits` or `requests`", ""),
    ("*", "hooks", "hooks are under `lifecycle` of a container", "write `lifecycle:` with `postStart:` or `preStop:` under it"),
    (
        "*",
        "preStart",
        "there is no hook before the start",
        "use an init container for what must be done first, or `postStart` for what is done beside the main process",
    ),
    ("*", "postStop", "there is no hook after the stop", "`preStop` runs before the stop signal"),
    ("*", "onStart", "did you mean `postStart`?", "`lifecycle.postStart` runs after the container was started"),
    ("*", "onStop", "did you mean `preStop`?", "`lifecycle.preStop` runs before the stop signal"),
    (
        "*",
        "gracePeriod",
        "did you mean `terminationGracePeriodSeconds`, which belongs to `spec`?",
        "write `spec.terminationGracePeriodSeconds`",
    ),
    (
        "*",
        "gracePeriodSeconds",
        "did you mean `terminationGracePeriodSeconds`, which belongs to `spec`?",
        "write `spec.terminationGracePeriodSeconds`",
    ),
    (
        "*",
        "terminationGracePeriod",
        "did you mean `terminationGracePeriodSeconds`, which belongs to `spec`?",
        "write `spec.terminationGracePeriodSeconds`",
    ),
    (
        "*",
        "stopGracePeriod",
        "did you mean `terminationGracePeriodSeconds`, which belongs to `spec`?",
        "write `spec.terminationGracePeriodSeconds`",
    ),
    ("ContainerPort", "port", "did you mean `containerPort`?", "`port` and `targetPort` belong to a Service"),
    ("ContainerPort", "targetPort", "did you mean `containerPort`?", "`port` and `targetPort` belong to a Service"),
    ("Container", "entrypoint", "did you mean `command`?", "`command` replaces the image's entrypoint, `args` its arguments"),
    ("Container", "cmd", "did you mean `command`?", "`command` replaces the image's entrypoint, `args` its arguments"),
    ("Container", "environment", "did you mean `env`?", "`env` is a list of entries with `name` and `value`"),
    (
        "Container",
        "volumes",
        "volumes are declared in `spec`; a container has `volumeMounts`",
        "declare the volume in `spec.volumes` and name it in the container's `volumeMounts`",
    ),
    (
        "Container",
        "healthcheck",
        "did you mean `livenessProbe`?",
        "`livenessProbe` restarts the container, `readinessProbe` takes it out of service",
    ),
    ("Container", "user", "did you mean `securityContext.runAsUser`?", "write `securityContext:` with `runAsUser:` under it"),
    ("Container", "privileged", "belongs to `securityContext`", "write `securityContext:` with `privileged: true` under it"),
    ("VolumeMount", "path", "did you mean `mountPath`?", ""),
    (
        "Volume",
        "mountPath",
        "a volume is mounted in a container",
        "name the volume in `volumeMounts` of a container and give `mountPath` there",
    ),
    ("PodSpec", "restart", "did you mean `restartPolicy`?", ""),
    ("PodSpec", "replicas", "a Pod is one instance", "`replicas` belongs to a Deployment"),
    ("Container", "replicas", "a Pod is one instance", "`replicas` belongs to a Deployment"),
    ("EnvVar", "key", "did you mean `name`?", ""),
    ("Lifecycle", "command", "a command belongs to a hook: `postStart.exec` or `preStop.exec`", ""),
];

/// What is to be said of the field of `entry`, which the object of type `name` at `path` does not have.
pub(super) fn unknown_field(root: &'static str, name: &'static str, path: &FieldPath, entry: &Entry) -> (String, Option<String>) {
    let field = entry.key.as_str();
    let none = (String::new(), None);
    let Some(object) = schemas().object(name) else {
        return none;
    };
    if short(name) == "ExecAction" && field == "timeoutSeconds" && path.pattern().contains(".lifecycle.") {
        let help = "a preStop ends with the grace period at the latest; `spec.terminationGracePeriodSeconds` sets it";
        return ("a hook has no time limit of its own".to_owned(), Some(help.to_owned()));
    }
    let near = crate::nearest::scored(field, object.fields.keys().copied());
    if let Some((likeness, near)) = near
        && likeness >= TYPO
    {
        return (format!("did you mean `{near}`?"), None);
    }
    let slip = SLIPS.iter().find(|(of, slip, ..)| (*of == "*" || *of == short(name)) && slip.eq_ignore_ascii_case(field));
    if let Some((_, _, note, help)) = slip {
        return ((*note).to_owned(), (!help.is_empty()).then(|| (*help).to_owned()));
    }
    let places = places(root);
    if let Some(hint) = belongs(&places, root, name, path, field, entry) {
        return hint;
    }
    if let Some((_, near)) = near {
        return (format!("did you mean `{near}`?"), None);
    }
    let all = places.iter().flat_map(|place| place.object.fields.keys().copied());
    if let Some((likeness, near)) = crate::nearest::scored(field, all)
        && likeness >= TYPO
        && let Some(place) = places.iter().find(|place| place.object.fields.contains_key(near))
    {
        let note = format!("did you mean `{near}`, which belongs to {}?", human(root, place.name, &place.path));
        return (note, Some(format!("write `{}`", place.path.child(near).pattern())));
    }
    const LISTED_MAX: usize = 12;
    let known: Vec<_> = object.fields.keys().map(|field| format!("`{field}`")).collect();
    let help = (known.len() <= LISTED_MAX).then(|| format!("the fields here are {}", known.join(", ")));
    (String::new(), help)
}

/// Where a field that exists elsewhere in the object belongs.
fn belongs(
    places: &[Place],
    root: &'static str,
    name: &'static str,
    path: &FieldPath,
    field: &str,
    entry: &Entry,
) -> Option<(String, Option<String>)> {
    // Of what a hook or probe lacks, its handlers are the likeliest home, though a container has a `command` too.
    let inwards_first = matches!(short(name), "LifecycleHandler" | "Lifecycle" | "Probe");
    let here = open(path);
    let distance = |place: &Place| {
        let (outer, inner) = (place.path.segments().len(), here.segments().len());
        if place.path.contains(&here) {
            (if inwards_first { 3 } else { 1 }, inner - outer)
        } else if here.contains(&place.path) {
            (if inwards_first { 1 } else { 3 }, outer - inner)
        } else {
            (5, outer)
        }
    };
    let homes = places.iter().filter(|place| place.name != name && place.object.fields.contains_key(field));
    // A value of another kind is a coincidence of names.
    let homes = homes.filter(|place| place.object.fields.get(field).is_none_or(|of| could_be(of, &entry.value)));
    let home = homes.min_by_key(|place| distance(place))?;
    let note = if here.contains(&home.path) && home.path.segments().len() == here.segments().len() + 1 {
        let under: Vec<_> = places
            .iter()
            .filter(|place| place.path.parent().as_ref() == Some(&here) && place.object.fields.contains_key(field))
            .filter_map(|place| match place.path.segments().last() {
                Some(Segment::Field(name)) => Some(format!("`{name}`")),
                Some(Segment::Index(_) | Segment::Key(_)) | None => None,
            })
            .collect();
        match under.as_slice() {
            [] => format!("belongs to {}, not to {}", human(root, home.name, &home.path), human(root, name, &here)),
            _ => format!("belongs under {}", under.join(" or ")),
        }
    } else {
        format!("belongs to {}, not to {}", human(root, home.name, &home.path), human(root, name, &here))
    };
    Some((note, Some(format!("write it as `{}`", home.path.child(field.to_owned()).pattern()))))
}

/// Whether a value could be meant for a field, going by its outer kind.
fn could_be(of: &Type, node: &Node) -> bool {
    match (&node.data, of) {
        (Data::Null, _) | (_, Type::Any) => true,
        (Data::List(_), Type::List(_)) | (Data::Map(_), Type::Named(_) | Type::MapOf(_)) => true,
        (Data::List(_) | Data::Map(_), _) => false,
        (_, Type::Named(_) | Type::MapOf(_)) => false,
        // A list of commands is often written as one text.
        (Data::Text(_), Type::List(items)) => **items == Type::Text,
        (_, Type::List(_)) => false,
        _ => true,
    }
}

/// An object type and one path at which it stands.
struct Place {
    path: FieldPath,
    name: &'static str,
    object: &'static Object,
}

/// Every object type below `root` with its shortest path; of paths of the same length the first by name.
fn places(root: &'static str) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let mut next = vec![(FieldPath::root(), root)];
    while !next.is_empty() {
        let mut inner = Vec::new();
        for (path, name) in next {
            // A Pod's status is not for its author.
            let skip = name.ends_with("Status") || places.iter().any(|known| known.name == name && handler(name).is_none());
            let Some(object) = schemas().object(name).filter(|_| !skip) else {
                continue;
            };
            if handler(name).is_some_and(|limit| places.iter().filter(|known| known.name == name).count() >= limit) {
                continue;
            }
            for (field, of) in &object.fields {
                let (mut of, mut path) = (of, path.child(*field));
                while let Type::List(items) | Type::MapOf(items) = of {
                    (of, path) = (items, path.index(0));
                }
                if let Type::Named(name) = of {
                    inner.push((path, *name));
                }
            }
            places.push(Place { path, name, object });
        }
        next = inner;
    }
    places
}

/// Types that stand at several places that are all worth naming, and at how many.
fn handler(name: &str) -> Option<usize> {
    match short(name) {
        "ExecAction" | "HTTPGetAction" | "TCPSocketAction" | "GRPCAction" | "SleepAction" => Some(24),
        "LifecycleHandler" | "Probe" => Some(12),
        _ => None,
    }
}

/// The path with all indexes zero, as [`places`] has them.
fn open(path: &FieldPath) -> FieldPath {
    path.segments().iter().fold(FieldPath::root(), |open, segment| match segment {
        Segment::Field(name) => open.child(name.clone()),
        Segment::Index(_) | Segment::Key(_) => open.index(0),
    })
}

/// What people call the object of a type.
fn human(root: &str, name: &str, path: &FieldPath) -> String {
    if name == root {
        return "the top level".to_owned();
    }
    let known = match short(name) {
        "ObjectMeta" => "`metadata`",
        "PodSpec" => "`spec`",
        "Container" if path.pattern().ends_with("initContainers[]") => "an init container",
        "Container" => "a container",
        "ContainerPort" => "a port",
        "Volume" => "a volume",
        "VolumeMount" => "a volume mount",
        "EnvVar" => "an environment variable",
        "Probe" => "a probe",
        "LifecycleHandler" => "a hook",
        "SecurityContext" => "the `securityContext` of a container",
        "PodSecurityContext" => "the `securityContext` of the pod",
        _ => {
            let last = path.segments().iter().rev().find_map(|segment| match segment {
                Segment::Field(name) => Some(name.as_ref()),
                Segment::Index(_) | Segment::Key(_) => None,
            });
            return last.map_or_else(|| "the top level".to_owned(), |last| format!("`{last}`"));
        }
    };
    known.to_owned()
}

/// The last part of the full name of a type.
fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// What a type takes, with its article.
pub(super) fn expected(of: &Type) -> &'static str {
    match of {
        Type::Named(_) | Type::MapOf(_) => "a map",
        Type::List(_) => "a list",
        Type::Text | Type::Base64 => "a string",
        Type::Boolean => "a boolean",
        Type::Int32 | Type::Int64 => "an integer",
        Type::Quantity => "an amount",
        Type::IntOrString => "an integer or a string",
        Type::Time => "a time",
        Type::Duration => "a length of time",
        Type::Any => "any value",
    }
}

/// What stands there, in a form that fits in a message.
pub(super) fn found(node: &Node) -> String {
    match &node.data {
        Data::Text(text) => {
            let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
            let more = if text.chars().count() > SHOWN_CHARS_MAX { "…" } else { "" };
            format!("the string {:?}", format!("{shown}{more}"))
        }
        Data::Int(value) => format!("the number {value}"),
        Data::Float(value) => format!("the number {value}"),
        Data::Bool(value) => format!("the boolean {value}"),
        Data::Null | Data::List(_) | Data::Map(_) => node.describe().to_owned(),
    }
}

/// What is to be said of a value of the right type that is not written as its type asks for.
pub(super) fn bad_value(of: &Type) -> (String, Option<String>) {
    match of {
        Type::Base64 => (String::new(), Some("plain text goes under `stringData`, which needs no base64".to_owned())),
        Type::Duration => ("write for example 30s, 1m30s or 250ms".to_owned(), None),
        Type::Named(_)
        | Type::List(_)
        | Type::MapOf(_)
        | Type::Text
        | Type::Boolean
        | Type::Int32
        | Type::Int64
        | Type::Quantity
        | Type::IntOrString
        | Type::Time
        | Type::Any => (String::new(), None),
    }
}

/// What is to be said of a value of the wrong type.
pub(super) fn wrong_type(node: &Node, of: &Type, around: Option<(&str, &str)>) -> (String, Option<String>) {
    let field = around.map_or("", |(_, field)| field);
    let note = |text: &str| (text.to_owned(), None);
    match (of, &node.data) {
        (Type::Int32 | Type::Int64, Data::Text(text)) if text.trim().parse::<i64>().is_ok() => note("write the number without quotes"),
        (Type::Int32 | Type::Int64, Data::Text(text)) if field.ends_with("Seconds") || field == "seconds" => {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            match digits.as_str() {
                "" => note("seconds are written as a whole number"),
                digits => note(&format!("seconds are written as a number without a unit, such as {digits}")),
            }
        }
        (Type::Duration, Data::Int(value)) => note(&format!("a length of time has a unit: {value}s")),
        (Type::Int32 | Type::Int64, Data::Float(_)) => note("only whole numbers are allowed here"),
        (Type::Boolean, Data::Text(text)) if matches!(text.to_lowercase().as_str(), "true" | "false" | "yes" | "no") => {
            note("write the boolean without quotes: true or false")
        }
        (Type::Boolean, _) => note("write true or false"),
        (Type::Text, Data::Bool(_)) => {
            let help = "YAML reads bare words such as yes, no, on and off as booleans".to_owned();
            ("put the value in quotes".to_owned(), Some(help))
        }
        (Type::Text, Data::Int(_) | Data::Float(_)) => note("put the value in quotes"),
        (Type::Text, Data::Map(_)) => note("a text with `: ` or braces in it must be in quotes"),
        (Type::Named(_) | Type::MapOf(_), Data::Text(text)) if text.contains(':') => {
            note("write `key: value`, with a blank after the colon")
        }
        (Type::List(items), _) => (String::new(), list_help(field, items, node)),
        (Type::Named(_) | Type::MapOf(_), Data::List(_)) => {
            (String::new(), Some(format!("write the fields of `{field}` under it without `- `")))
        }
        _ => (String::new(), None),
    }
}

fn list_help(field: &str, items: &Type, node: &Node) -> Option<String> {
    match (items, &node.data) {
        (Type::Text, Data::Text(text)) => {
            let words: Vec<_> = text.split_whitespace().take(3).collect();
            Some(match words.as_slice() {
                [shell @ ("sh" | "bash" | "/bin/sh" | "/bin/bash"), "-c", ..] => {
                    format!("write it as a list: `{field}: [\"{shell}\", \"-c\", \"…\"]`")
                }
                [_, _, ..] => format!("write it as a list of words, or `{field}: [\"sh\", \"-c\", \"…\"]` to have a shell"),
                _ => format!("write it as a list: `{field}: [{text:?}]`"),
            })
        }
        (_, Data::Map(_)) if field == "env" => {
            Some("write each variable as an entry of a list: `- name: …` with `value: …` under it".to_owned())
        }
        (_, Data::Map(_)) => Some(format!("`{field}` is a list: begin each of its entries with `- `")),
        _ => None,
    }
}
