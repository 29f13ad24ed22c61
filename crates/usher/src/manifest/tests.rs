use api::Overrides;

use super::*;

fn pods(text: &str) -> Vec<Pod> {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let read = read(&[file.path().to_owned()], LoadOptions { namespace: "here", overrides: &Overrides::default() }, false)
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
