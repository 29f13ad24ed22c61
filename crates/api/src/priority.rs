//! The priority that a pod has: what its class says, or the class for all pods that name none.
//!
//! Pure. Where the classes come from is the caller's business: objects of an API, or documents beside the pod's.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use serde::Deserialize;
use serde_json::Value;

/// The largest priority of a class that somebody makes; above it are those of the system.
pub const USER_PRIORITY_MAX: i64 = 1_000_000_000;

/// The classes that are there from the start.
pub const SYSTEM_CLASSES: [(&str, i32); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

/// Whether a pod may have others go: what a class means that does not say.
const PREEMPTION_DEFAULT: &str = "PreemptLowerPriority";

/// What of a pod's spec is about its priority.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Priority {
    /// The name of its class.
    pub priority_class_name: Option<String>,
    /// The number.
    pub priority: Option<i32>,
    /// Whether others have to go for it.
    pub preemption_policy: Option<String>,
}

impl Priority {
    /// That of a spec.
    pub fn of(spec: &PodSpec) -> Self {
        Self {
            priority_class_name: spec.priority_class_name.clone(),
            priority: spec.priority,
            preemption_policy: spec.preemption_policy.clone(),
        }
    }

    /// Writes it into a spec.
    pub fn write(self, spec: &mut PodSpec) {
        (spec.priority_class_name, spec.priority, spec.preemption_policy) =
            (self.priority_class_name, self.priority, self.preemption_policy);
    }

    /// The class that it names, if it names one.
    pub fn class(&self) -> Option<&str> {
        self.priority_class_name.as_deref().filter(|name| !name.is_empty())
    }
}

/// Why a pod cannot have the priority that it asks for. The texts are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriorityError {
    /// It names a class that is not there.
    #[error("no PriorityClass with name {0} was found")]
    NoClass(String),
    /// It says another number than its class.
    #[error(
        "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
    )]
    Number {
        /// What the pod says.
        given: i32,
        /// What the class says.
        computed: i32,
    },
    /// It says something else about preemption than its class.
    #[error(
        "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {computed} from the given PriorityClass name"
    )]
    Preemption {
        /// What the pod says.
        given: String,
        /// What the class says.
        computed: String,
    },
}

/// The classes that there are, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PriorityClasses(BTreeMap<String, Class>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    value: i32,
    preemption_policy: String,
    is_default: bool,
}

impl PriorityClasses {
    /// Those of the system.
    pub fn system() -> Self {
        let class = |value| Class { value, preemption_policy: PREEMPTION_DEFAULT.to_owned(), is_default: false };
        Self(SYSTEM_CLASSES.iter().map(|(name, value)| ((*name).to_owned(), class(*value))).collect())
    }

    /// Adds a `PriorityClass` object.
    pub fn insert(&mut self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let value = object["value"].as_i64().and_then(|value| i32::try_from(value).ok()).unwrap_or_default();
        let preemption_policy = object["preemptionPolicy"].as_str().unwrap_or(PREEMPTION_DEFAULT).to_owned();
        self.0.insert(name, Class { value, preemption_policy, is_default: object["globalDefault"] == Value::Bool(true) });
    }

    /// The class of pods that name none; of several the one with the lowest priority, as in the reference.
    fn default_class(&self) -> Option<(&String, &Class)> {
        self.0.iter().filter(|(_, class)| class.is_default).min_by_key(|(_, class)| class.value)
    }

    /// Whether there is a class for pods that name none.
    pub fn has_default(&self) -> bool {
        self.default_class().is_some()
    }

    /// The priority of a pod that asks for this.
    ///
    /// # Errors
    /// There is no such class, or it says something else than the pod.
    pub fn admit(&self, asked: Priority) -> Result<Priority, PriorityError> {
        let (name, value, policy) = match asked.class() {
            Some(name) => {
                let class = self.0.get(name).ok_or_else(|| PriorityError::NoClass(name.to_owned()))?;
                (Some(name.to_owned()), class.value, class.preemption_policy.clone())
            }
            None => match self.default_class() {
                Some((name, class)) => (Some(name.clone()), class.value, class.preemption_policy.clone()),
                None => (None, 0, PREEMPTION_DEFAULT.to_owned()),
            },
        };
        if let Some(given) = asked.priority.filter(|given| *given != value) {
            return Err(PriorityError::Number { given, computed: value });
        }
        if let Some(given) = asked.preemption_policy.filter(|given| *given != policy) {
            return Err(PriorityError::Preemption { given, computed: policy });
        }
        Ok(Priority { priority_class_name: name, priority: Some(value), preemption_policy: Some(policy) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn classes() -> PriorityClasses {
        let mut classes = PriorityClasses::system();
        classes.insert(&json!({ "metadata": { "name": "quiet" }, "value": 7, "preemptionPolicy": "Never" }));
        classes
    }

    fn admitted(classes: &PriorityClasses, spec: Value) -> Result<Value, String> {
        let asked: Priority = serde_json::from_value(spec).expect("a spec");
        let Priority { priority_class_name, priority, preemption_policy } = classes.admit(asked).map_err(|error| error.to_string())?;
        Ok(json!([priority_class_name, priority, preemption_policy]))
    }

    #[test]
    fn a_class_says_the_priority_and_who_says_otherwise_is_told_so() {
        let classes = classes();
        let check = |spec: Value, expected: Result<Value, &str>| {
            assert_eq!(admitted(&classes, spec.clone()), expected.map_err(ToOwned::to_owned), "{spec}");
        };
        check(json!({}), Ok(json!([null, 0, "PreemptLowerPriority"])));
        check(json!({ "priorityClassName": "" }), Ok(json!([null, 0, "PreemptLowerPriority"])));
        check(json!({ "priorityClassName": "quiet", "priority": 7 }), Ok(json!(["quiet", 7, "Never"])));
        let critical = json!({ "priorityClassName": "system-cluster-critical" });
        check(critical, Ok(json!(["system-cluster-critical", 2_000_000_000, "PreemptLowerPriority"])));
        check(json!({ "priorityClassName": "none" }), Err("no PriorityClass with name none was found"));
        let number = "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 0 from the given PriorityClass name";
        check(json!({ "priority": 5 }), Err(number));
        let policy = "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name";
        check(json!({ "priorityClassName": "quiet", "preemptionPolicy": "PreemptLowerPriority" }), Err(policy));
    }

    #[test]
    fn the_lowest_of_the_default_classes_is_that_of_pods_without_one() {
        let mut classes = classes();
        assert!(!classes.has_default());
        for (name, value) in [("high", 9), ("low", 3)] {
            classes.insert(&json!({ "metadata": { "name": name }, "value": value, "globalDefault": true }));
        }
        assert!(classes.has_default());
        assert_eq!(admitted(&classes, json!({})), Ok(json!(["low", 3, "PreemptLowerPriority"])));
    }
}
