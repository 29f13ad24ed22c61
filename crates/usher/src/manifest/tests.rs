use api::{NodeSupport, Overrides};

use super::*;

fn pods(text: &str) -> Vec<Pod> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let read = read(
        &[file.path().to_owned()],
        LoadOptions { namespace: "here", overrides: &Overrides::default(), node: &NodeSupport::default() },
        false,
    )
    .expect("it can be read");
    read.expect("nothing is wrong with it").pods
}

// k8s: 1.a.13
#[test]
fn a_pod_begins_its_life_here_whatever_its_manifest_says_of_another_one() {
    let [pod] = &pods(
        "apiVersion: v1
kind: Pod
metadata:
  name: copied
  generation: 7
  uid: d0b7fd9c-7b3c-4cb4-8f33-4e5b8b8b8b8b
spec:
  containers:
  - name: app
    image: busybox
status:
  phase: Failed
  reason: Evicted
",
    )[..] else {
        panic!("one pod")
    };
    assert_eq!(pod.metadata.generation, Some(1));
    assert_ne!(pod.metadata.uid.as_deref(), Some("d0b7fd9c-7b3c-4cb4-8f33-4e5b8b8b8b8b"));
    assert_eq!(pod.metadata.namespace.as_deref(), Some("here"));
    assert_eq!(pod.status, None);
}

#[test]
fn a_generated_name_is_a_new_one_each_time() {
    let text = "apiVersion: v1
kind: Pod
metadata: {generateName: job-}
spec: {containers: [{name: app, image: busybox}]}
";
    let name = || pods(text)[0].metadata.name.clone().expect("a name");
    let (first, second) = (name(), name());
    assert_ne!(first, second);
    let suffix = first.strip_prefix("job-").expect("it begins as it is asked for");
    assert_eq!(suffix.len(), GENERATED_SUFFIX_LENGTH);
    assert!(suffix.bytes().all(|byte| GENERATED_ALPHABET.contains(&byte)), "{first}");
}

fn refused(text: &str) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let read = read(
        &[file.path().to_owned()],
        LoadOptions { namespace: "here", overrides: &Overrides::default(), node: &NodeSupport::default() },
        false,
    );
    read.expect("it can be read").expect_err("something is wrong with it")
}

#[test]
fn a_pod_has_the_priority_of_its_class_in_the_same_file_or_of_the_systems() {
    let pod = |spec: &str| {
        format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{{spec}, containers: [{{name: app, image: busybox}}]}}\n")
    };
    let class = "---\napiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: quiet}\nvalue: 7\npreemptionPolicy: Never\n";
    let found = |text: &str| {
        let spec = pods(text)[0].spec.clone().expect("a spec");
        (spec.priority_class_name, spec.priority, spec.preemption_policy)
    };
    let expected = |class: Option<&str>, priority, policy: Option<&str>| (class.map(str::to_owned), priority, policy.map(str::to_owned));
    let quiet = expected(Some("quiet"), Some(7), Some("Never"));
    assert_eq!(found(&(pod("priorityClassName: quiet") + class)), quiet);
    assert_eq!(found(&(pod("restartPolicy: Never") + class + "globalDefault: true\n")), quiet);
    let critical = expected(Some("system-node-critical"), Some(2_000_001_000), Some("PreemptLowerPriority"));
    assert_eq!(found(&pod("priorityClassName: system-node-critical")), critical);
    assert_eq!(found(&pod("priority: 5")), expected(None, Some(5), None));
    assert_eq!(
        refused(&pod("priorityClassName: loud")),
        "error: pod web: spec.priorityClassName: no PriorityClass with name loud was found; put its PriorityClass into one of the files, \
         or name system-node-critical or system-cluster-critical\n"
    );
    let number = refused(&(pod("priorityClassName: quiet, priority: 8") + class));
    assert!(
        number.contains("the integer value of priority (8) must not be provided in pod spec") && number.ends_with("; leave it out\n"),
        "{number}"
    );
}
