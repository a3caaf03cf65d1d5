//! Durations: `100ms`, `1h30m`, `1.5s`, and offsets: `+1d`, `-2h`.

use std::time::Duration;

use winnow::{Parser, combinator::repeat};

use super::number::{Quantity, quantity};
use crate::mistake::Mistake;

/// Units with their nanoseconds, largest first; every unit divides the one before it.
const UNITS: [(&str, u128); 7] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Spellings that people also use.
const ALIASES: [(&str, &str); 7] = [
    ("min", "m"),
    ("sec", "s"),
    ("secs", "s"),
    ("hr", "h"),
    ("msec", "ms"),
    ("usec", "us"),
    ("µs", "us"),
];

/// The longest duration there is: a hundred years of 365 days.
pub(crate) const MAX_NS: u128 = 36_500 * 86_400_000_000_000;

/// A duration longer than nothing, exact to the nanosecond.
pub fn parse(word: &str) -> Result<Duration, Mistake> {
    let ns = nanoseconds(word)?;
    if ns == 0 {
        return Err(Mistake::new(format!("`{word}` is no time at all"))
            .help("write a duration longer than zero, such as `100ms`"));
    }
    from_ns(ns).ok_or_else(|| too_long(word))
}

/// A signed distance in nanoseconds, not zero. A bare number is ahead, like `+`.
pub(crate) fn offset(word: &str) -> Result<i128, Mistake> {
    let (sign, distance) = match word.strip_prefix('-') {
        Some(distance) => (-1, distance),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let ns = parse(distance)?.as_nanos();
    i128::try_from(ns).map(|ns| sign * ns).map_err(|_| too_long(word))
}

/// Whether the word can only be meant as a duration.
pub(crate) fn looks_like(word: &str) -> bool {
    nanoseconds(word).is_ok()
}

fn nanoseconds(word: &str) -> Result<u128, Mistake> {
    let mut parts = repeat(1.., quantity);
    let quantities: Vec<Quantity<'_>> = parts.parse(word).map_err(|_| {
        Mistake::new(format!("`{word}` is not a duration"))
            .help("write a number and a unit: `100ms`, `5m`, `1h30m`")
    })?;
    let mut total: u128 = 0;
    let mut largest_left = 0;
    for part in &quantities {
        let index = unit(word, part)?;
        if index < largest_left {
            return Err(Mistake::new(format!("the units of `{word}` are out of order"))
                .help("largest first, each once: `1h30m`"));
        }
        largest_left = index + 1;
        let ns = part.scaled(UNITS[index].1).ok_or_else(|| {
            Mistake::new(format!("`{word}` is too long or finer than a nanosecond"))
        })?;
        total = total.checked_add(ns).ok_or_else(|| too_long(word))?;
    }
    Ok(total)
}

/// Index of the part's unit in [`UNITS`].
fn unit(word: &str, part: &Quantity<'_>) -> Result<usize, Mistake> {
    if part.unit.is_empty() {
        return Err(Mistake::new(format!("`{word}` has no unit"))
            .help(format!("write `{word}ms`, `{word}s` or `{word}m`")));
    }
    let lower = part.unit.to_lowercase();
    let name = ALIASES.iter().find(|(alias, _)| *alias == lower).map_or(lower.as_str(), |a| a.1);
    UNITS.iter().position(|(unit, _)| *unit == name).ok_or_else(|| {
        let mistake = Mistake::new(format!("`{}` is not a unit of time", part.unit))
            .help("units are d, h, m, s, ms, us and ns");
        if lower.len() > 1 {
            mistake.meant(&lower, || UNITS.iter().map(|(unit, _)| *unit).collect())
        } else {
            mistake
        }
    })
}

fn too_long(word: &str) -> Mistake {
    Mistake::new(format!("`{word}` is too long")).help("at most 36500d")
}

fn from_ns(ns: u128) -> Option<Duration> {
    let seconds = u64::try_from(ns / 1_000_000_000).ok()?;
    let rest = u32::try_from(ns % 1_000_000_000).ok()?;
    (ns <= MAX_NS).then(|| Duration::new(seconds, rest))
}

/// The canonical spelling: whole units, largest first.
pub fn print(duration: Duration) -> String {
    let mut left = duration.as_nanos();
    let mut printed = String::new();
    for (unit, ns) in UNITS {
        if left >= ns {
            printed.push_str(&format!("{}{unit}", left / ns));
            left %= ns;
        }
    }
    if printed.is_empty() { "0s".to_owned() } else { printed }
}

/// The canonical spelling, with its sign always.
pub(crate) fn print_offset(ns: i128) -> String {
    let distance = from_ns(ns.unsigned_abs()).unwrap_or(Duration::MAX);
    format!("{}{}", if ns < 0 { '-' } else { '+' }, print(distance))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_as_people_write_them() {
        for (word, ms) in [
            ("100ms", 100),
            ("5m", 300_000),
            ("5min", 300_000),
            ("1h30m", 5_400_000),
            ("1.5s", 1_500),
            ("1D", 86_400_000),
            ("90s", 90_000),
        ] {
            assert_eq!(parse(word), Ok(Duration::from_millis(ms)), "{word}");
        }
        assert_eq!(offset("-2h"), Ok(-7_200_000_000_000));
        assert_eq!(offset("+1d"), offset("1d"));
    }

    #[test]
    fn wrong_durations_say_why() {
        for (word, message) in [
            ("100", "no unit"),
            ("5x", "unit of time"),
            ("1m1h", "out of order"),
            ("1m1m", "out of order"),
            ("0s", "no time"),
            ("0.1ns", "finer"),
            ("36501d", "too long"),
            ("99999999999999999999999999999999999999999d", "too long"),
            ("-5m", "not a duration"),
            ("", "not a duration"),
            ("fast", "not a duration"),
        ] {
            let mistake = parse(word).unwrap_err();
            assert!(mistake.message.contains(message), "{word}: {}", mistake.message);
        }
    }

    proptest! {
        #[test]
        fn printing_is_the_inverse_of_parsing(ns in 1..=MAX_NS) {
            let duration = from_ns(ns).unwrap();
            prop_assert_eq!(parse(&print(duration)), Ok(duration));
            let ns = i128::try_from(ns).unwrap();
            prop_assert_eq!(offset(&print_offset(-ns)), Ok(-ns));
        }
    }
}
