//! The configuration file, from the disk to settings or to everything that is wrong with it at once.
//!
//! What the fields are, and what their values may be, is known to [`api::configuration`]; what thresholds of eviction mean, to `node`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use api::configuration::{KubeletConfiguration, Loaded};
use api::{Colour, FieldPath, Source};
use node::error_chain;
use node::eviction::threshold::{EvictionTexts, HARD_DEFAULT};
use node::eviction::{EvictionConfig, EvictionConfigError};

use crate::duration;

/// Reads a file. The inner error is everything that is wrong with it, rendered.
pub(crate) fn read(path: &Path, color: bool) -> anyhow::Result<Result<KubeletConfiguration, String>> {
    // One byte more than is allowed is enough to see that it is too much.
    let limit = api::source::MANIFEST_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    file.take(limit).read_to_end(&mut bytes).with_context(|| format!("cannot read the configuration {}", path.display()))?;
    let source = match Source::new(path.display().to_string(), &bytes) {
        Ok(source) => source,
        Err(error) => return Ok(Err(format!("error: {error}\n"))),
    };
    let mut loaded = api::configuration::load(&source);
    refuse_thresholds(&mut loaded);
    if loaded.has_errors() {
        let colour = if color { Colour::Ansi } else { Colour::Plain };
        return Ok(Err(api::render(&source, &loaded.diagnostics, colour)));
    }
    Ok(Ok(loaded.configuration))
}

/// A number of bytes, as `containerLogMaxSize` has it.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    api::Quantity::parse(text).ok().and_then(|amount| u64::try_from(amount.value()).ok())
}

/// Thresholds of eviction in the syntax of the flags.
#[derive(Clone, Debug, Default)]
pub(crate) struct Thresholds {
    /// `None` for the reference's defaults.
    pub(crate) hard: Option<String>,
    pub(crate) soft: String,
    pub(crate) soft_grace_period: String,
    pub(crate) minimum_reclaim: String,
}

impl Thresholds {
    /// What the file says.
    pub(crate) fn of(file: &KubeletConfiguration) -> Self {
        let text = |map: &Option<BTreeMap<String, String>>, between| pairs(map.iter().flatten(), between);
        let hard = file.eviction_hard.as_ref().map(|hard| {
            let mut all = BTreeMap::new();
            if file.merge_default_eviction_settings == Some(true) {
                all.extend(HARD_DEFAULT.split(',').filter_map(|pair| pair.split_once('<')).map(owned));
            }
            all.extend(hard.clone());
            pairs(&all, '<')
        });
        Self {
            hard,
            soft: text(&file.eviction_soft, '<'),
            soft_grace_period: text(&file.eviction_soft_grace_period, '='),
            minimum_reclaim: text(&file.eviction_minimum_reclaim, '='),
        }
    }

    /// What they mean.
    pub(crate) fn parse(&self) -> Result<EvictionConfig, EvictionConfigError> {
        let texts = EvictionTexts {
            hard: self.hard.as_deref(),
            soft: &self.soft,
            soft_grace_period: &self.soft_grace_period,
            minimum_reclaim: &self.minimum_reclaim,
        };
        EvictionConfig::parse(&texts, |text| duration::parse(text).ok())
    }
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

fn pairs<'a>(map: impl IntoIterator<Item = (&'a String, &'a String)>, between: char) -> String {
    map.into_iter().map(|(key, value)| format!("{key}{between}{value}")).collect::<Vec<_>>().join(",")
}

/// Tells of each threshold that cannot be understood, at its place: each is tried alone.
fn refuse_thresholds(loaded: &mut Loaded) {
    let file = loaded.configuration.clone();
    let graces = file.eviction_soft_grace_period.clone().unwrap_or_default();
    let alone = |hard: String, soft: String, soft_grace_period: String, minimum_reclaim: String| {
        Thresholds { hard: Some(hard), soft, soft_grace_period, minimum_reclaim }.parse().map(drop).map_err(|error| error_chain(&error))
    };
    let nothing = String::new;
    let mut judge = |field: &'static str, map: Option<BTreeMap<String, String>>, judged: &dyn Fn(&str, &str) -> Result<(), String>| {
        for (signal, value) in map.into_iter().flatten() {
            // These stand between thresholds on the command line.
            let is_one = !format!("{signal}{value}").contains([',', '<', '=']);
            let judged = if is_one { judged(&signal, &value) } else { Err(format!("{value:?} is not one value")) };
            if let Err(message) = judged {
                loaded.refuse(FieldPath::new(field).key(signal), format!("Invalid value: {message}"));
            }
        }
    };
    judge("evictionHard", file.eviction_hard, &|signal, value| alone(format!("{signal}<{value}"), nothing(), nothing(), nothing()));
    judge("evictionSoft", file.eviction_soft, &|signal, value| {
        let grace = graces.get(signal).map_or_else(nothing, |_| format!("{signal}=1s"));
        alone(nothing(), format!("{signal}<{value}"), grace, nothing())
    });
    judge("evictionSoftGracePeriod", file.eviction_soft_grace_period, &|signal, value| {
        alone(nothing(), format!("{signal}<1"), format!("{signal}={value}"), nothing())
    });
    judge("evictionMinimumReclaim", file.eviction_minimum_reclaim, &|signal, value| {
        alone(format!("{signal}<1"), nothing(), nothing(), format!("{signal}={value}"))
    });
}

#[cfg(test)]
mod tests {
    use node::eviction::Signal;
    use node::eviction::threshold::Level;

    use super::*;

    const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

    fn read_text(text: &str) -> Result<KubeletConfiguration, String> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("node.yaml");
        std::fs::write(&path, format!("{HEAD}{text}")).expect("a file is written");
        read(&path, false).expect("the file is read")
    }

    #[test]
    fn thresholds_of_the_file_replace_the_defaults_unless_they_are_to_be_merged() {
        let hard = "evictionHard: {memory.available: 7Mi, nodefs.available: 0%}\n";
        let alone = Thresholds::of(&read_text(hard).expect("a good file")).parse().expect("thresholds");
        assert_eq!(alone.thresholds.len(), 1, "{alone:?}");
        let merged = Thresholds::of(&read_text(&format!("{hard}mergeDefaultEvictionSettings: true\n")).expect("a good file"));
        let merged = merged.parse().expect("thresholds");
        assert!(matches!(merged.hard(Signal::MemoryAvailable), Some(Level::Amount { units, .. }) if *units == 7 << 20));
        assert_eq!(merged.hard(Signal::NodeFsAvailable), None, "0% is no threshold");
        assert_eq!(merged.hard(Signal::ImageFsAvailable), Some(&Level::Part(0.15)));
        assert!(Thresholds::of(&KubeletConfiguration::default()).hard.is_none(), "without a word the defaults hold");
    }

    #[test]
    fn each_wrong_threshold_is_told_at_its_place() {
        let text = "evictionHard: {memory.free: 7Mi, nodefs.available: \"5%,pid.available<3\"}
evictionSoft: {memory.available: 10x, nodefs.available: 10%}
evictionSoftGracePeriod: {memory.available: soon}
evictionMinimumReclaim: {imagefs.available: -1}
";
        let refused = read_text(text).expect_err("a bad file");
        // The type of a value comes first; then what it means.
        assert!(refused.contains("evictionMinimumReclaim[imagefs.available]: expected a string, found the number -1"), "{refused}");
        assert!(refused.contains("node.yaml:6:45"), "{refused}");
        let refused = read_text(&text.replace("-1", "\"-1\"")).expect_err("a bad file");
        for wanted in [
            "evictionHard[memory.free]: Invalid value: \"memory.free\" is no eviction signal",
            "evictionHard[nodefs.available]: Invalid value: \"5%,pid.available<3\" is not one value",
            "evictionSoft[memory.available]: Invalid value: the value of memory.available is wrong: \"10x\" is not a quantity",
            "evictionSoft[nodefs.available]: Invalid value: the soft threshold of nodefs.available has no grace period",
            "evictionSoftGracePeriod[memory.available]: Invalid value: the grace period \"soon\" of memory.available is no duration",
            "evictionMinimumReclaim[imagefs.available]: Invalid value: the value \"-1\" of imagefs.available is not above zero",
            "node.yaml:3:29",
        ] {
            assert!(refused.contains(wanted), "{wanted:?} is not in\n{refused}");
        }
    }
}
