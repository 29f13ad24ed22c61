//! Patches, by their results.

use serde_json::{Value, json};

use super::*;

const POD: &str = "io.k8s.api.core.v1.Pod";

#[test]
fn merge_patches_replace_lists_and_remove_nulls() {
    let mut object = json!({ "a": { "b": 1, "c": [1, 2] }, "d": "x" });
    apply_merge_patch(&mut object, &json!({ "a": { "b": null, "c": [3] }, "d": { "e": null, "f": 1 } }));
    assert_eq!(object, json!({ "a": { "c": [3] }, "d": { "f": 1 } }));
}

#[test]
fn json_patches_do_all_operations() {
    let mut object = json!({ "a": [1, 2], "b/c": { "~": 1 } });
    let patch = json!([
        { "op": "add", "path": "/a/1", "value": 9 },
        { "op": "add", "path": "/a/-", "value": 3 },
        { "op": "test", "path": "/a", "value": [1, 9, 2, 3] },
        { "op": "remove", "path": "/a/0" },
        { "op": "replace", "path": "/b~1c/~0", "value": 2 },
        { "op": "copy", "from": "/b~1c", "path": "/d" },
        { "op": "move", "from": "/a", "path": "/e" },
    ]);
    apply_json_patch(&mut object, &patch).expect("the patch fits");
    assert_eq!(object, json!({ "b/c": { "~": 2 }, "d": { "~": 2 }, "e": [9, 2, 3] }));
    for (patch, malformed) in [
        (json!([{ "op": "remove", "path": "/x" }]), false),
        (json!([{ "op": "test", "path": "/d", "value": 1 }]), false),
        (json!([{ "op": "add", "path": "/e/7", "value": 1 }]), false),
        (json!([{ "op": "add", "path": "x", "value": 1 }]), true),
        (json!([{ "op": "explode" }]), true),
        (json!({}), true),
    ] {
        let error = apply_json_patch(&mut object.clone(), &patch).expect_err("refused");
        assert_eq!(matches!(error, PatchError::Malformed(_)), malformed, "{patch}: {error}");
    }
}

fn strategic(mut object: Value, patch: Value) -> Value {
    apply_strategic_patch(&mut object, &patch, POD).expect("the patch fits");
    object
}

#[test]
fn strategic_patches_merge_lists_by_key() {
    let pod = json!({ "spec": { "containers": [{ "name": "a", "image": "1", "args": ["x"] }, { "name": "b", "image": "2" }] } });
    let patch = json!({ "spec": { "containers": [{ "name": "b", "image": "3" }, { "name": "a", "args": ["y"] }, { "name": "c" }] } });
    let expected = json!([{ "name": "a", "image": "1", "args": ["y"] }, { "name": "b", "image": "3" }, { "name": "c" }]);
    assert_eq!(strategic(pod, patch)["spec"]["containers"], expected);
}

#[test]
fn strategic_directives_delete_replace_and_order() {
    let pod = json!({
        "metadata": { "finalizers": ["x/a", "x/b"], "labels": { "a": "1" } },
        "spec": { "containers": [{ "name": "a" }, { "name": "b" }, { "name": "c" }], "tolerations": [{ "key": "k" }] },
    });
    let patch = json!({
        "metadata": { "$deleteFromPrimitiveList/finalizers": ["x/a"], "labels": { "$patch": "replace", "b": "2" } },
        "spec": {
            "$setElementOrder/containers": [{ "name": "c" }, { "name": "a" }],
            "containers": [{ "name": "b", "$patch": "delete" }],
            "tolerations": [{ "key": "z" }],
        },
    });
    let patched = strategic(pod, patch);
    assert_eq!(patched["metadata"], json!({ "finalizers": ["x/b"], "labels": { "b": "2" } }));
    assert_eq!(patched["spec"]["containers"], json!([{ "name": "c" }, { "name": "a" }]));
    assert_eq!(patched["spec"]["tolerations"], json!([{ "key": "z" }]), "a list without merge key is replaced");
}

#[test]
fn strategic_patches_keep_only_the_keys_named() {
    let pod = json!({ "spec": { "volumes": [{ "name": "v", "emptyDir": {} }] } });
    let patch = json!({ "spec": { "volumes": [{ "name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": { "path": "/x" } }] } });
    assert_eq!(strategic(pod, patch)["spec"]["volumes"], json!([{ "name": "v", "hostPath": { "path": "/x" } }]));
}

#[test]
fn strategic_patches_without_the_key_are_refused() {
    let mut pod = json!({ "spec": { "containers": [] } });
    let patch = json!({ "spec": { "containers": [{ "image": "x" }] } });
    let error = apply_strategic_patch(&mut pod, &patch, POD).expect_err("refused");
    assert!(error.to_string().contains("does not contain declared merge key: name"), "{error}");
}
