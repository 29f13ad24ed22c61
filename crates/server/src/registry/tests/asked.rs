//! Who asked for a deletion.

use super::*;

#[tokio::test]
async fn whoever_asked_for_the_end_of_a_pod_last_is_known_until_it_is_over() {
    let scene = scene().await;
    let kind = stored("pods");
    let created = scene.create("pods", pod("p")).await.expect("created");
    let uid = object::uid(&created);
    let by =
        |who: &str, seconds| DeleteOptions { by: Some(who.to_owned()), grace_period_seconds: Some(seconds), ..DeleteOptions::default() };
    let asker = || scene.registry.deletion_asker(uid);
    assert_eq!(asker(), None);
    scene.registry.delete(kind, "default", "p", &by("one", 30)).await.expect("begun");
    assert_eq!(asker().as_deref(), Some("one"));
    scene.registry.delete(kind, "default", "p", &by("two", 60)).await.expect("nothing changes");
    assert_eq!(asker().as_deref(), Some("one"), "who asks in vain has no part in it");
    scene.registry.delete(kind, "default", "p", &by("three", 5)).await.expect("shortened");
    assert_eq!(asker().as_deref(), Some("three"));
    crate::client::NodeClient::new(scene.registry.clone()).remove_pod("default", "p", uid).await.expect("removed");
    assert_eq!(asker(), None);
}

#[tokio::test]
async fn a_pod_of_a_namespace_that_ends_names_who_deleted_that() {
    let scene = scene().await;
    scene.create("namespaces", json!({ "metadata": { "name": "n" } })).await.expect("created");
    let kind = stored("pods");
    let (made, _) = scene.registry.create(kind, "n", pod("p"), &options()).await.expect("created");
    let mut changes = scene.registry.watch(kind, Some("n"), &at(&made), None).expect("a watch");
    let by = DeleteOptions { by: Some("somebody".to_owned()), ..DeleteOptions::default() };
    scene.registry.delete(stored("namespaces"), "", "n", &by).await.expect("begun");
    let notice = changes.next().await.expect("not behind");
    assert!(object::is_terminating(&notice.value(kind)));
    let asker = scene.registry.deletion_asker(object::uid(&made));
    assert_eq!(asker.as_deref(), Some("the end of its namespace, deleted by somebody"));
    crate::client::NodeClient::new(scene.registry.clone()).remove_pod("n", "p", object::uid(&made)).await.expect("removed");
}
