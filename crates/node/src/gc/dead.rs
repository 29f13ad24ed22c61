//! Dead instances of containers whose logs go, by the rules of the reference for dead containers. Decides only.
//!
//! The newest instance of a container, dead or alive, is none of them: its log is that of the container.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::PodName;

/// How many dead instances are kept. The defaults are the reference's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadPolicy {
    /// Of one container; `None` for all of them.
    pub per_container_max: Option<usize>,
    /// Of all containers together; `None` for as many as each may have.
    pub all_max: Option<usize>,
    /// None goes that is younger.
    pub age_min: Duration,
}

impl Default for DeadPolicy {
    fn default() -> Self {
        Self { per_container_max: Some(1), all_max: None, age_min: Duration::ZERO }
    }
}

/// A dead instance of a container, as its logs tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadInstance {
    /// Its pod.
    pub pod: PodName,
    /// Its container.
    pub container: String,
    /// The how manieth it was.
    pub instance: u32,
    /// When it last printed something, since 1970: that is taken for its end.
    pub written_at: Duration,
    /// Its logs.
    pub files: Vec<PathBuf>,
}

/// The instances that are too many; `now` is wall-clock time since 1970.
// k8s: 5.c.6
pub fn surplus(dead: Vec<DeadInstance>, policy: &DeadPolicy, now: Duration) -> Vec<DeadInstance> {
    let mut containers: BTreeMap<(PodName, String), Vec<DeadInstance>> = BTreeMap::new();
    for instance in dead.into_iter().filter(|instance| now.saturating_sub(instance.written_at) >= policy.age_min) {
        containers.entry((instance.pod.clone(), instance.container.clone())).or_default().push(instance);
    }
    for instances in containers.values_mut() {
        // The newest first.
        instances.sort_by_key(|dead| Reverse(dead.instance));
    }
    let mut gone = Vec::new();
    if let Some(count) = policy.per_container_max {
        cut(&mut containers, count, &mut gone);
    }
    let left = |containers: &BTreeMap<_, Vec<DeadInstance>>| containers.values().map(Vec::len).sum::<usize>();
    if let Some(count) = policy.all_max
        && left(&containers) > count
    {
        // Each container keeps its share, but at least one; what is still too much goes by age.
        let share = count.checked_div(containers.len()).unwrap_or(0).max(1);
        cut(&mut containers, share, &mut gone);
        let mut rest: Vec<_> = containers.into_values().flatten().collect();
        rest.sort_by(|a, b| b.written_at.cmp(&a.written_at).then_with(|| a.pod.cmp(&b.pod)).then_with(|| a.container.cmp(&b.container)));
        gone.extend(rest.into_iter().skip(count));
    }
    gone
}

/// Leaves each container so many, the newest.
fn cut(containers: &mut BTreeMap<(PodName, String), Vec<DeadInstance>>, count: usize, gone: &mut Vec<DeadInstance>) {
    for instances in containers.values_mut() {
        gone.extend(instances.split_off(instances.len().min(count)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dead(name: &str, instance: u32, secs: u64) -> DeadInstance {
        let pod = PodName { namespace: "ns".to_owned(), name: name.to_owned(), uid: format!("uid-{name}") };
        DeadInstance { pod, container: "app".to_owned(), instance, written_at: Duration::from_secs(secs), files: Vec::new() }
    }

    #[track_caller]
    fn check(policy: &DeadPolicy, expected: &[(&str, u32)]) {
        let all = vec![dead("a", 1, 20), dead("b", 9, 50), dead("a", 0, 10), dead("b", 10, 60), dead("c", 0, 30), dead("a", 2, 40)];
        let gone = surplus(all, policy, Duration::from_secs(70));
        let mut gone: Vec<_> = gone.iter().map(|dead| (dead.pod.name.as_str(), dead.instance)).collect();
        gone.sort_unstable();
        assert_eq!(gone, expected, "{policy:?}");
    }

    // k8s: 5.c.6
    #[test]
    fn of_each_container_and_of_all_the_newest_dead_instances_are_kept() {
        let default = DeadPolicy::default();
        check(&default, &[("a", 0), ("a", 1), ("b", 9)]);
        check(
            &DeadPolicy { per_container_max: Some(0), ..default.clone() },
            &[("a", 0), ("a", 1), ("a", 2), ("b", 9), ("b", 10), ("c", 0)],
        );
        let all = DeadPolicy { per_container_max: None, ..default.clone() };
        check(&all, &[]);
        // Each one's share is one; then the oldest of those goes.
        check(&DeadPolicy { all_max: Some(5), ..all.clone() }, &[("a", 0), ("a", 1), ("b", 9)]);
        check(&DeadPolicy { all_max: Some(2), ..all.clone() }, &[("a", 0), ("a", 1), ("b", 9), ("c", 0)]);
        check(&DeadPolicy { all_max: Some(0), ..default.clone() }, &[("a", 0), ("a", 1), ("a", 2), ("b", 9), ("b", 10), ("c", 0)]);
        check(&DeadPolicy { all_max: Some(6), ..all }, &[]);
        check(&DeadPolicy { age_min: Duration::from_secs(45), ..default }, &[("a", 0)]);
    }
}
