//! Rates, in the units of `tc`: `1mbit`, `100kbit`; powers of ten, per second.

use winnow::Parser;

use super::number::quantity;
use crate::mistake::Mistake;

const UNITS: [(&str, u64); 5] = [
    ("tbit", 1_000_000_000_000),
    ("gbit", 1_000_000_000),
    ("mbit", 1_000_000),
    ("kbit", 1_000),
    ("bit", 1),
];

/// Bits per second, at least 8 (one byte).
pub(crate) fn parse(word: &str) -> Result<u64, Mistake> {
    let example = "write bits per second: `1mbit`, `100kbit`, `1gbit`";
    let parts = quantity
        .parse(word)
        .map_err(|_| Mistake::new(format!("`{word}` is not a rate")).help(example))?;
    let unit = parts.unit.to_ascii_lowercase();
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        return Err(Mistake::new(if unit.is_empty() {
            format!("`{word}` has no unit")
        } else {
            format!("`{}` is not a unit of rate", parts.unit)
        })
        .help(example));
    };
    let bits = parts.scaled(u128::from(*scale)).and_then(|bits| u64::try_from(bits).ok());
    match bits {
        None => Err(Mistake::new(format!("`{word}` is too high or finer than a bit"))),
        Some(0..8) => Err(Mistake::new(format!("`{word}` lets nothing through"))
            .help("at least `8bit`; to let nothing through, write `drop`")),
        Some(bits) => Ok(bits),
    }
}

/// The canonical spelling: the largest unit that leaves no fraction.
pub(crate) fn print(bits_per_second: u64) -> String {
    let (unit, scale) = UNITS
        .into_iter()
        .find(|(_, scale)| bits_per_second.is_multiple_of(*scale))
        .unwrap_or(("bit", 1));
    format!("{}{unit}", bits_per_second / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rates_as_tc_writes_them() {
        assert_eq!(parse("1mbit"), Ok(1_000_000));
        assert_eq!(parse("1.5Mbit"), Ok(1_500_000));
        assert_eq!(parse("100kbit"), Ok(100_000));
        assert_eq!(print(1_500_000), "1500kbit");
    }

    #[test]
    fn wrong_rates_say_why() {
        for (word, message) in [
            ("1", "no unit"),
            ("1mbps", "unit of rate"),
            ("0bit", "nothing through"),
            ("7bit", "nothing through"),
            ("0.1bit", "finer"),
            ("99999999tbit", "too high"),
            ("fast", "not a rate"),
        ] {
            let mistake = parse(word).unwrap_err();
            assert!(mistake.message.contains(message), "{word}: {}", mistake.message);
        }
    }

    proptest! {
        #[test]
        fn printing_is_the_inverse_of_parsing(bits in 8..=u64::MAX) {
            prop_assert_eq!(parse(&print(bits)), Ok(bits));
        }
    }
}
