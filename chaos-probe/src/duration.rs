//! Reads and shows how long something may take, or has taken.

use std::time::Duration;

use chaos_api::kinds::Probe;

use crate::{question::Question, trouble::Trouble};

/// How long an answer is waited for where nothing is said.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The definition of the kind has the same bound.
pub const LONGEST: Duration = Duration::from_secs(30);

/// Reads a timeout.
pub fn timeout(text: Option<&str>) -> Result<Duration, Trouble> {
    let Some(text) = text else { return Ok(TIMEOUT) };
    let read = chaos_fault::parse_duration(text)
        .map_err(|mistake| Trouble::Question(format!("timeout: {}", mistake.message)))?;
    if read > LONGEST {
        return Err(Trouble::Question(format!("timeout: {text} is more than {LONGEST:?}")));
    }
    Ok(read)
}

/// How long an answer to a probe takes at most: what it says, or what holds where it says nothing that can be read.
pub fn longest(probe: &Probe) -> Duration {
    let said = Question::of(probe).and_then(Question::timeout);
    timeout(said).unwrap_or(TIMEOUT)
}

/// For people, with as many digits as they look at.
pub fn shown(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    match milliseconds {
        0..10 => format!("{:.1}ms", duration.as_secs_f64() * 1000.0),
        10..10_000 => format!("{milliseconds}ms"),
        _ => format!("{:.1}s", duration.as_secs_f64()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (microseconds, expected) in [
            (40, "0.0ms"),
            (3_456, "3.5ms"),
            (231_900, "231ms"),
            (9_999_000, "9999ms"),
            (12_340_000, "12.3s"),
        ] {
            assert_eq!(shown(Duration::from_micros(microseconds)), expected);
        }
    }

    #[test]
    fn timeouts_have_a_bound() {
        assert_eq!(timeout(None).unwrap(), TIMEOUT);
        assert_eq!(timeout(Some("250ms")).unwrap(), Duration::from_millis(250));
        for text in ["31s", "0s", "soon", "-1s", ""] {
            assert!(timeout(Some(text)).is_err(), "{text}");
        }
    }
}
