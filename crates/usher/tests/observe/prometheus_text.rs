//! A strict reader of Prometheus' text format: what a scraper would have to forgive is an error here.

use std::collections::{BTreeMap, BTreeSet};

/// What was scraped.
#[derive(Debug, Default)]
pub(crate) struct Scrape {
    /// Families in their order, by name: type, help, series.
    pub(crate) families: BTreeMap<String, Family>,
}

/// A metric with all its series.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    /// Values by name and labels, the labels sorted: `name{a="b"}`.
    pub(crate) series: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads the text.
    ///
    /// # Errors
    /// Says which line breaks which rule.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if !text.ends_with('\n') {
            return Err("the last line has no end".to_owned());
        }
        let mut scrape = Self::default();
        let mut current = String::new();
        for line in text.lines() {
            scrape.line(line, &mut current).map_err(|error| format!("{error}: {line}"))?;
        }
        for (name, family) in &scrape.families {
            family.check(name).map_err(|error| format!("{name}: {error}"))?;
        }
        Ok(scrape)
    }

    fn line(&mut self, line: &str, current: &mut String) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("a help without words")?;
            if self.families.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
                return Err("families are not in order, or one comes twice".to_owned());
            }
            name.clone_into(current);
            self.families.insert(name.to_owned(), Family { help: help.to_owned(), ..Family::default() });
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("a type without words")?;
            let family = self.families.get_mut(name).filter(|_| name == current).ok_or("a type that does not follow its help")?;
            if !family.kind.is_empty() || !["counter", "gauge", "histogram"].contains(&kind) {
                return Err("a second type, or none that there is".to_owned());
            }
            kind.clone_into(&mut family.kind);
            return Ok(());
        }
        let (series, value) = line.rsplit_once(' ').ok_or("neither a comment nor a series")?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, read_labels(labels.strip_suffix('}').ok_or("labels without an end")?)?),
            None => (series, BTreeMap::new()),
        };
        let family = self.families.get_mut(current).ok_or("a series before any family")?;
        let is_own = match family.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].iter().any(|suffix| name.strip_suffix(suffix) == Some(current)),
            "" => return Err("a series before the type of its family".to_owned()),
            _ => name == current,
        };
        if !is_own {
            return Err(format!("a series that does not belong to {current}"));
        }
        let value = value.parse::<f64>().map_err(|error| format!("{error}"))?;
        match family.series.insert(format!("{name}{}", shown(&labels)), value) {
            None => Ok(()),
            Some(_) => Err("a series comes twice".to_owned()),
        }
    }

    /// The value of one series: `name{a="b"}`, the labels sorted.
    #[track_caller]
    pub(crate) fn value(&self, series: &str) -> f64 {
        let all = || self.families.values().flat_map(|family| &family.series);
        all()
            .find(|(name, _)| *name == series)
            .map_or_else(|| panic!("{series} is not among {:#?}", all().map(|(name, _)| name).collect::<Vec<_>>()), |(_, value)| *value)
    }

    /// The sum over all series of one name.
    pub(crate) fn total(&self, name: &str) -> f64 {
        let all = self.families.values().flat_map(|family| &family.series);
        all.filter(|(series, _)| series.split('{').next() == Some(name)).map(|(_, value)| *value).sum()
    }
}

/// Counters whose names the kubelet chose against the convention.
const NAMED_BY_THE_KUBELET: [&str; 2] = ["kubelet_evictions", "kubelet_preemptions"];

impl Family {
    fn check(&self, name: &str) -> Result<(), String> {
        if self.kind.is_empty() || self.series.is_empty() || self.help.trim().is_empty() {
            return Err("no type, no series, or no words of help".to_owned());
        }
        if self.kind == "counter" && self.series.values().any(|value| *value < 0.0) {
            return Err("a counter below zero".to_owned());
        }
        if self.kind == "counter" && !name.ends_with("_total") && !NAMED_BY_THE_KUBELET.contains(&name) {
            return Err("a counter whose name does not say so".to_owned());
        }
        if self.kind == "histogram" { self.check_histogram(name) } else { Ok(()) }
    }

    /// Buckets hold what the smaller ones hold, the last all; the sum fits them.
    fn check_histogram(&self, name: &str) -> Result<(), String> {
        let mut rows: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &self.series {
            let Some(labels) = series.strip_prefix(&format!("{name}_bucket{{")) else { continue };
            let mut labels = read_labels(labels.trim_end_matches('}'))?;
            let bound = labels.remove("le").ok_or("a bucket without a bound")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse::<f64>().map_err(|error| error.to_string())? };
            rows.entry(shown(&labels)).or_default().push((bound, *value));
        }
        let counts: BTreeSet<&str> = self.series.keys().filter_map(|series| series.strip_prefix(&format!("{name}_count"))).collect();
        if counts != rows.keys().map(String::as_str).collect() {
            return Err("buckets and counts do not belong together".to_owned());
        }
        for (labels, mut buckets) in rows {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            let of = |what: &str| self.series.get(&format!("{name}_{what}{labels}")).copied().ok_or(format!("no {what}{labels}"));
            let (count, sum) = (of("count")?, of("sum")?);
            if buckets.windows(2).any(|pair| pair[0].1 > pair[1].1) || buckets.last() != Some(&(f64::INFINITY, count)) {
                return Err(format!("buckets that do not grow to the count{labels}: {buckets:?}, {count}"));
            }
            let mut before = (0.0, 0.0);
            let (mut least, mut most) = (0.0, 0.0);
            for (bound, value) in buckets {
                least += before.0 * (value - before.1);
                most += if value > before.1 { bound * (value - before.1) } else { 0.0 };
                before = (bound, value);
            }
            if sum < least || sum > most {
                return Err(format!("the sum {sum}{labels} is not within {least} and {most}"));
            }
        }
        Ok(())
    }
}

fn shown(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
    format!("{{{}}}", labels.join(","))
}

/// None of the words of labels here needs an escape, so none may come.
fn read_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut labels = BTreeMap::new();
    for label in text.split(',') {
        let (name, value) = label.split_once('=').ok_or("a label without a value")?;
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).ok_or("a value without quotes")?;
        let is_word = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-:/".contains(c));
        if !is_word(name) || !is_word(value) || labels.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the label {label} is no word, or comes twice"));
        }
    }
    Ok(labels)
}

#[test]
fn what_breaks_the_format_is_found() {
    let head = "# HELP a_total Words.\n# TYPE a_total counter\n";
    let histogram = "# HELP h Words.\n# TYPE h histogram\n";
    let wrong = [
        (String::new(), "no end"),
        (format!("{head}a_total 1"), "no end"),
        ("a_total 1\n".to_owned(), "before any family"),
        (format!("{head}b_total 1\n"), "does not belong"),
        (format!("{head}a_total 1\na_total 2\n"), "twice"),
        (format!("{head}a_total{{x=\"1\"}} one\n"), "invalid float"),
        (format!("{head}a_total{{x=1}} 1\n"), "without quotes"),
        (head.to_owned(), "no type, no series"),
        (format!("{head}{head}"), "comes twice"),
        ("# HELP a Words.\n# TYPE a counter\na 1\n".to_owned(), "does not say so"),
        (format!("{histogram}h_bucket{{le=\"1\"}} 2\nh_bucket{{le=\"+Inf\"}} 1\nh_sum 1\nh_count 1\n"), "do not grow"),
        (format!("{histogram}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 1\nh_sum 3\nh_count 1\n"), "not within"),
        (format!("{histogram}h_bucket{{le=\"+Inf\"}} 1\nh_sum 3\nh_count 2\n"), "do not grow"),
    ];
    for (text, why) in wrong {
        let error = Scrape::read(&text).expect_err(&text);
        assert!(error.contains(why), "{error}, not {why}");
    }
    let good = format!("{head}a_total{{x=\"1\"}} 1\n{histogram}h_bucket{{le=\"1\"}} 1\nh_bucket{{le=\"+Inf\"}} 2\nh_sum 3\nh_count 2\n");
    assert_eq!(Scrape::read(&good).expect("good").value("a_total{x=\"1\"}"), 1.0);
}
