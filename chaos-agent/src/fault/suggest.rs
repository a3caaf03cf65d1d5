//! "Did you mean …?"

/// The candidate that `word` most likely stands for; `None` when nothing is near.
///
/// Near means: at most one slip (letter wrong, missing, added or swapped) for every three
/// letters, and at least one allowed.
pub(super) fn closest<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    let word = word.to_ascii_lowercase();
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_ascii_lowercase();
            (
                strsim::damerau_levenshtein(&word, &lower),
                strsim::jaro_winkler(&word, &lower),
                candidate,
            )
        })
        .filter(|&(slips, likeness, _)| slips <= allowed && likeness > 0.5)
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, candidate)| candidate)
}

/// [`closest`] as the help line of an error.
pub(super) fn did_you_mean<'c>(
    word: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<String> {
    closest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_noise_finds_none() {
        let words = ["open", "openat", "openat2", "read"];
        assert_eq!(closest("opneat", words), Some("openat"));
        assert_eq!(closest("OPEN", words), Some("open"));
        assert_eq!(closest("raed", words), Some("read"));
        assert_eq!(closest("zzzzzz", words), None);
        assert_eq!(closest("", words), None);
    }
}
