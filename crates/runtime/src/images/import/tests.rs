use super::*;
use crate::images::testing::layers::{LayerBuilder, gzip};
use crate::images::testing::{TestStore, reference};

fn input(bytes: Vec<u8>) -> ArchiveInput {
    ArchiveInput::Reader(Box::new(std::io::Cursor::new(bytes)))
}

fn options() -> ImportOptions {
    ImportOptions {
        entrypoint: vec!["/bin/server".to_owned()],
        cmd: vec!["--port".to_owned(), "80".to_owned()],
        env: vec!["PATH=/bin".to_owned(), "EMPTY=".to_owned()],
        user: Some("www".to_owned()),
        workdir: Some("/srv".to_owned()),
        stop_signal: Some("SIGQUIT".to_owned()),
        exposed_ports: BTreeSet::from(["80".to_owned(), "53/udp".to_owned()]),
        labels: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
    }
}

#[tokio::test]
async fn an_imported_image_has_what_the_options_say_and_the_same_id_everywhere() {
    let (one, other) = (TestStore::open().await, TestStore::open().await);
    let layer = LayerBuilder::new().dir("./").file("bin/server", "x").build();
    let name = reference("localhost/server:1");
    let image = one.store.import_rootfs(input(layer.clone()), &name, &options()).await.expect("an image");
    let same = other.store.import_rootfs(input(gzip(&layer)), &name, &options()).await.expect("an image");
    assert_eq!((&image.id, &image.manifest, image.size), (&same.id, &same.manifest, same.size));
    assert_eq!(image.repo_tags, ["localhost/server:1"]);

    let config = image.config.config().clone().expect("a configuration");
    assert_eq!(config.entrypoint().as_deref(), Some(options().entrypoint.as_slice()));
    assert_eq!(config.cmd().as_deref(), Some(options().cmd.as_slice()));
    assert_eq!(config.env().as_deref(), Some(options().env.as_slice()));
    assert_eq!(config.user().as_deref(), Some("www"));
    assert_eq!(config.working_dir().as_deref(), Some("/srv"));
    assert_eq!(config.stop_signal().as_deref(), Some("SIGQUIT"));
    let mut ports = config.exposed_ports().clone().expect("ports");
    ports.sort();
    assert_eq!(ports, ["53/udp", "80/tcp"]);
    assert_eq!(config.labels().as_ref().and_then(|labels| labels.get("a")).map(String::as_str), Some("b"));
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_before_anything_is_read() {
    let test = TestStore::open().await;
    for (options, text) in [
        (ImportOptions { env: vec!["NAME".to_owned()], ..options() }, "--env \"NAME\" is not valid: it has to be NAME=VALUE"),
        (ImportOptions { workdir: Some("srv".to_owned()), ..options() }, "--workdir \"srv\" is not valid: it has to be an absolute path"),
        (
            ImportOptions { exposed_ports: BTreeSet::from(["http".to_owned()]), ..options() },
            "--expose \"http\" is not valid: it has to be PORT, PORT/tcp, PORT/udp or PORT/sctp",
        ),
        (
            ImportOptions { stop_signal: Some("sigquit".to_owned()), ..options() },
            "--stop-signal \"sigquit\" is not valid: it has to be a name such as SIGQUIT, or a number",
        ),
    ] {
        let missing = ArchiveInput::Path("/nonexistent".into());
        let error = test.store.import_rootfs(missing, &reference("a"), &options).await.expect_err("a bad option");
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn a_bad_root_file_system_leaves_nothing() {
    let test = TestStore::open().await;
    let bad = LayerBuilder::new().file("../x", "").build();
    let error = test.store.import_rootfs(input(bad), &reference("a"), &options()).await.expect_err("a bad layer");
    assert!(matches!(error, ImportImageError::Unpack(_)), "{error}");
    let missing = test.store.import_rootfs(ArchiveInput::Path("/nonexistent".into()), &reference("a"), &options()).await;
    assert!(matches!(missing, Err(ImportImageError::Open { .. })), "{missing:?}");
    assert_eq!((test.names_in("tmp"), test.names_in("layers"), test.names_in("leases")), (vec![], vec![], vec![]));
    assert_eq!(test.store.list().await.expect("a list"), vec![]);
}

#[test]
fn arguments_are_a_json_array_or_one_argument() {
    let parse = |value| ImportOptions::parse_arguments("--cmd", value).map_err(|error| error.to_string());
    assert_eq!(parse("nginx"), Ok(vec!["nginx".to_owned()]));
    assert_eq!(parse(r#"["nginx", "-g", "daemon off;"]"#), Ok(vec!["nginx".to_owned(), "-g".to_owned(), "daemon off;".to_owned()]));
    assert!(parse("[1]").is_err() && parse("[").is_err());
}
