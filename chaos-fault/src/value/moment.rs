//! Reads and prints moments of the wall clock: `2026-11-28T10:14:00Z`, as RFC 3339 has them, in UTC.

use jiff::Timestamp;

use crate::mistake::Mistake;

const EXAMPLE: &str = "a date and a time in UTC, such as `2026-11-28T10:14:00Z`";

/// A moment from 1970 on. Only UTC: what a sentence says does not depend on where it is read.
pub(crate) fn parse(word: &str) -> Result<Timestamp, Mistake> {
    let read = word.parse::<Timestamp>().ok().filter(|moment| fits(*moment));
    if let Some(moment) = read.filter(|_| is_in_utc(word)) {
        return Ok(moment);
    }
    let mistake = Mistake::new(format!("`{word}` is not a moment in UTC"));
    if let Some(moment) = read {
        return Err(mistake.help(format!("write `{}`", print(moment))));
    }
    if let Ok(moment) = format!("{word}Z").parse::<Timestamp>() {
        return Err(mistake.help(format!("`Z` says that it is UTC: `{}`", print(moment))));
    }
    if super::duration::looks_like(word) {
        return Err(mistake.help(format!("for how long is `for {word}`; this is {EXAMPLE}")));
    }
    Err(mistake.help(EXAMPLE))
}

/// The canonical spelling.
pub(crate) fn print(moment: Timestamp) -> String {
    moment.to_string()
}

/// Whether it is one that a fault can have.
pub(crate) fn fits(moment: Timestamp) -> bool {
    moment >= Timestamp::UNIX_EPOCH
}

/// Whether the word can only be meant as a moment.
pub(crate) fn looks_like(word: &str) -> bool {
    word.parse::<Timestamp>().is_ok()
}

/// Whether the digits stand as in `2026-11-28T10:14:00Z`, which may have decimals.
fn is_in_utc(word: &str) -> bool {
    const SHAPE: &str = "0000-00-00T00:00:00";
    let Some((whole, rest)) = word.split_at_checked(SHAPE.len()) else { return false };
    let Some(decimals) = rest.strip_suffix(['Z', 'z']) else { return false };
    let is_as = |(shape, found): (char, char)| match shape {
        '0' => found.is_ascii_digit(),
        mark => found.eq_ignore_ascii_case(&mark),
    };
    SHAPE.chars().zip(whole.chars()).all(is_as)
        && (decimals.is_empty() || decimals.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_and_printed_in_utc() {
        for (word, printed) in [
            ("2026-11-28T10:14:00Z", "2026-11-28T10:14:00Z"),
            ("2026-11-28t10:14:00.250z", "2026-11-28T10:14:00.25Z"),
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ] {
            assert_eq!(parse(word).map(print).as_deref(), Ok(printed));
        }
    }

    #[test]
    fn what_is_no_moment_in_utc_is_told_with_what_would_be_one() {
        for (word, help) in [
            ("2026-11-28T12:14:00+02:00", "`2026-11-28T10:14:00Z`"),
            ("2026-11-28T10:14:00+00:00", "`2026-11-28T10:14:00Z`"),
            ("2026-11-28T10:14Z", "`2026-11-28T10:14:00Z`"),
            ("20261128T101400Z", "`2026-11-28T10:14:00Z`"),
            ("2026-11-28T10:14:00", "`Z` says that it is UTC: `2026-11-28T10:14:00Z`"),
            ("2026-11-28", EXAMPLE),
            ("10:14", EXAMPLE),
            ("1969-12-31T23:59:59Z", EXAMPLE),
            ("2026-02-30T10:14:00Z", EXAMPLE),
            ("2026-11-28T10:14:00Z[UTC]", "`2026-11-28T10:14:00Z`"),
            ("5m", "`for 5m`"),
            ("tomorrow", EXAMPLE),
            ("", EXAMPLE),
        ] {
            let remedy = parse(word).expect_err(word).remedy().unwrap_or_default();
            assert!(remedy.contains(help), "{word}: {remedy}");
        }
    }
}
