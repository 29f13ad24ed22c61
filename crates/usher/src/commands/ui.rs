//! `usher ui`: a link to the page of `usher serve`, good once.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::cli::Global;
use crate::commands::daemon::Daemon;
use crate::commands::serve::SERVER_FOLDER;

/// What `usher ui` takes.
#[derive(Debug, Args)]
pub(crate) struct Ui {
    /// A link for someone who only looks: no logs, and not what hooks print
    #[arg(long)]
    read_only: bool,
}

/// Asks the daemon for a code and prints the link.
#[expect(clippy::print_stdout, reason = "the link is what the command is for")]
pub(crate) fn ui(global: &Global, ui: &Ui) -> anyhow::Result<ExitCode> {
    let server = global.root().join(SERVER_FOLDER);
    let address = address(&server.join(::server::KUBECONFIG_FILE))?;
    let role = if ui.read_only { "read-only" } else { "admin" };
    let code = code(&Daemon::needed(global)?, role)?;
    println!("{address}/ui/#code={code}");
    println!(
        "good once, within 5 minutes; the certificate is signed by {}",
        server.join(::server::SECRETS_FOLDER).join("ca.crt").display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Where the daemon is reached from a browser.
fn address(kubeconfig: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(kubeconfig)
        .with_context(|| format!("cannot read {}; is `usher serve` set up with this --root?", kubeconfig.display()))?;
    let address = text.lines().find_map(|line| line.trim().strip_prefix("server:")).map(|address| address.trim().trim_matches('"'));
    address.map(ToOwned::to_owned).with_context(|| format!("{} names no server", kubeconfig.display()))
}

fn code(daemon: &Daemon, role: &str) -> anyhow::Result<String> {
    let answer = daemon.ask("POST", "/ui/code", Some(&serde_json::json!({ "role": role })))?;
    let told: serde_json::Value = serde_json::from_slice(&answer.body).context("the daemon's answer cannot be read")?;
    match told["code"].as_str() {
        Some(code) => Ok(code.to_owned()),
        None => bail!("the daemon makes no link: {}", answer.message()),
    }
}
