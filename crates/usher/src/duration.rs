//! Durations as Kubernetes users write them: `30s`, `1m30s`, `250ms`, `1.5h`, or a bare number of seconds.

use std::time::Duration;

/// Reads a duration; the error names what is wrong and how it should look.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration; write for example 30s, 1m30s or 250ms");
    if let Ok(secs) = text.parse::<u64>() {
        return Ok(Duration::from_secs(secs));
    }
    api::duration::parse(text).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_kubernetes_writes_them() {
        for (text, millis) in [("30s", 30_000), ("1m30s", 90_000), ("250ms", 250), ("1.5h", 5_400_000), ("7", 7_000), ("0s", 0)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn a_wrong_duration_is_refused_with_an_example() {
        for text in ["", "s", "5x", "-1s", "1m-30s", "five"] {
            let error = parse(text).expect_err(text);
            assert!(error.contains("write for example 30s"), "{error}");
        }
    }
}
