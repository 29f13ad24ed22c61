//! `usher lint`: finds in manifests what will go wrong, without running them. The rules are those of [`api::lint`]; this
//! reads files, answers for the images in the store and for the journals, and prints.

mod files;
mod images;
mod runs;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use api::lint::{Context, Finding, Level, RULES, Report, Rule, Selection, json, lint as find, sarif};
use api::{Colour, Diagnostic, Source, render};
use clap::{Args, ValueEnum};

use self::files::{Given, Text};
use super::EXIT_ERROR;
use crate::cli::Global;

/// Something of the level asked for was found.
const EXIT_FOUND: u8 = 1;

/// What to do with templates.
const RENDER: &str = "render the chart first, `helm template CHART | usher lint -`";

/// What `usher lint` takes.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Manifests in YAML or JSON, or folders with such; `-` is standard input
    #[arg(required_unless_present_any = ["rules", "explain"], value_name = "FILE")]
    files: Vec<PathBuf>,
    /// How to print
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    output: Format,
    /// Rules that are to look, by id or name; all others do not
    #[arg(long, value_name = "RULES", value_delimiter = ',', value_parser = rule)]
    only: Vec<&'static Rule>,
    /// Rules that are not to look, by id or name
    #[arg(long, value_name = "RULES", value_delimiter = ',', value_parser = rule)]
    ignore: Vec<&'static Rule>,
    /// The lowest level that makes the exit code 1
    #[arg(long, value_name = "LEVEL", default_value = "warning")]
    fail_on: FailOn,
    /// Use what runs of the pod on this machine have shown; of all pods where none is named
    #[arg(long, value_name = "POD", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    journal: Option<String>,
    /// Do not look into the images in the store
    #[arg(long)]
    no_images: bool,
    /// List the rules
    #[arg(long, conflicts_with = "files")]
    rules: bool,
    /// Print the page of a rule
    #[arg(long, value_name = "RULE", conflicts_with = "files", value_parser = rule)]
    explain: Option<&'static Rule>,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, with the source underlined
    Text,
    /// For programs
    Json,
    /// For code hosts and editors: SARIF 2.1.0
    Sarif,
}

/// What makes the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Anything
    Note,
    /// A warning or an error
    Warning,
    /// An error
    Error,
    /// Nothing
    Never,
}

impl FailOn {
    fn level(self) -> Option<Level> {
        match self {
            Self::Note => Some(Level::Note),
            Self::Warning => Some(Level::Warning),
            Self::Error => Some(Level::Error),
            Self::Never => None,
        }
    }
}

/// A rule by its id or name.
fn rule(text: &str) -> Result<&'static Rule, String> {
    Rule::find(text.trim()).ok_or_else(|| "there is no such rule; `usher lint --rules` lists them".to_owned())
}

pub(crate) async fn lint(global: &Global, lint: &Lint) -> anyhow::Result<ExitCode> {
    if lint.rules {
        let rows = RULES.iter().map(|rule| format!("{}  {:<7}  {:<27}  {}\n", rule.id, rule.level, rule.name, rule.title));
        print(&rows.collect::<String>())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(rule) = lint.explain {
        print(rule.page)?;
        return Ok(ExitCode::SUCCESS);
    }
    let texts = files::read(&lint.files)?;
    let images = if lint.no_images { images::StoredImages::default() } else { images::open(global).await };
    let selection = Selection { only: lint.only.clone(), ignored: lint.ignore.clone() };
    let measured = match lint.journal.as_deref() {
        Some(pod) => runs::measured(global, Some(pod).filter(|pod| !pod.is_empty()))?,
        None => Vec::new(),
    };
    let context = Context { images: &images, measured: &measured, selection: &selection };
    let looked = look(texts, &context);
    match lint.output {
        Format::Text => looked.print_text(global)?,
        Format::Json => print(&(serde_json::to_string_pretty(&json(&looked.pairs()))? + "\n"))?,
        Format::Sarif => print(&(serde_json::to_string_pretty(&sarif(&looked.pairs(), env!("CARGO_PKG_VERSION")))? + "\n"))?,
    }
    looked.complain()?;
    Ok(looked.exit_code(lint.fail_on))
}

/// What was found in all texts.
#[derive(Debug, Default)]
struct Looked {
    reports: Vec<(Source, Report)>,
    /// Texts that cannot even be looked at.
    unreadable: Vec<String>,
    /// Files of folders that hold no Kubernetes objects.
    passed_over: usize,
    /// Files of folders that are templates of manifests.
    templates: usize,
}

fn look(texts: Vec<Text>, context: &Context<'_>) -> Looked {
    let mut looked = Looked::default();
    for text in texts {
        let source = match text
            .bytes
            .map_err(|error| error.to_string())
            .and_then(|bytes| Source::new(&text.name, &bytes).map_err(|e| e.to_string()))
        {
            Ok(source) => source,
            Err(error) => {
                looked.unreadable.push(format!("error: {error}\n"));
                continue;
            }
        };
        let mut report = find(&source, context);
        let nothing = report.objects == 0 && report.findings.is_empty();
        if text.given == Given::ByFolder && nothing && (report.is_foreign || report.unreadable.is_empty()) {
            looked.passed_over += 1;
            continue;
        }
        if text.given == Given::ByFolder && report.is_template {
            looked.templates += 1;
            continue;
        }
        if nothing && report.unreadable.is_empty() {
            report.unreadable.push(Diagnostic::error("there is no object in this manifest"));
        }
        if report.is_template {
            for diagnostic in &mut report.unreadable {
                diagnostic.help = vec![format!("this looks like a template of a chart: {RENDER}")];
            }
        }
        looked.reports.push((source, report));
    }
    looked
}

impl Looked {
    fn pairs(&self) -> Vec<(&Source, &Report)> {
        self.reports.iter().map(|(source, report)| (source, report)).collect()
    }

    fn print_text(&self, global: &Global) -> anyhow::Result<()> {
        let colour = if global.use_color() { Colour::Ansi } else { Colour::Plain };
        let mut text = String::new();
        for (source, report) in &self.reports {
            let diagnostics: Vec<_> = report.findings.iter().map(Finding::diagnostic).collect();
            if !diagnostics.is_empty() {
                text.push_str(&render(source, &diagnostics, colour));
                text.push('\n');
            }
        }
        print(&(text + &self.summary() + "\n"))
    }

    /// `2 errors, 1 warning in 1 of 3 files with 4 pods; 1 silenced`
    fn summary(&self) -> String {
        let findings = || self.reports.iter().flat_map(|(_, report)| &report.findings);
        let count = |level: Level| findings().filter(|finding| finding.rule.level == level).count();
        let parts = [(Level::Error, "error"), (Level::Warning, "warning"), (Level::Note, "note")];
        let parts = parts.map(|(level, word)| counted(count(level), word));
        let found: Vec<String> = parts.into_iter().filter(|part| !part.starts_with("0 ")).collect();
        let found = if found.is_empty() { "nothing found".to_owned() } else { found.join(", ") };
        let pods: usize = self.reports.iter().map(|(_, report)| report.pods).sum();
        let mut summary = format!("{found} in {} with {}", counted(self.reports.len(), "file"), counted(pods, "pod"));
        let silenced: usize = self.reports.iter().map(|(_, report)| report.silenced.len()).sum();
        if silenced > 0 {
            summary.push_str(&format!("; {silenced} silenced"));
        }
        if self.passed_over > 0 {
            summary.push_str(&format!("; {} without Kubernetes objects passed over", counted(self.passed_over, "file")));
        }
        summary
    }

    /// Tells of what could not be read.
    fn complain(&self) -> anyhow::Result<()> {
        let mut text = self.unreadable.concat();
        if self.templates > 0 {
            text.push_str(&format!("warning: {} passed over: {RENDER}\n", counted(self.templates, "template")));
        }
        for (source, report) in &self.reports {
            text.push_str(&render(source, &report.unreadable, Colour::Plain));
        }
        std::io::stderr().lock().write_all(text.as_bytes()).context("cannot write to standard error")
    }

    fn exit_code(&self, fail_on: FailOn) -> ExitCode {
        let unreadable = !self.unreadable.is_empty() || self.reports.iter().any(|(_, report)| !report.unreadable.is_empty());
        let worst = self.reports.iter().filter_map(|(_, report)| report.worst()).max();
        if unreadable {
            ExitCode::from(EXIT_ERROR)
        } else if fail_on.level().is_some_and(|level| worst >= Some(level)) {
            ExitCode::from(EXIT_FOUND)
        } else {
            ExitCode::SUCCESS
        }
    }
}

/// `1 file`, `2 files`
fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout().lock().write_all(text.as_bytes()).context("cannot write to standard output")
}
