//! `usher why`: why a pod or a container is as it is, in sentences with their evidence.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::ensure;
use chronicle::why::{moment_text, why as explain};

use crate::cli::{Global, Output, Why};
use crate::commands::journals;
use crate::story::paint::{Look, Paint, harmless};

pub(crate) fn why(global: &Global, why: &Why) -> anyhow::Result<ExitCode> {
    let (life, present) = journals::life(global, &why.pod)?;
    if let Some(container) = &why.container {
        let names: Vec<_> = life.containers.iter().map(|one| one.name.as_str()).collect();
        ensure!(names.contains(&container.as_str()), "pod {} has no container {container:?}; it has {}", life.name, names.join(", "));
    }
    let answers = explain(&life, why.container.as_deref(), present);
    let mut out = std::io::stdout().lock();
    if why.output == Output::Json {
        writeln!(out, "{}", serde_json::to_string_pretty(&answers)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let paint = Paint::new(global.use_color());
    for (position, answer) in answers.iter().enumerate() {
        if position > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", harmless(&answer.text))?;
        for evidence in &answer.evidence {
            let at = paint.put(Look::Dim, moment_text(&life, evidence.at));
            writeln!(out, "  {at}  {}", harmless(&evidence.text))?;
        }
    }
    if answers.is_empty() {
        writeln!(out, "there is nothing to explain: the container was never reached")?;
    }
    Ok(ExitCode::SUCCESS)
}
