//! How long and by what dice: the options that hold for every fault of a command line.

use std::time::Duration;

use anyhow::Context;
use chaos_agent::{
    fault::{parse_duration, print_duration},
    plan::Terms,
};

/// No fault of a command line lasts longer.
pub const LONGEST: Duration = Duration::from_secs(60 * 60);

/// Of `--held-memory`, in bytes.
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=16 << 30;

const LEASES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(60)];

/// Options that run, inject and explain share.
#[derive(Debug, clap::Args)]
pub struct SeedArg {
    /// Makes the same decisions again; without it a random one is picked and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl SeedArg {
    /// The terms for a target without containers; `duration` is for faults without `for`.
    pub fn terms(&self, duration: Duration) -> anyhow::Result<Terms> {
        let seed = match self.seed {
            Some(seed) => seed,
            // 32 bits: short to type, and exact in every reader of JSON.
            None => getrandom::u32().context("pick a random seed")?.into(),
        };
        Ok(Terms { default_duration: duration, longest: LONGEST, seed, ..Terms::default() })
    }
}

/// Reads `--for`.
pub fn lasting(word: &str) -> Result<Duration, String> {
    within(word, [Duration::from_nanos(1), LONGEST])
}

/// Reads a duration that has no other bounds than the language's.
pub fn duration(word: &str) -> Result<Duration, String> {
    parse_duration(word).map_err(|mistake| mistake.to_string())
}

/// Reads `--held-memory`: bytes.
pub fn memory(word: &str) -> Result<u64, String> {
    let digits = word.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = word.split_at(digits);
    let shift = match unit {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err("a size, such as 128MiB (units: KiB, MiB, GiB)".to_owned()),
    };
    let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if MEMORY.contains(&bytes) => Ok(bytes),
        _ => Err("from 1MiB to 16GiB".to_owned()),
    }
}

/// Reads `--lease`.
pub fn lease(word: &str) -> Result<Duration, String> {
    within(word, LEASES)
}

fn within(word: &str, [shortest, longest]: [Duration; 2]) -> Result<Duration, String> {
    let duration = duration(word)?;
    if duration < shortest {
        return Err(format!("at least {}", print_duration(shortest)));
    }
    if duration > longest {
        return Err(format!("at most {}", print_duration(longest)));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_bounds() {
        assert_eq!(lasting("1h"), Ok(LONGEST));
        assert_eq!(lasting("61m"), Err("at most 1h".to_owned()));
        assert_eq!(lease("499ms"), Err("at least 500ms".to_owned()));
        assert!(lasting("soon").unwrap_err().contains("not a duration"));
    }

    #[test]
    fn a_seed_that_is_given_is_taken() {
        let terms = SeedArg { seed: Some(7) }.terms(LONGEST).unwrap();
        assert_eq!((terms.seed, terms.default_duration), (7, LONGEST));
    }

    #[test]
    fn memory_has_a_unit_and_bounds() {
        assert_eq!(memory("128MiB"), Ok(128 << 20));
        assert_eq!(memory("1024KiB"), Ok(1 << 20));
        assert_eq!(memory("16GiB"), Ok(16 << 30));
        for word in
            ["", "128", "MiB", "1KiB", "17GiB", "99999999999999999999GiB", "1.5GiB", "-1MiB"]
        {
            assert!(memory(word).is_err(), "{word}");
        }
    }
}
