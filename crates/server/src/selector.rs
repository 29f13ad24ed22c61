//! Selection of objects by labels and by fields.

use serde_json::Value;

use crate::kinds::Kind;
use crate::status::{ApiError, ApiResult};

/// The longest selector accepted, in bytes.
const SELECTOR_BYTES_MAX: usize = 64 * 1024;

/// One demand on labels.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Demand {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
    Greater(String, i64),
    Less(String, i64),
}

/// What objects are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Demand>,
    /// Path, whether it must be equal, value.
    fields: Vec<(String, bool, String)>,
}

impl Selector {
    /// Reads both selectors of a request.
    ///
    /// # Errors
    /// They are not well formed, or name a field by which objects of this kind cannot be selected.
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> ApiResult<Self> {
        if labels.len() + fields.len() > SELECTOR_BYTES_MAX {
            return Err(ApiError::bad_request("the selector is too long"));
        }
        let labels =
            Labels { rest: labels.trim() }.demands().map_err(|why| ApiError::bad_request(format!("unable to parse requirement: {why}")))?;
        Ok(Self { labels, fields: parse_fields(kind, fields)? })
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// The name that `metadata.name=NAME` demands.
    pub fn name(&self) -> Option<&str> {
        self.fields.iter().find(|(path, equal, _)| *equal && path == "metadata.name").map(|(.., value)| value.as_str())
    }

    /// Whether an object is wanted.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = &object["metadata"]["labels"];
        let label = |key: &str| labels.get(key).and_then(Value::as_str);
        self.labels.iter().all(|demand| match demand {
            Demand::In(key, values) => label(key).is_some_and(|value| values.iter().any(|wanted| wanted == value)),
            Demand::NotIn(key, values) => !label(key).is_some_and(|value| values.iter().any(|unwanted| unwanted == value)),
            Demand::Exists(key) => label(key).is_some(),
            Demand::Absent(key) => label(key).is_none(),
            Demand::Greater(key, than) => label(key).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value > *than),
            Demand::Less(key, than) => label(key).and_then(|value| value.parse::<i64>().ok()).is_some_and(|value| value < *than),
        }) && self.fields.iter().all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

/// The value of a field as selectors see it: what is absent is empty, except booleans, which are false.
fn field(object: &Value, path: &str) -> String {
    if path == "source" {
        let source = object["source"]["component"].as_str().filter(|component| !component.is_empty());
        return source.or(object["reportingComponent"].as_str()).unwrap_or_default().to_owned();
    }
    match path.split('.').fold(object, |value, step| &value[step]) {
        Value::String(text) => text.clone(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) if is_boolean(path) => "false".to_owned(),
        Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
    }
}

fn is_boolean(path: &str) -> bool {
    matches!(path, "spec.hostNetwork" | "spec.unschedulable")
}

/// The fields by which objects of a kind can be selected, besides name and namespace.
fn selectable(kind: &Kind) -> &'static [&'static str] {
    match kind.resource {
        "pods" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "events" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "regarding.apiVersion",
            "regarding.resourceVersion",
            "regarding.fieldPath",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        ],
        "namespaces" => &["status.phase"],
        "nodes" => &["spec.unschedulable"],
        "secrets" => &["type"],
        _ => &[],
    }
}

fn parse_fields(kind: &Kind, text: &str) -> ApiResult<Vec<(String, bool, String)>> {
    let mut fields = Vec::new();
    for term in split_terms(text) {
        let (path, equal, value) = if let Some((path, value)) = term.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = term.split_once("==") {
            (path, true, value)
        } else if let Some((path, value)) = term.split_once('=') {
            (path, true, value)
        } else {
            return Err(ApiError::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'")));
        };
        let known = path == "metadata.name" || path == "metadata.namespace" && kind.namespaced || selectable(kind).contains(&path);
        if !known {
            return Err(ApiError::bad_request(format!("field label not supported: {path}")));
        }
        // Events are stored in the words of the core group.
        let path = match path.strip_prefix("regarding.") {
            Some(rest) => format!("involvedObject.{rest}"),
            None if path == "reportingController" => "reportingComponent".to_owned(),
            None => path.to_owned(),
        };
        fields.push((path, equal, value.replace("\\,", ",").replace("\\=", "=").replace("\\\\", "\\")));
    }
    Ok(fields)
}

/// Splits at commas that no backslash stands before.
fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms.retain(|term| !term.is_empty());
    terms
}

/// A label selector, read from the left.
struct Labels<'a> {
    rest: &'a str,
}

impl<'a> Labels<'a> {
    fn demands(mut self) -> Result<Vec<Demand>, String> {
        let mut demands = Vec::new();
        while !self.rest.is_empty() {
            demands.push(self.demand()?);
            self.blanks();
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest.trim_start(),
                None if self.rest.is_empty() => {}
                None => return Err(format!("found '{}', expected: ',' or 'end of string'", self.rest)),
            }
        }
        Ok(demands)
    }

    fn demand(&mut self) -> Result<Demand, String> {
        if let Some(rest) = self.rest.strip_prefix('!') {
            self.rest = rest.trim_start();
            return Ok(Demand::Absent(self.key()?));
        }
        let key = self.key()?;
        self.blanks();
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(rest) = self.rest.strip_prefix(operator) {
                self.rest = rest.trim_start();
                let values = vec![self.word().to_owned()];
                return Ok(if equal { Demand::In(key, values) } else { Demand::NotIn(key, values) });
            }
        }
        for operator in ['>', '<'] {
            if let Some(rest) = self.rest.strip_prefix(operator) {
                self.rest = rest.trim_start();
                let word = self.word();
                let number = word.parse().map_err(|_| format!("for 'Gt', 'Lt' operators, the value must be an integer, not '{word}'"))?;
                return Ok(if operator == '>' { Demand::Greater(key, number) } else { Demand::Less(key, number) });
            }
        }
        match self.rest.split([' ', '(']).next() {
            Some("in") => {
                self.rest = &self.rest[2..];
                Ok(Demand::In(key, self.values()?))
            }
            Some("notin") => {
                self.rest = &self.rest[5..];
                Ok(Demand::NotIn(key, self.values()?))
            }
            _ if self.rest.is_empty() || self.rest.starts_with(',') => Ok(Demand::Exists(key)),
            _ => Err(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", self.rest)),
        }
    }

    fn key(&mut self) -> Result<String, String> {
        match self.word() {
            "" => Err(format!("found '{}', expected: identifier", self.rest)),
            word => Ok(word.to_owned()),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        self.blanks();
        let inside = self.rest.strip_prefix('(').ok_or_else(|| format!("found '{}', expected: '('", self.rest))?;
        let (inside, rest) = inside.split_once(')').ok_or_else(|| "found '', expected: ',' or ')'".to_owned())?;
        self.rest = rest;
        Ok(inside.split(',').map(|value| value.trim().to_owned()).collect())
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || "-_./".contains(c))).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn blanks(&mut self) {
        self.rest = self.rest.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::stored;

    #[test]
    fn labels_are_selected_as_the_reference_does() {
        let object = json!({ "metadata": { "labels": { "app": "web", "tier": "front", "n": "5" } } });
        let cases = [
            ("", true),
            ("app=web", true),
            ("app==web,tier!=back", true),
            ("app!=web", false),
            ("app in (db, web)", true),
            ("app notin (db,web)", false),
            ("other notin (x)", true),
            ("app", true),
            ("!app", false),
            ("! other , tier", true),
            ("n>4", true),
            ("n<5", false),
            ("app in(web),tier", true),
            ("other=", false),
        ];
        for (text, expected) in cases {
            let selector = Selector::parse(stored("pods"), text, "").unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(&object), expected, "{text}");
        }
        for wrong in ["app in web", "=web", "app web", "app in (a", "app,,b"] {
            let error = Selector::parse(stored("pods"), wrong, "").expect_err(wrong);
            assert_eq!(error.code, 400, "{wrong}");
        }
    }

    #[test]
    fn fields_are_selected_by_kind() {
        let pod = json!({ "metadata": { "name": "a" }, "spec": { "nodeName": "n" }, "status": { "phase": "Running" } });
        let cases = [
            ("metadata.name=a", true),
            ("status.phase!=Running", false),
            ("spec.nodeName=n,status.phase=Running", true),
            ("spec.hostNetwork=false", true),
            ("status.podIP=", true),
        ];
        for (text, expected) in cases {
            let selector = Selector::parse(stored("pods"), "", text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(selector.matches(&pod), expected, "{text}");
        }
        let error = Selector::parse(stored("configmaps"), "", "status.phase=x").expect_err("no such field");
        assert_eq!(error.message, "field label not supported: status.phase");
    }
}
