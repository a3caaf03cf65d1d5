//! "Did you mean …?"

/// Words of more characters than this are near none that we know: every slip costs one of three
/// letters, and no word of ours has more than two thirds as many.
const LONGEST: usize = 64;

/// A word that was not understood, and those that it may have stood for. Comparing them takes time, so
/// it is done when the answer is shown.
#[derive(Debug, Clone)]
pub(super) struct Suggestion {
    word: String,
    known: fn() -> Vec<&'static str>,
}

impl Suggestion {
    /// `None` when the word is too long to be near any.
    pub fn new(word: &str, known: fn() -> Vec<&'static str>) -> Option<Self> {
        is_short(word).then(|| Self { word: word.to_owned(), known })
    }

    pub fn did_you_mean(&self) -> Option<String> {
        did_you_mean(&self.word, (self.known)())
    }
}

impl PartialEq for Suggestion {
    fn eq(&self, other: &Self) -> bool {
        self.word == other.word && std::ptr::fn_addr_eq(self.known, other.known)
    }
}

impl Eq for Suggestion {}

fn is_short(word: &str) -> bool {
    word.chars().nth(LONGEST).is_none()
}

/// The candidate that `word` most likely stands for; `None` when nothing is near.
///
/// Near means: at most one slip (letter wrong, missing, added or swapped) for every three
/// letters, and at least one allowed.
pub fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if !is_short(word) {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let letters = word.chars().count();
    let allowed = (letters / 3).max(1);
    candidates
        .into_iter()
        // Each letter too many or too few is a slip.
        .filter(|candidate| candidate.chars().count().abs_diff(letters) <= allowed)
        .map(|candidate| {
            #[cfg(test)]
            COMPARED.with(|compared| compared.set(compared.get() + 1));
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
thread_local! {
    /// How many pairs of words were compared on this thread.
    pub(super) static COMPARED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Call;

    #[test]
    fn a_slip_finds_its_word_and_noise_finds_none() {
        let words = ["open", "openat", "openat2", "read"];
        assert_eq!(closest("opneat", words), Some("openat"));
        assert_eq!(closest("OPEN", words), Some("open"));
        assert_eq!(closest("raed", words), Some("read"));
        assert_eq!(closest("zzzzzz", words), None);
        assert_eq!(closest("", words), None);
    }

    #[test]
    fn no_word_is_so_long_that_a_long_one_could_be_near() {
        assert!(Call::names().all(|name| LONGEST - LONGEST / 3 > name.len()));
        let word = "openat".repeat(1_000);
        assert_eq!(Suggestion::new(&word, || Call::names().collect()), None);
        assert_eq!(closest(&word, Call::names()), None);
    }
}
