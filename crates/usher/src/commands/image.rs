//! `usher image`: the images on this machine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use runtime::images::{
    ArchiveInput, ExportTarget, Image as StoredImage, ImageQuery, ImageReference, ImageStore, ImageStoreConfig, ImportOptions, LoadOptions,
    ProgressListener, PruneScope, PullOptions,
};

use crate::cli::Global;

/// What can be done with images.
#[derive(Debug, Subcommand)]
pub(crate) enum Image {
    /// List the images
    #[command(visible_alias = "ls")]
    List,
    /// Pull images from their registries
    Pull {
        /// Names as in a manifest
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Load images from an archive: OCI, or of `docker save`; `-` is standard input
    Load {
        /// The archive, or the folder of an OCI layout
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Name of the image, instead of those in the archive
        #[arg(long, value_name = "IMAGE")]
        name: Option<String>,
    },
    /// Make an image of one layer from a root file system
    Import(Import),
    /// Write an image to an OCI archive; `-` is standard output
    Export {
        /// Name or id
        #[arg(value_name = "IMAGE")]
        image: String,
        /// The archive
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Remove images
    #[command(visible_alias = "rm")]
    Remove {
        /// Names or ids
        #[arg(required = true, value_name = "IMAGE")]
        images: Vec<String>,
    },
    /// Remove layers that no image has, and images that no container uses
    Prune {
        /// Images with a name too
        #[arg(long)]
        all: bool,
    },
}

/// What `usher image import` takes.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// Name of the new image
    #[arg(value_name = "IMAGE")]
    name: String,
    /// The root file system as a tar archive, compressed or not; `-` is standard input
    #[arg(value_name = "TAR")]
    file: PathBuf,
    /// The program with its fixed arguments: a JSON list of strings, or one argument; repeated for more
    #[arg(long, value_name = "ARGS")]
    entrypoint: Vec<String>,
    /// Arguments that a container may replace: likewise
    #[arg(long, value_name = "ARGS")]
    cmd: Vec<String>,
    /// Environment; repeated for more
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Who runs it: name or number, with or without :GROUP
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Where it runs
    #[arg(long, value_name = "PATH")]
    workdir: Option<String>,
    /// The signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Ports it listens on: 80, 80/tcp or 53/udp; repeated for more
    #[arg(long, value_name = "PORT")]
    expose: Vec<String>,
    /// Labels; repeated for more
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
}

pub(crate) async fn image(global: &Global, image: Image) -> anyhow::Result<ExitCode> {
    let store = ImageStore::open(ImageStoreConfig::new(global.root().join("images"))).await.context("cannot open the image store")?;
    match image {
        Image::List => list(&store).await?,
        Image::Pull { images } => {
            for image in images {
                pull(&store, &image).await?;
            }
        }
        Image::Load { file, name } => {
            let name = name.map(|name| ImageReference::parse(&name)).transpose()?;
            let loaded = store.load(input(&file), &LoadOptions { name }).await;
            for image in loaded.with_context(|| format!("cannot load {}", file.display()))? {
                say(&format!("loaded {}", title(&image)))?;
            }
        }
        Image::Import(import) => {
            let name = ImageReference::parse(&import.name)?;
            let (file, options) = import.options()?;
            let imported = store.import_rootfs(input(&file), &name, &options).await;
            say(&format!("imported {}", title(&imported.with_context(|| format!("cannot import {}", file.display()))?)))?;
        }
        Image::Export { image, file } => {
            let target = if file == Path::new("-") { ExportTarget::Writer(Box::new(std::io::stdout())) } else { ExportTarget::Path(file) };
            store.export(&ImageQuery::parse(&image)?, target).await.with_context(|| format!("cannot export {image}"))?;
        }
        Image::Remove { images } => {
            for image in images {
                let report = store.remove(&ImageQuery::parse(&image)?).await.with_context(|| format!("cannot remove {image}"))?;
                for name in report.untagged {
                    say(&format!("removed {name}"))?;
                }
            }
        }
        Image::Prune { all } => {
            let report =
                store.prune(if all { PruneScope::Unused } else { PruneScope::Untagged }).await.context("cannot prune the image store")?;
            let (images, layers) = (report.images.len(), report.layers.len());
            say(&format!("removed {images} images and {layers} layers, {}", bytes(report.bytes)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(store: &ImageStore) -> anyhow::Result<()> {
    let mut rows = vec![["IMAGE".to_owned(), "ID".to_owned(), "SIZE".to_owned()]];
    for image in store.list().await.context("cannot read the image store")? {
        let names = if image.repo_tags.is_empty() { image.repo_digests.clone() } else { image.repo_tags.clone() };
        let id: String = image.id.hex().chars().take(12).collect();
        let named = if names.is_empty() { vec!["<none>".to_owned()] } else { names };
        rows.extend(named.into_iter().map(|name| [name, id.clone(), bytes(image.size)]));
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    for [image, id, size] in &rows {
        say(&format!("{image:<first$}   {id:<second$}   {size}"))?;
    }
    Ok(())
}

async fn pull(store: &ImageStore, image: &str) -> anyhow::Result<()> {
    let reference = ImageReference::parse(image)?;
    let options = PullOptions { auths: Vec::new(), progress: ProgressListener::default() };
    let pulled = store.pull(&reference, &options).await.map_err(|error| anyhow::anyhow!("{}", error.message()))?;
    say(&format!("pulled {}", title(&pulled)))
}

impl Import {
    fn options(self) -> anyhow::Result<(PathBuf, ImportOptions)> {
        let arguments = |option, values: Vec<String>| -> anyhow::Result<Vec<String>> {
            let mut all = Vec::new();
            for value in values {
                all.extend(ImportOptions::parse_arguments(option, &value)?);
            }
            Ok(all)
        };
        let options = ImportOptions {
            entrypoint: arguments("--entrypoint", self.entrypoint)?,
            cmd: arguments("--cmd", self.cmd)?,
            env: self.env,
            user: self.user,
            workdir: self.workdir,
            stop_signal: self.stop_signal,
            exposed_ports: self.expose.into_iter().collect::<BTreeSet<_>>(),
            labels: labels(self.label)?,
        };
        Ok((self.file, options))
    }
}

fn labels(labels: Vec<String>) -> anyhow::Result<BTreeMap<String, String>> {
    let pairs = labels.into_iter().map(|label| match label.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err(anyhow::anyhow!("--label {label:?} is not of the form NAME=VALUE")),
    });
    pairs.collect()
}

fn input(file: &Path) -> ArchiveInput {
    if file == Path::new("-") { ArchiveInput::Reader(Box::new(std::io::stdin())) } else { ArchiveInput::Path(file.to_owned()) }
}

fn title(image: &StoredImage) -> String {
    let id: String = image.id.hex().chars().take(12).collect();
    match image.repo_tags.first().or(image.repo_digests.first()) {
        Some(name) => format!("{name} ({id}, {})", bytes(image.size)),
        None => format!("{id} ({})", bytes(image.size)),
    }
}

/// `12.3 MB`, in steps of a thousand as registries count.
fn bytes(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout().lock(), "{text}").context("cannot write to standard output")
}
