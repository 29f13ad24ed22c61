//! `usher check`: can this machine run pods, and what to do if not. `usher run` fails at once with the same words.

use std::io::Write as _;
use std::process::ExitCode;

use runtime::{EmbeddedConfig, Finding, Severity, check as check_machine};

use crate::cli::Global;
use crate::story::paint::{Look, Paint};

pub(crate) async fn check(global: &Global) -> anyhow::Result<ExitCode> {
    let findings = find(global).await?;
    let paint = Paint::new(global.use_color());
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        let (look, word) = match finding.severity {
            Severity::Fine => (Look::Good, "ok     "),
            Severity::Note => (Look::Plain, "note   "),
            Severity::Limits => (Look::Warn, "limited"),
            Severity::Blocks => (Look::Bad, "MISSING"),
        };
        writeln!(out, "{} {finding}", paint.put(look, word))?;
    }
    let usable = findings.iter().all(Finding::is_passed);
    writeln!(out, "{}", if usable { "this machine can run pods" } else { "this machine cannot run pods yet" })?;
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::from(super::EXIT_ERROR) })
}

/// Fails with everything that keeps pods from running on this machine.
pub(crate) async fn refuse_unusable(global: &Global) -> anyhow::Result<()> {
    let findings = find(global).await?;
    let blocking: Vec<String> = findings.iter().filter(|finding| !finding.is_passed()).map(ToString::to_string).collect();
    anyhow::ensure!(blocking.is_empty(), "this machine cannot run pods: {}", blocking.join("; "));
    Ok(())
}

async fn find(global: &Global) -> anyhow::Result<Vec<Finding>> {
    let config = EmbeddedConfig::new(global.root(), &global.bridge, &global.subnet, global.ipv6_subnet)?;
    Ok(check_machine(&config).await)
}
