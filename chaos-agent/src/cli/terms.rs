//! How long and by what dice: the options that hold for every fault of a command line.

use std::time::Duration;

use anyhow::Context;
use chaos_fault::{parse_duration, parse_name, print_duration};
use chaos_plan::Terms;
use jiff::Timestamp;

use super::failure::Failure;

/// How long faults without `for` last where neither they nor `--for` say.
pub const UNLESS_SAID: Duration = Duration::from_secs(5 * 60);

/// Of `--held-memory`, in bytes.
const MEMORY: std::ops::RangeInclusive<u64> = 1 << 20..=16 << 30;

const LEASES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(60)];

/// Options that run, inject and explain share.
#[derive(Debug, clap::Args)]
pub struct TermsArgs {
    /// The longest time that a fault may last, by `--for` or by its own `for`
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "1h")]
    longest: Duration,
    /// Makes the same decisions again; without it a random one is picked and printed
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

impl TermsArgs {
    /// The terms for a target without containers. `lasting` is what `--for` says for faults without
    /// `for`, `otherwise` what holds where it is not given: as long as is allowed, if that is shorter or
    /// nothing is said.
    pub fn terms(
        &self,
        lasting: Option<Duration>,
        otherwise: Option<Duration>,
    ) -> Result<Terms, Failure> {
        let longest = self.longest;
        if let Some(lasting) = lasting
            && lasting > longest
        {
            let (lasting, longest) = (print_duration(lasting), print_duration(longest));
            return Err(Failure::Usage(format!(
                "`--for {lasting}` is too long: at most {longest}, unless `--longest {lasting}` allows it"
            )));
        }
        let seed = match self.seed {
            Some(seed) => seed,
            // 32 bits: short to type, and exact in every reader of JSON.
            None => getrandom::u32().context("pick a random seed")?.into(),
        };
        let default_duration = lasting.or(otherwise).unwrap_or(longest).min(longest);
        let now = Some(Timestamp::now());
        Ok(Terms { default_duration, longest, seed, now, ..Terms::default() })
    }
}

/// Reads a duration that has no other bounds than the language's.
pub fn duration(word: &str) -> Result<Duration, String> {
    parse_duration(word).map_err(|mistake| mistake.to_string())
}

/// Reads `--name`, as behind `as`.
pub fn name(word: &str) -> Result<String, String> {
    parse_name(word).map_err(|mistake| mistake.to_string())
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
    fn leases_have_bounds() {
        assert_eq!(lease("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(lease("499ms"), Err("at least 500ms".to_owned()));
        assert!(lease("soon").unwrap_err().contains("not a duration"));
    }

    #[test]
    fn faults_last_as_long_as_is_said_and_never_longer_than_allowed() {
        const MINUTE: Duration = Duration::from_secs(60);
        const HOUR: Duration = Duration::from_secs(60 * 60);
        for (longest, lasting, otherwise, expected) in [
            (HOUR, None, Some(5 * MINUTE), Some(5 * MINUTE)),
            (HOUR, None, None, Some(HOUR)),
            (HOUR, Some(HOUR), None, Some(HOUR)),
            (HOUR, Some(HOUR + MINUTE), None, None),
            (2 * HOUR, Some(HOUR + MINUTE), None, Some(HOUR + MINUTE)),
            (2 * HOUR, None, None, Some(2 * HOUR)),
            (MINUTE, None, Some(5 * MINUTE), Some(MINUTE)),
        ] {
            let args = TermsArgs { longest, seed: Some(7) };
            let terms = args.terms(lasting, otherwise).ok();
            assert_eq!(terms.as_ref().map(|terms| terms.default_duration), expected);
            assert!(terms.is_none_or(|terms| (terms.longest, terms.seed) == (longest, 7)));
        }
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
