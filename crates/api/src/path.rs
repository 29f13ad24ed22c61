//! The path of a field in an object, written as Kubernetes writes it: `spec.containers[0].resources.limits[cpu]`.

use std::borrow::Cow;
use std::fmt;

/// One step of a [`FieldPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// A named field of an object.
    Field(Cow<'static, str>),
    /// An item of a list, from 0.
    Index(usize),
    /// A key of a map with free keys, such as labels.
    Key(String),
}

/// The path of a field in an object. The empty path is the object itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Vec<Segment>);

impl FieldPath {
    /// The path of a top-level field.
    pub fn new(field: impl Into<Cow<'static, str>>) -> Self {
        Self(vec![Segment::Field(field.into())])
    }

    /// The object itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The field `name` of the object at this path.
    #[must_use]
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> Self {
        self.with(Segment::Field(name.into()))
    }

    /// The item `index` of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// The entry `key` of the map at this path.
    #[must_use]
    pub fn key(&self, key: impl Into<String>) -> Self {
        self.with(Segment::Key(key.into()))
    }

    /// This path and one more step.
    #[must_use]
    pub fn with(&self, segment: Segment) -> Self {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Self(segments)
    }

    /// The path of the thing that holds this one; `None` for the object itself.
    pub fn parent(&self) -> Option<Self> {
        let (_, parent) = self.0.split_last()?;
        Some(Self(parent.to_vec()))
    }

    /// The steps, from the object inwards.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// Whether this is the object itself.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `other` is this path or lies below it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// The path with every index and key left open: `spec.containers[].ports[]`.
    pub fn pattern(&self) -> String {
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Field(name) => {
                    if !text.is_empty() {
                        text.push('.');
                    }
                    text.push_str(name);
                }
                Segment::Index(_) | Segment::Key(_) => text.push_str("[]"),
            }
        }
        text
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("<nil>");
        }
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Field(name) if position == 0 => f.write_str(name)?,
                Segment::Field(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_written_as_kubernetes_writes_them() {
        let path = FieldPath::new("spec").child("containers").index(0).child("resources").child("limits").key("cpu");
        assert_eq!(path.to_string(), "spec.containers[0].resources.limits[cpu]");
        assert_eq!(path.pattern(), "spec.containers[].resources.limits[]");
        assert_eq!(FieldPath::root().to_string(), "<nil>");
        assert!(FieldPath::new("spec").contains(&path) && !path.contains(&FieldPath::new("spec")));
        assert_eq!(path.parent().expect("has one").to_string(), "spec.containers[0].resources.limits");
    }
}
