use super::*;

fn descriptor(media_type: &str) -> serde_json::Value {
    serde_json::json!({ "mediaType": media_type, "digest": Digest::sha256_of(b"x").to_string(), "size": 1 })
}

fn parse(document: &serde_json::Value, media_type: Option<&str>) -> Result<Document, ManifestError> {
    Document::parse(document.to_string().as_bytes(), media_type)
}

#[test]
fn what_a_document_is_comes_from_itself_then_from_the_registry_then_from_its_shape() {
    let image = serde_json::json!({ "schemaVersion": 2, "config": descriptor(OCI_CONFIG), "layers": [] });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST)] });
    assert!(matches!(parse(&image, None), Ok(Document::Image(_))));
    assert!(matches!(parse(&image, Some(DOCKER_MANIFEST)), Ok(Document::Image(_))));
    assert!(matches!(parse(&image, Some("text/plain")), Ok(Document::Image(_))));
    assert!(matches!(parse(&index, Some("application/json")), Ok(Document::Index(_))));
    let mut docker = image;
    docker["mediaType"] = DOCKER_MANIFEST.into();
    assert!(matches!(parse(&docker, Some(OCI_INDEX)), Ok(Document::Image(_))));
}

#[test]
fn documents_that_are_no_images_are_refused_by_name() {
    let both = serde_json::json!({ "schemaVersion": 2, "config": {}, "layers": [], "manifests": [] });
    assert_eq!(parse(&both, None), Err(ManifestError::Malformed("it is a manifest and an index at once".to_owned())));
    let old = serde_json::json!({ "schemaVersion": 1, "name": "a", "fsLayers": [] });
    let error = parse(&old, Some("application/vnd.docker.distribution.manifest.v1+prettyjws")).expect_err("schema 1").to_string();
    assert!(error.contains("schemaVersion=1"), "{error}");
    let artifact =
        serde_json::json!({ "schemaVersion": 2, "config": descriptor("application/vnd.cncf.helm.config.v1+json"), "layers": [] });
    let Ok(Document::Image(artifact)) = parse(&artifact, None) else { panic!("a manifest") };
    let unsupported = ManifestError::UnsupportedMediaType("application/vnd.cncf.helm.config.v1+json".to_owned());
    assert_eq!(artifact.check(127), Err(unsupported));
    let path = serde_json::json!({ "schemaVersion": 2, "config": { "mediaType": OCI_CONFIG, "digest": "sha256:../../x", "size": 1 }, "layers": [] });
    assert!(matches!(parse(&path, None), Err(ManifestError::Malformed(_))));
}

#[test]
fn too_many_layers_are_refused() {
    let layers: Vec<_> = (0..5).map(|_| descriptor(OCI_LAYER)).collect();
    let image = serde_json::json!({ "schemaVersion": 2, "config": descriptor(OCI_CONFIG), "layers": layers });
    let Ok(Document::Image(image)) = parse(&image, None) else { panic!("a manifest") };
    assert_eq!(image.check(5), Ok(()));
    assert_eq!(image.check(4), Err(ManifestError::TooManyLayers { count: 5, count_max: 4 }));
}

#[test]
fn the_image_for_this_machine_is_chosen_from_an_index() {
    let platform = |os: &str, architecture: &str, variant: Option<&str>| Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
    };
    let index = |platforms: &[Option<Platform>]| ImageIndex {
        schema_version: 2,
        media_type: String::new(),
        manifests: platforms
            .iter()
            .enumerate()
            .map(|(size, platform)| Descriptor {
                media_type: OCI_MANIFEST.to_owned(),
                digest: Digest::sha256_of(b"x"),
                size: size as u64,
                platform: platform.clone(),
                annotations: Annotations::default(),
            })
            .collect(),
    };
    let (amd64, arm64) = (platform("linux", "amd64", None), platform("linux", "arm64", Some("v8")));
    let chosen = |wanted: &Platform, platforms: &[Option<Platform>]| wanted.choose(&index(platforms)).map(|descriptor| descriptor.size);
    let windows = Some(platform("windows", "amd64", None));
    let attestation = Some(platform("unknown", "unknown", None));
    let v3 = Some(platform("linux", "amd64", Some("v3")));
    assert_eq!(chosen(&amd64, &[windows.clone(), attestation.clone(), Some(arm64.clone()), Some(amd64.clone())]), Some(3));
    assert_eq!(chosen(&amd64, &[v3.clone(), Some(amd64.clone())]), Some(1));
    assert_eq!(chosen(&amd64, &[v3, windows, attestation]), None);
    assert_eq!(chosen(&arm64, &[Some(platform("linux", "arm64", None)), Some(arm64.clone())]), Some(1));
    assert_eq!(chosen(&arm64, &[Some(platform("linux", "arm64", None))]), Some(0));
    assert_eq!(chosen(&amd64, &[None]), Some(0));
    assert_eq!(chosen(&amd64, &[None, None]), None);
}
