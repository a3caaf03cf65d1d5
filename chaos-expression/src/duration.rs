//! Reads durations and times as Go does, which the API server is written in.

use chrono::{DateTime, FixedOffset};

use crate::ExpressionError;

/// Reads a duration such as `1m30s`, `-1.5h` or `0`.
pub fn read_duration(text: &str) -> Result<chrono::Duration, ExpressionError> {
    let wrong = || {
        ExpressionError::Value("a text is not a duration, such as `800ms` or `1m30s`".to_owned())
    };
    let (is_negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut nanoseconds: i128 = 0;
    if rest != "0" {
        let mut rest = rest;
        if rest.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let (part, after) = read_part(rest).ok_or_else(wrong)?;
            nanoseconds = nanoseconds.checked_add(part).ok_or_else(wrong)?;
            rest = after;
        }
    }
    let signed = if is_negative { -nanoseconds } else { nanoseconds };
    i64::try_from(signed).map(chrono::Duration::nanoseconds).map_err(|_| wrong())
}

/// Reads a number with its unit, as nanoseconds; also gives what comes after.
fn read_part(text: &str) -> Option<(i128, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() || whole.len() > 20 {
        return None;
    }
    let units = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let (unit, after) =
        units.into_iter().find_map(|(name, unit)| Some((unit, rest.strip_prefix(name)?)))?;
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // Beyond this no digit of a fraction is as much as a nanosecond.
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<i128>().ok()? * unit / 10_i128.pow(digits.len().try_into().ok()?),
    };
    Some((whole.checked_mul(unit)? + part, after))
}

/// Reads a time such as `2026-11-28T10:00:00Z`.
pub fn read_time(text: &str) -> Result<DateTime<FixedOffset>, ExpressionError> {
    // The reader below takes a blank or small letters, too.
    let is_strict = text.as_bytes().get(10) == Some(&b'T') && !text.contains('z');
    let read = DateTime::parse_from_rfc3339(text).ok().filter(|_| is_strict);
    read.ok_or_else(|| {
        ExpressionError::Value("a text is not a time, such as `2026-11-28T10:00:00Z`".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_to_their_end() {
        for (text, milliseconds) in [
            ("800ms", Some(800)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("-2s", Some(-2_000)),
            ("+2s", Some(2_000)),
            (".5s", Some(500)),
            ("0", Some(0)),
            ("1000us", Some(1)),
            ("1000µs", Some(1)),
            ("", None),
            ("-", None),
            ("5", None),
            ("5d", None),
            ("1s and more", None),
            ("1 s", None),
            ("s", None),
            ("300000000h", None),
            ("99999999999999999999999s", None),
        ] {
            let read = read_duration(text).ok();
            assert_eq!(read, milliseconds.map(chrono::Duration::milliseconds), "{text}");
        }
    }

    #[test]
    fn times_are_strict() {
        assert!(read_time("2026-11-28T10:00:00Z").is_ok());
        assert!(read_time("2026-11-28T10:00:00.5+01:00").is_ok());
        for text in ["2026-11-28 10:00:00Z", "2026-11-28T10:00:00z", "2026-11-28", ""] {
            assert!(read_time(text).is_err(), "{text}");
        }
    }
}
