//! Evictions through the API.

use super::*;

#[tokio::test]
async fn an_evicted_pod_says_so_in_its_status_and_goes_as_it_was_meant() {
    let scene = scene().await;
    let made = scene.create("pods", pod("p")).await.expect("created");
    let revision = meta(&made, "resourceVersion").to_owned();
    let evict = async |options: DeleteOptions| scene.registry.disrupt("default", "p", Disruption::Eviction, &options).await;
    let conditions = || scene.get("pods", "p").expect("there")["status"]["conditions"].as_array().expect("conditions").len();

    let tried = evict(DeleteOptions { dry_run: DryRun::All, ..DeleteOptions::default() }).await.expect("it would go");
    assert!(object::is_terminating(tried.object()) && conditions() == 1, "nothing has changed");
    for options in [
        DeleteOptions { uid: Some("another".to_owned()), ..DeleteOptions::default() },
        DeleteOptions { resource_version: Some("1".to_owned()), ..DeleteOptions::default() },
    ] {
        assert_eq!(evict(options).await.expect_err("it is not the one").code, 409);
        assert_eq!(conditions(), 1, "nothing is said of one that stays");
    }
    let options = DeleteOptions { resource_version: Some(revision), uid: Some(object::uid(&made).to_owned()), ..DeleteOptions::default() };
    let going = evict(options).await.expect("begun");
    let told = &going.object()["status"]["conditions"][1];
    assert_eq!((&told["type"], &told["reason"]), (&json!("DisruptionTarget"), &json!("EvictionByEvictionAPI")));
    assert!(object::is_terminating(going.object()));
    evict(DeleteOptions::default()).await.expect("it goes already");
    assert_eq!(conditions(), 2);
    assert_eq!(scene.registry.disrupt("default", "q", Disruption::Eviction, &DeleteOptions::default()).await.expect_err("none").code, 404);
}
