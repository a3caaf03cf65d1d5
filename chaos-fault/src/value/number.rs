//! Counts, and numbers with a unit behind them.

use std::str::FromStr;

use winnow::{
    ModalParser, ModalResult, Parser,
    ascii::digit1,
    combinator::{opt, preceded},
    token::take_while,
};

use crate::mistake::Mistake;

/// `12.5ms` taken apart; nothing is known yet about the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Quantity<'i> {
    pub whole: &'i str,
    pub decimals: &'i str,
    pub unit: &'i str,
}

impl Quantity<'_> {
    /// In base units, when the unit is `scale` of them. `None` where that is not a whole number
    /// or too large.
    pub fn scaled(&self, scale: u128) -> Option<u128> {
        let whole: u128 = self.whole.parse().ok()?;
        let decimals = self.decimals.trim_end_matches('0');
        let power = 10_u128.checked_pow(decimals.len().try_into().ok()?)?;
        let fraction: u128 = if decimals.is_empty() { 0 } else { decimals.parse().ok()? };
        let parts = fraction.checked_mul(scale)?;
        if parts % power != 0 {
            return None;
        }
        whole.checked_mul(scale)?.checked_add(parts / power)
    }
}

/// A number and the letters (or `%`) right behind it.
pub(super) fn quantity<'i>(input: &mut &'i str) -> ModalResult<Quantity<'i>> {
    (digit1, decimals(), take_while(0.., |c: char| c.is_alphabetic() || c == '%'))
        .map(|(whole, decimals, unit)| Quantity { whole, decimals, unit })
        .parse_next(input)
}

fn decimals<'i>() -> impl ModalParser<&'i str, &'i str, winnow::error::ContextError> {
    opt(preceded('.', digit1)).map(Option::unwrap_or_default)
}

/// A count of at least one, for the clause that `what` names.
pub(crate) fn count<N: FromStr + Default + PartialEq>(
    what: &str,
    word: &str,
) -> Result<N, Mistake> {
    let number: N = integer(what, word)?;
    if number == N::default() {
        return Err(Mistake::new(format!("`{what} 0` would never do anything"))
            .help("leave the fault out, or write a number from 1"));
    }
    Ok(number)
}

/// A whole number that `N` can hold.
pub(crate) fn integer<N: FromStr>(what: &str, word: &str) -> Result<N, Mistake> {
    let all_digits = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|_| all_digits).ok_or_else(|| {
        if all_digits {
            Mistake::new(format!("`{word}` is too large for `{what}`"))
        } else {
            Mistake::new(format!("`{what}` needs a whole number, found `{word}`"))
                .help(format!("for example `{what} 100`"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_and_positive() {
        assert_eq!(count::<u32>("at most", "7"), Ok(7));
        assert!(count::<u32>("at most", "0").unwrap_err().message.contains("never"));
        assert!(count::<u32>("at most", "4294967296").unwrap_err().message.contains("too large"));
        for word in ["+7", "-1", "1.5", "x", ""] {
            assert!(integer::<u32>("seed", word).unwrap_err().message.contains("whole number"));
        }
        assert_eq!(integer::<u64>("seed", "0"), Ok(0));
    }

    #[test]
    fn decimals_scale_exactly_or_not_at_all() {
        let of = |text: &'static str| quantity.parse(text).unwrap();
        assert_eq!(of("1.5ms").scaled(1_000_000), Some(1_500_000));
        assert_eq!(of("0.10s").scaled(10), Some(1));
        assert_eq!(of("0.15s").scaled(10), None);
        assert_eq!(of("340282366920938463463374607431768211455x").scaled(2), None);
    }
}
