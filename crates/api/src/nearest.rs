//! The name that was probably meant.

/// How alike two names must be, from 0 to 1, to offer one for the other. Below this, suggestions are mostly noise.
const SIMILARITY_MIN: f64 = 0.6;

/// The longest name that others are looked for; longer ones are no slips of the hand.
const NAME_BYTES_MAX: usize = 60;

/// The most like `name` of `candidates`, where one is alike enough. Case does not count.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    scored(name, candidates).map(|(_, candidate)| candidate)
}

/// The same with its likeness, from 0 to 1.
pub(crate) fn scored<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<(f64, &'a str)> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let lower = name.to_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in candidates {
        let score = likeness(&lower, &candidate.to_lowercase());
        if score >= SIMILARITY_MIN && best.is_none_or(|(known, _)| score > known) {
            best = Some((score, candidate));
        }
    }
    best
}

fn likeness(a: &str, b: &str) -> f64 {
    if a == b {
        return 1.0;
    }
    let edits = strsim::normalized_damerau_levenshtein(a, b);
    // A name cut short or with something added, such as `terminationGracePeriod`.
    const SHORT: usize = 4;
    let begins = a.len() >= SHORT && b.len() >= SHORT && (a.starts_with(b) || b.starts_with(a));
    let parts = if begins { 0.6 + 0.35 * a.len().min(b.len()) as f64 / a.len().max(b.len()) as f64 } else { 0.0 };
    edits.max(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_likeliest_name_is_found_or_none() {
        let fields = ["image", "imagePullPolicy", "terminationGracePeriodSeconds", "volumeMounts", "periodSeconds"];
        let near = |name| nearest(name, fields);
        assert_eq!(near("imag"), Some("image"));
        assert_eq!(near("Image"), Some("image"));
        assert_eq!(near("terminationGracePeriod"), Some("terminationGracePeriodSeconds"));
        assert_eq!(near("volumeMount"), Some("volumeMounts"));
        assert_eq!(near("periodSecond"), Some("periodSeconds"));
        assert_eq!(near("hooks"), None);
    }
}
