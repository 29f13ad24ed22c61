//! What a compiler does not check: every file says what it is, no file grows past its room, every cited row has a test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Lines of a source file, tests apart, beyond which there is a second concept in it.
const FILE_LINES_MAX: usize = 1000;

/// Tags that cite the behaviour specification.
const TAG: &str = "k8s: ";

pub(crate) fn check(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root.join(folder), &mut files)?;
    }
    let mut complaints = Vec::new();
    let mut cited = BTreeMap::new();
    let mut tested = BTreeSet::new();
    for path in &files {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let shown = path.strip_prefix(root).unwrap_or(path).display().to_string();
        let is_test = shown.contains("/tests") || shown.contains("_test");
        let row_use = row_use(&shown, is_test);
        if !text.trim_start_matches("#![no_std]\n").starts_with("//!") && !is_test {
            complaints.push(format!("{shown} does not open with what it is (`//!`)"));
        }
        if !is_test && text.lines().count() > FILE_LINES_MAX {
            complaints.push(format!("{shown} has {} lines: look for the second room in it", text.lines().count()));
        }
        let (code, tests) = text.split_once("#[cfg(test)]").unwrap_or((&text, ""));
        match row_use {
            RowUse::Kept => {
                for row in rows(code) {
                    cited.entry(row).or_insert_with(|| shown.clone());
                }
            }
            RowUse::Checked => tested.extend(rows(code)),
            RowUse::Imitated => {}
        }
        tested.extend(rows(tests));
    }
    let untested = cited.iter().filter(|(row, _)| !tested.contains(*row));
    complaints.extend(untested.map(|(row, file)| format!("{file} cites row {row}, which no test cites: test it, or correct the citation")));
    println!("rows cited in code: {}, by tests: {}", cited.len(), tested.len());
    ensure!(complaints.is_empty(), "{}", complaints.join("\n"));
    Ok(())
}

/// What it means that a file cites a row.
enum RowUse {
    /// The code does what the row says.
    Kept,
    /// It is checked that the code does so.
    Checked,
    /// Only a stand-in for the world does so.
    Imitated,
}

fn row_use(file: &str, is_test: bool) -> RowUse {
    match () {
        () if is_test || file.starts_with("crates/sim/src/promises/") => RowUse::Checked,
        () if file.starts_with("crates/sim/") => RowUse::Imitated,
        () => RowUse::Kept,
    }
}

/// The row ids of all tags of a text: `// k8s: 3.b.4, 3.b.5 and 6.c.3 to 6.c.6`.
fn rows(text: &str) -> Vec<String> {
    let mut rows = Vec::new();
    for tagged in text.lines().filter_map(|line| line.split_once(TAG)).map(|(_, tagged)| tagged) {
        let mut last: Option<Row<'_>> = None;
        let mut is_range = false;
        for word in tagged.split(|character: char| !(character.is_ascii_alphanumeric() || character == '.')) {
            let word = word.trim_matches('.');
            match Row::read(word) {
                Some(row) => {
                    let first = match &last {
                        Some(last) if is_range && last.section == row.section => last.number + 1,
                        Some(_) | None => row.number,
                    };
                    rows.extend((first..=row.number).map(|number| format!("{}.{number}", row.section)));
                    (last, is_range) = (Some(row), false);
                }
                None if word.is_empty() => {}
                None => is_range = word == "to",
            }
        }
    }
    rows
}

/// `3.b.4`: the fourth row of section 3.b.
struct Row<'a> {
    section: &'a str,
    number: u32,
}

impl<'a> Row<'a> {
    fn read(word: &'a str) -> Option<Self> {
        let (section, number) = word.rsplit_once('.')?;
        let (chapter, part) = section.split_once('.')?;
        chapter.parse::<u32>().ok()?;
        (!part.contains('.')).then_some(())?;
        Some(Self { section, number: number.parse().ok()? })
    }
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_one_by_one_and_as_ranges() {
        assert_eq!(
            rows("// k8s: 3.b.4, 3.b.5 and 6.c.3 to 6.c.5: because.\n/// (k8s: 12.a.2)."),
            ["3.b.4", "3.b.5", "6.c.3", "6.c.4", "6.c.5", "12.a.2"]
        );
        assert_eq!(rows("no tag 3.b.4\n// k8s: version 1.36, 3.b, 1.2.3.4"), Vec::<String>::new());
    }
}
