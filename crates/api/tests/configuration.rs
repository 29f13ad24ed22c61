//! `docs/configuration.md` tells of every field of the configuration file what becomes of it, from the table that decides it.
//!
//! `UPDATE=1 cargo nextest run -p usher-api configuration` writes the tables anew.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use api::configuration::TYPE;
use api::configuration::fields::{FATES, Fate, fate};
use api::schema::CONFIGURATION_JSON;
use serde_json::Value;

/// The line after which the page is made by this test.
const MADE: &str = "<!-- What follows is made by crates/api/tests/configuration.rs. -->\n";

fn all_fields() -> Vec<String> {
    let definitions: Value = serde_json::from_str(CONFIGURATION_JSON).expect("the file is JSON");
    definitions[TYPE]["properties"].as_object().expect("an object has fields").keys().cloned().collect()
}

#[test]
fn the_page_of_the_configuration_file_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let stored = fs::read_to_string(&path).expect("the page is readable");
    let (by_hand, _) = stored.split_once(MADE).expect("the page says where its tables begin");
    let fresh = format!("{by_hand}{MADE}{}", tables());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &fresh).expect("the page is writable");
        return;
    }
    assert!(stored == fresh, "docs/configuration.md is out of date: run this test with UPDATE=1");
}

#[test]
fn every_field_that_something_is_said_of_is_a_field() {
    let all = all_fields();
    const FIELDS_MIN: usize = 120;
    assert!(all.len() > FIELDS_MIN, "{} fields", all.len());
    for (name, _) in FATES {
        assert!(all.iter().any(|field| field == name), "{name} is no field of KubeletConfiguration");
        assert_eq!(FATES.iter().filter(|(other, _)| other == name).count(), 1, "{name} is there twice");
    }
    assert_eq!(fate("no such field"), None);
}

fn tables() -> String {
    let mut text = "\n## Fields that are acted on\n\n| Field | What it does |\n|---|---|\n".to_owned();
    for (name, fate) in FATES {
        if let Fate::ActedOn(what) = fate {
            writeln!(text, "| `{name}` | {what} |").expect("writing to a string");
        }
    }
    text.push_str("\n## Fields that may only say what is so anyway\n\n| Field | Value | Why |\n|---|---|---|\n");
    for (name, fate) in FATES {
        if let Fate::Only { value, why } = fate {
            writeln!(text, "| `{name}` | `{value}` | {why} |").expect("writing to a string");
        }
    }
    text.push_str("\n## Fields that are refused\n\n| Field | What there is instead |\n|---|---|\n");
    for name in all_fields() {
        if let Some(Fate::Refused(instead)) = fate(&name) {
            writeln!(text, "| `{name}` | {instead} |").expect("writing to a string");
        }
    }
    text
}
