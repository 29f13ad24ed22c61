//! `usher kubeconfig`: the file with which kubectl finds the `usher serve` of this machine and shows who it is.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};

use crate::cli::Global;
use crate::commands::serve::SERVER_FOLDER;

/// What `usher kubeconfig` takes.
#[derive(Debug, Args)]
pub(crate) struct Kubeconfig {
    /// Whose: of someone who may do everything, or who only looks and sees no secrets and no logs
    #[arg(long, value_name = "ROLE", default_value = "admin")]
    role: Role,
    /// Another address of the same server, for other machines: one of those that `usher serve --listen` and `--name` were given
    #[arg(long, value_name = "https://HOST:PORT")]
    server: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    /// May do everything
    Admin,
    /// May look
    View,
}

pub(crate) fn kubeconfig(global: &Global, kubeconfig: &Kubeconfig) -> anyhow::Result<ExitCode> {
    let file = match kubeconfig.role {
        Role::Admin => server::KUBECONFIG_FILE,
        Role::View => server::READ_ONLY_KUBECONFIG_FILE,
    };
    let path = global.root().join(SERVER_FOLDER).join(file);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}; `usher serve` writes it at its first start with this --root", path.display()))?;
    let mut out = std::io::stdout().lock();
    for line in text.lines() {
        match (line.trim_start().starts_with("server:"), &kubeconfig.server) {
            (true, Some(server)) => writeln!(out, "{}server: {server}", &line[..line.len() - line.trim_start().len()])?,
            (true, None) | (false, _) => writeln!(out, "{line}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}
