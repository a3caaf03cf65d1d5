//! Says what came of a question.

use jiff::Timestamp;

/// How long [`Sample::seen`] is at most, in bytes.
const LONGEST: usize = 240;

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
        // It is shown in lines and columns.
        let mut line: String =
            seen.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
        if line.len() > LONGEST {
            line.truncate(line.floor_char_boundary(LONGEST - '…'.len_utf8()));
            line.push('…');
        }
        Self { at, outcome, value: value.filter(|value| value.is_finite()), seen: line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_one_short_line() {
        let sample =
            Sample::new(Timestamp::UNIX_EPOCH, Outcome::Error, Some(f64::NAN), &"é\n".repeat(500));
        assert!(sample.seen.len() <= LONGEST && sample.seen.ends_with('…'), "{}", sample.seen);
        assert!(!sample.seen.contains('\n'));
        assert_eq!(sample.value, None);
    }
}
