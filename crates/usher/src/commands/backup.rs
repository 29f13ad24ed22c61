//! `usher backup` and `usher restore`: all objects of the API in one file of text lines, and back.
//!
//! Through the daemon where it runs, which goes on meanwhile; from the file of its store otherwise. A restore needs the daemon gone:
//! it keeps all objects in memory.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use server::store::{Store, check_backup};

use crate::cli::Global;
use crate::commands::daemon::Daemon;
use crate::commands::serve::SERVER_FOLDER;

/// What `usher backup` takes.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// Where to write it; `-` is standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What `usher restore` takes.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// A file that `usher backup` wrote; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put it in the place of what is there, which is kept beside it under another name
    #[arg(long)]
    replace: bool,
}

const STREAM: &str = "-";

pub(crate) async fn backup(global: &Global, backup: &Backup) -> anyhow::Result<ExitCode> {
    let bytes = match Daemon::running(global)? {
        Some(daemon) => {
            let answer = daemon.ask("GET", server::BACKUP_PATH, None)?;
            ensure!(answer.code == 200, "the daemon makes no backup: {}", answer.message());
            answer.body
        }
        None => from_file(&store_path(global)).await?,
    };
    let summary = check_backup(&bytes[..]).context("the backup is not whole; try again")?;
    if backup.file.as_os_str() == STREAM {
        std::io::stdout().lock().write_all(&bytes).context("cannot write the backup")?;
    } else {
        write(&backup.file, &bytes).with_context(|| format!("cannot write {}", backup.file.display()))?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{} objects at revision {} are in {}", summary.objects, summary.revision, backup.file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn from_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    ensure!(path.exists(), "there is no store in {}; was `usher serve` ever run with this --root?", path.display());
    let store = Store::open(path)?;
    let mut bytes = Vec::new();
    let written = store.backup(&mut bytes);
    store.close().await;
    written?;
    Ok(bytes)
}

/// A reader sees the backup before, or this one, or none; never a part. It holds secrets: nobody else may read it.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let fresh = beside(path, "part");
    let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&fresh, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    written
}

pub(crate) async fn restore(global: &Global, restore: &Restore) -> anyhow::Result<ExitCode> {
    ensure!(Daemon::running(global)?.is_none(), "`usher serve` is running: stop it before a restore, its pods live on meanwhile");
    let path = store_path(global);
    let folder = path.parent().context("the store has a folder")?;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    if path.exists() {
        // Whoever has it open would go on with what it remembers. This also refuses what a newer version wrote.
        let store = Store::open(&path)?;
        store.close().await;
        if !restore.replace {
            bail!("there is a store in {} already; --replace puts the backup in its place and keeps it beside", path.display());
        }
    }
    let from: Box<dyn Read> = if restore.file.as_os_str() == STREAM {
        Box::new(std::io::stdin().lock())
    } else {
        Box::new(File::open(&restore.file).with_context(|| format!("cannot read {}", restore.file.display()))?)
    };
    let fresh = beside(&path, "restored");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", fresh.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let revision = Store::restore(BufReader::new(from), &fresh).with_context(|| format!("cannot restore {}", restore.file.display()))?;
    let mut out = std::io::stdout().lock();
    if path.exists() {
        let before = beside(&path, "before-restore");
        std::fs::rename(&path, &before).with_context(|| format!("cannot rename {}", path.display()))?;
        writeln!(out, "the store before is kept as {}", before.display())?;
    }
    std::fs::rename(&fresh, &path).with_context(|| format!("cannot put the restored store into {}", path.display()))?;
    writeln!(out, "restored at revision {revision}; the next `usher serve` goes on from there")?;
    Ok(ExitCode::SUCCESS)
}

fn store_path(global: &Global) -> PathBuf {
    global.root().join(SERVER_FOLDER).join(server::STORE_FILE)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
