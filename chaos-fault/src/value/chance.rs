//! How often: `10%`, `0.000001%`, `every 5th`, `the 3rd to the 6th`.

use winnow::Parser;

use super::number::{integer, quantity};
use crate::{
    mistake::Mistake,
    model::{HowOften, Probability},
};

/// Parts of [`Probability::ONE`] in one percent.
const PERCENT: u32 = Probability::ONE / 100;

/// A percentage above 0 % up to 100 %, with up to six decimals.
pub(crate) fn percentage(word: &str) -> Result<HowOften, Mistake> {
    let parts = quantity.parse(word).ok().filter(|parts| parts.unit == "%").ok_or_else(|| {
        let help = match word.parse::<f64>().map(|number| (of_fraction(number), number)) {
            Ok((Some(percentage), _)) => format!("write `{percentage}`, or `{word}%`"),
            Ok((None, number)) if number > 0.0 => format!("write `{word}%`"),
            _ => "for example `10%` or `0.5%`".to_owned(),
        };
        Mistake::new(format!("`{word}` is not a percentage")).help(help)
    })?;
    if parts.decimals.trim_end_matches('0').len() > 6 {
        return Err(Mistake::new(format!("`{word}` is finer than can be counted"))
            .help("at most six decimals: `0.000001%`"));
    }
    match parts.scaled(PERCENT.into()).and_then(|parts| u32::try_from(parts).ok()) {
        Some(0) => Err(Mistake::new(format!("`{word}` would never do anything"))
            .help("leave the fault out, or write `shadow` to count without acting")),
        Some(Probability::ONE) => Ok(HowOften::Always),
        parts => {
            parts.and_then(Probability::from_parts).map(HowOften::Probability).ok_or_else(|| {
                Mistake::new(format!("`{word}` is more than always")).help("at most `100%`")
            })
        }
    }
}

/// The percentage that a fraction of one is; `None` for what is none.
pub(crate) fn of_fraction(number: f64) -> Option<String> {
    let parts = (number * f64::from(Probability::ONE)).round();
    if !(parts > 0.0 && parts < f64::from(Probability::ONE)) {
        return None;
    }
    Probability::from_parts(parts as u32).map(print_percentage)
}

/// How often something stays as it was: a percentage below 100 %.
pub(crate) fn correlation(word: &str) -> Result<Probability, Mistake> {
    let HowOften::Probability(probability) = percentage(word)? else {
        return Err(Mistake::new(format!("`{word}` would keep the first one for ever"))
            .help("below `100%`"));
    };
    Ok(probability)
}

/// `5th`, or plain `5`: at least the second.
pub(crate) fn every(word: &str) -> Result<HowOften, Mistake> {
    match ordinal(word, "write `every 5th`: the 5th, 10th, 15th and so on")? {
        0 => Err(Mistake::new("`every 0th` would never do anything").help("at least `every 2nd`")),
        1 => Err(Mistake::new("`every 1st` is always").help("leave it out: always is the default")),
        nth => Ok(HowOften::EveryNth(nth)),
    }
}

/// One end of a window, `5th` or plain `5`: at least the first.
pub(crate) fn end_of_window(word: &str) -> Result<u32, Mistake> {
    match ordinal(word, "write `the first 3`, `the 3rd to the 6th` or `from the 10th`")? {
        0 => Err(Mistake::new(format!("there is no `{word}`")).help("the first one is the 1st")),
        nth => Ok(nth),
    }
}

fn ordinal(word: &str, help: &str) -> Result<u32, Mistake> {
    let wrong = || Mistake::new(format!("`{word}` is not an ordinal number"));
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong().help(help));
    }
    let too_large = || Mistake::new(format!("`{word}` is too large")).help(help);
    let nth: u32 = digits.parse().map_err(|_| too_large())?;
    let ending = &word[digits.len()..];
    if !ending.is_empty() && !ending.eq_ignore_ascii_case(suffix(nth)) {
        return Err(wrong().help(format!("write `{}`", print_ordinal(nth))));
    }
    Ok(nth)
}

/// How long bursts are on average: at least 2.
pub(crate) fn burst(word: &str) -> Result<u32, Mistake> {
    let length: u32 = integer("bursts of", word)?;
    if length < 2 {
        return Err(Mistake::new("a burst has at least 2 packets").help("or leave `in bursts` out"));
    }
    Ok(length)
}

/// A chance, in bursts of this length if they are asked for.
pub(crate) fn in_bursts(how: HowOften, length: Option<u32>) -> Result<HowOften, Mistake> {
    match (how, length) {
        (how, None) => Ok(how),
        (HowOften::Probability(share), Some(length)) => Ok(HowOften::Bursts { share, length }),
        (_, Some(length)) => Err(Mistake::new("bursts need a chance below 100%")
            .help(format!("how much is hit in all: `5% in bursts of {length}`"))),
    }
}

fn suffix(number: u32) -> &'static str {
    match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    }
}

/// `12.5%`, without needless zeros.
pub(crate) fn print_percentage(probability: Probability) -> String {
    let (whole, rest) = (probability.parts() / PERCENT, probability.parts() % PERCENT);
    let decimals = format!("{rest:06}");
    match decimals.trim_end_matches('0') {
        "" => format!("{whole}%"),
        decimals => format!("{whole}.{decimals}%"),
    }
}

/// `5th`.
pub(crate) fn print_ordinal(nth: u32) -> String {
    format!("{nth}{}", suffix(nth))
}

/// `the 3rd to the 6th`.
pub(crate) fn print_window(first: u32, last: Option<u32>) -> String {
    let from = print_ordinal(first);
    match last {
        None => format!("from the {from}"),
        Some(last) if last == first => format!("the {from}"),
        Some(last) if first == 1 => format!("the first {last}"),
        Some(last) => format!("the {from} to the {}", print_ordinal(last)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn percentages_are_exact() {
        let parts = |word| match percentage(word) {
            Ok(HowOften::Probability(probability)) => probability.parts(),
            other => panic!("{word}: {other:?}"),
        };
        assert_eq!(parts("10%"), 10_000_000);
        assert_eq!(parts("0.000001%"), 1);
        assert_eq!(parts("99.999999%"), 99_999_999);
        assert_eq!(percentage("100%"), Ok(HowOften::Always));
        assert_eq!(percentage("100.0000000%"), Ok(HowOften::Always));
    }

    #[test]
    fn wrong_chances_say_why() {
        for (word, message) in [
            ("0%", "never"),
            ("0.0%", "never"),
            ("101%", "more than always"),
            ("100.000001%", "more than always"),
            ("99999999999999999999%", "more than always"),
            ("0.0000001%", "finer"),
            ("10", "not a percentage"),
            ("-5%", "not a percentage"),
            (".5%", "not a percentage"),
        ] {
            let mistake = percentage(word).unwrap_err();
            assert!(mistake.message.contains(message), "{word}: {}", mistake.message);
        }
        let help = |word| percentage(word).unwrap_err().remedy().unwrap();
        assert_eq!(help("0.25"), "write `25%`, or `0.25%`");
        assert_eq!(help("0.07"), "write `7%`, or `0.07%`");
        assert_eq!(
            (help("5"), help("0")),
            ("write `5%`".into(), "for example `10%` or `0.5%`".into())
        );
        assert!(every("1st").unwrap_err().message.contains("always"));
        assert!(every("0").unwrap_err().message.contains("never"));
        assert_eq!(every("5st").unwrap_err().remedy().unwrap(), "write `5th`");
        assert!(every("fifth").unwrap_err().message.contains("ordinal"));
        assert!(end_of_window("0th").unwrap_err().message.contains("no `0th`"));
        assert!(end_of_window("third").unwrap_err().remedy().unwrap().contains("`the first 3`"));
    }

    proptest! {
        #[test]
        fn printing_is_the_inverse_of_parsing(parts in 1..Probability::ONE, nth in 2_u32..) {
            let probability = Probability::from_parts(parts).unwrap();
            prop_assert_eq!(percentage(&print_percentage(probability)), Ok(HowOften::Probability(probability)));
            prop_assert_eq!(every(&print_ordinal(nth)), Ok(HowOften::EveryNth(nth)));
            prop_assert_eq!(end_of_window(&print_ordinal(nth)), Ok(nth));
        }
    }
}
