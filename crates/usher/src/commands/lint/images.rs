//! What rules ask about images, answered from the store of this machine. Nothing is pulled.

use api::lint::{ImageConfig, ImageFile, Images};
use runtime::images::{Image, ImageQuery, ImageStore, ImageStoreConfig};

use crate::cli::Global;

/// The images in the store.
#[derive(Debug, Default)]
pub(super) struct StoredImages {
    images: Vec<Image>,
}

/// Opens the store, if there is one. A store that cannot be opened keeps nobody from looking at manifests.
pub(super) async fn open(global: &Global) -> StoredImages {
    let folder = global.root().join("images");
    if !folder.is_dir() {
        return StoredImages::default();
    }
    let listed = match ImageStore::open(ImageStoreConfig::new(&folder)).await {
        Ok(store) => store.list().await,
        Err(error) => Err(error),
    };
    let images = listed.unwrap_or_else(|error| {
        tracing::info!(%error, folder = %folder.display(), "the images in the store are not looked at");
        Vec::new()
    });
    StoredImages { images }
}

impl StoredImages {
    fn find(&self, name: &str) -> Option<&Image> {
        let query = ImageQuery::parse(name).ok()?;
        self.images.iter().find(|image| match &query {
            ImageQuery::Id(id) => image.id == *id,
            ImageQuery::Reference(reference) => {
                let name = reference.store_name();
                image.repo_tags.contains(&name) || image.repo_digests.contains(&name)
            }
        })
    }
}

impl Images for StoredImages {
    fn config(&self, image: &str) -> Option<ImageConfig> {
        let config = self.find(image)?.config.config().clone().unwrap_or_default();
        Some(ImageConfig {
            entrypoint: config.entrypoint().clone().unwrap_or_default(),
            cmd: config.cmd().clone().unwrap_or_default(),
            env: config.env().clone().unwrap_or_default(),
            working_dir: config.working_dir().clone().unwrap_or_default(),
            stop_signal: config.stop_signal().clone().filter(|signal| !signal.is_empty()),
        })
    }

    fn file(&self, image: &str, path: &str) -> ImageFile {
        match self.find(image).map(|image| image.find_file(path)) {
            Some(Ok(Some(real))) => ImageFile::File(real),
            Some(Ok(None)) => ImageFile::Missing,
            // What is there but is no plain file is not for a rule to judge.
            Some(Err(_)) | None => ImageFile::Unknown,
        }
    }
}
