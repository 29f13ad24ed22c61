//! Taints of the node: which pods they keep out, and which they drive away.

use std::time::Duration;

use serde_json::{Value, json};

/// Something about the node that a pod has to tolerate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taint {
    key: String,
    value: String,
    effect: Effect,
}

/// What a taint does to pods that do not tolerate it. `PreferNoSchedule` does nothing where there is one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    /// They do not come.
    NoSchedule,
    /// They do not come, and those that are there go.
    NoExecute,
}

impl Effect {
    fn name(self) -> &'static str {
        match self {
            Self::NoSchedule => "NoSchedule",
            Self::NoExecute => "NoExecute",
        }
    }
}

impl Taint {
    /// One that only keeps out, as that of `kubectl cordon`.
    pub(super) fn no_schedule(key: &str) -> Self {
        Self { key: key.to_owned(), value: String::new(), effect: Effect::NoSchedule }
    }

    fn read(taint: &Value) -> Option<Self> {
        let effect = [Effect::NoSchedule, Effect::NoExecute].into_iter().find(|effect| taint["effect"] == json!(effect.name()))?;
        Some(Self { key: text(&taint["key"]).to_owned(), value: text(&taint["value"]).to_owned(), effect })
    }

    /// An effect or a key that a toleration does not name means any.
    fn is_tolerated_by(&self, toleration: &Value) -> bool {
        let (key, effect) = (text(&toleration["key"]), text(&toleration["effect"]));
        let is_any_value = text(&toleration["operator"]) == "Exists";
        let of_key = key == self.key || key.is_empty() && is_any_value;
        let of_value = is_any_value || text(&toleration["value"]) == self.value;
        of_key && of_value && (effect.is_empty() || effect == self.effect.name())
    }

    pub(super) fn is_tolerated(&self, pod: &Value) -> bool {
        tolerations(pod).any(|toleration| self.is_tolerated_by(toleration))
    }
}

/// The taints of a node that do something.
pub(crate) fn taints(node: &Value) -> Vec<Taint> {
    node["spec"]["taints"].as_array().into_iter().flatten().filter_map(Taint::read).collect()
}

/// How long a pod may stay that is on a node with these taints; `None` is for ever.
pub(crate) fn stay(pod: &Value, taints: &[Taint]) -> Option<Duration> {
    let mut driving = taints.iter().filter(|taint| taint.effect == Effect::NoExecute).peekable();
    driving.peek()?;
    let mut stay = None;
    for taint in driving {
        if !taint.is_tolerated(pod) {
            return Some(Duration::ZERO);
        }
        let used = tolerations(pod).filter(|toleration| taint.is_tolerated_by(toleration));
        let limits = used.filter_map(|toleration| toleration["tolerationSeconds"].as_i64());
        // Less than none is none.
        let limits = limits.map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or(0)));
        stay = stay.into_iter().chain(limits).min();
    }
    stay
}

fn tolerations(pod: &Value) -> impl Iterator<Item = &Value> {
    pod["spec"]["tolerations"].as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tainted(effect: &str) -> Vec<Taint> {
        taints(&json!({ "spec": { "taints": [{ "key": "disk", "value": "slow", "effect": effect }] } }))
    }

    #[test]
    fn a_toleration_is_of_any_key_value_and_effect_that_it_does_not_name() {
        let [taint] = tainted("NoSchedule").try_into().expect("one");
        for (toleration, tolerates) in [
            (json!({ "operator": "Exists" }), true),
            (json!({ "key": "disk", "operator": "Exists" }), true),
            (json!({ "key": "disk", "value": "slow" }), true),
            (json!({ "key": "disk", "operator": "Equal", "value": "slow", "effect": "NoSchedule" }), true),
            (json!({ "key": "disk", "value": "slow", "effect": "NoExecute" }), false),
            (json!({ "key": "disk", "value": "fast" }), false),
            (json!({ "key": "disk" }), false),
            (json!({ "key": "cpu", "operator": "Exists" }), false),
            (json!({ "value": "slow" }), false),
        ] {
            assert_eq!(taint.is_tolerated_by(&toleration), tolerates, "{toleration}");
        }
    }

    #[test]
    fn what_only_prefers_does_nothing() {
        assert_eq!(tainted("PreferNoSchedule"), []);
        assert_eq!(taints(&json!({ "spec": {} })), []);
    }

    #[test]
    fn a_pod_stays_as_long_as_its_shortest_toleration_says() {
        let stays = |tolerations: Value, effect: &str| stay(&json!({ "spec": { "tolerations": tolerations } }), &tainted(effect));
        let one = |seconds: Value| json!({ "key": "disk", "operator": "Exists", "tolerationSeconds": seconds });
        assert_eq!(stays(json!([]), "NoExecute"), Some(Duration::ZERO));
        assert_eq!(stays(json!([]), "NoSchedule"), None, "it only keeps out");
        assert_eq!(stays(json!([one(Value::Null)]), "NoExecute"), None);
        assert_eq!(stays(json!([one(json!(30)), one(json!(5)), one(Value::Null)]), "NoExecute"), Some(Duration::from_secs(5)));
        assert_eq!(stays(json!([one(json!(-1))]), "NoExecute"), Some(Duration::ZERO));
    }
}
