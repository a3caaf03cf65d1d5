//! Says what came of a question.

use jiff::Timestamp;

/// How long [`Sample::seen`] is at most, in bytes.
const LONGEST: usize = 240;

/// How long a secret is that is cut out wherever it stands, in bytes.
const SHORTEST: usize = 4;

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// When it was asked.
    pub at: Timestamp,
    pub outcome: Outcome,
    /// The number that was seen, if there is one: `baseline` is made of these.
    pub value: Option<f64>,
    /// The same for people, such as `200, 231ms`, `0.031` or `timeout after 5s`.
    pub seen: String,
}

/// Whether what was expected was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Pass,
    Fail,
    /// There is no answer, or none that can be judged.
    Error,
}

impl Sample {
    pub(crate) fn new(at: Timestamp, outcome: Outcome, value: Option<f64>, seen: &str) -> Self {
        let value = value.filter(|value| value.is_finite());
        Self { at, outcome, value, seen: seen.to_owned() }
    }

    /// The same as one short line, without these secrets.
    pub(crate) fn shown(mut self, secrets: &[String]) -> Self {
        // Before it is shortened: who sees the beginning of a secret guesses the rest.
        let seen = without(self.seen, secrets);
        // It is shown in lines and columns.
        let mut line: String =
            seen.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
        if line.len() > LONGEST {
            line.truncate(line.floor_char_boundary(LONGEST - '…'.len_utf8()));
            line.push('…');
        }
        self.seen = line;
        self
    }
}

/// A text without secrets. Short ones are parts of many words, and are cut out where they stand alone.
fn without(mut text: String, secrets: &[String]) -> String {
    let mut secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    // One may be a part of another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in secrets.into_iter().filter(|secret| !secret.is_empty()) {
        let mut kept = String::with_capacity(text.len());
        let mut rest = text.as_str();
        let is_in_word = |sign: Option<char>| sign.is_some_and(char::is_alphanumeric);
        while let Some((before, after)) = rest.split_once(secret) {
            kept.push_str(before);
            let is_part = is_in_word(kept.chars().next_back()) || is_in_word(after.chars().next());
            let is_kept = secret.len() < SHORTEST && is_part;
            kept.push_str(if is_kept { secret } else { "…" });
            rest = after;
        }
        kept.push_str(rest);
        text = kept;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_one_short_line() {
        let sample =
            Sample::new(Timestamp::UNIX_EPOCH, Outcome::Error, Some(f64::NAN), &"é\n".repeat(500))
                .shown(&[]);
        assert!(sample.seen.len() <= LONGEST && sample.seen.ends_with('…'), "{}", sample.seen);
        assert!(!sample.seen.contains('\n'));
        assert_eq!(sample.value, None);
    }

    #[test]
    fn secrets_are_cut_out_before_the_text_is_shortened() {
        let shown = |text: &str, secrets: &[&str]| {
            let secrets: Vec<String> = secrets.iter().map(|secret| (*secret).to_owned()).collect();
            Sample::new(Timestamp::UNIX_EPOCH, Outcome::Error, None, text).shown(&secrets).seen
        };
        let secret = "swordfish".repeat(30);
        let text = format!("{} {secret}", "x".repeat(LONGEST - 20));
        assert!(!shown(&text, &[&secret]).contains("sword"));
        assert_eq!(shown("a\tb", &["a\tb"]), "…");
        assert_eq!(shown("the key is 'ab': about", &["ab"]), "the key is '…': about");
        assert_eq!(shown("abcdef abcd", &["abcd", "abcdef", ""]), "… …");
    }
}
