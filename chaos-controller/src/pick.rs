//! Picks pods: how many of them, and which, always the same for a run.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// How many of the pods that are selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    Number(usize),
    /// Percent, 1 to 100.
    Share(usize),
    /// A share between these two; which one, a run draws.
    Range(usize, usize),
    All,
}

/// An amount that is none.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no amount; write a number from 1 on, a share such as `50%`, a range such as `10%-30%`, or `all`"
)]
pub struct AmountError(String);

impl Amount {
    /// Reads `pick`; one pod where nothing is written.
    pub fn read(pick: Option<&IntOrString>) -> Result<Self, AmountError> {
        match pick {
            None => Ok(Self::Number(1)),
            Some(IntOrString::Int(number)) => usize::try_from(*number)
                .ok()
                .filter(|number| *number > 0)
                .map(Self::Number)
                .ok_or_else(|| AmountError(number.to_string())),
            Some(IntOrString::String(text)) if text == "all" => Ok(Self::All),
            Some(IntOrString::String(text)) => percent(text)
                .map(Self::Share)
                .or_else(|| range(text))
                .ok_or_else(|| AmountError(text.clone())),
        }
    }

    /// How many of so many: never more than there are. A share is rounded down, but is one at least.
    pub fn of(self, selected: usize) -> usize {
        match self {
            Self::Number(number) => number.min(selected),
            Self::Share(percent) | Self::Range(_, percent) => {
                share(percent, selected).max(1).min(selected)
            }
            Self::All => selected,
        }
    }

    /// With the share that a run draws from a range for a target: always the same.
    pub fn drawn(self, run_uid: &str, target: &str) -> Self {
        match self {
            Self::Range(least, most) => {
                let Rank(hash) = Rank::of(run_uid, &format!("target {target}"));
                let shares = (most - least + 1) as u64;
                let drawn = usize::try_from(hash % shares).unwrap_or_default();
                Self::Share(least + drawn)
            }
            Self::Number(_) | Self::Share(_) | Self::All => self,
        }
    }
}

fn range(text: &str) -> Option<Amount> {
    let (least, most) = text.split_once('-')?;
    let (least, most) = (percent(least)?, percent(most)?);
    (least <= most).then_some(Amount::Range(least, most))
}

/// Reads a percentage, 1 to 100.
pub fn percent(text: &str) -> Option<usize> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| (1..=100).contains(percent))
}

/// So many percent of a number, rounded down.
pub fn share(percent: usize, of: usize) -> usize {
    of * percent / 100
}

/// The place of a pod in the order in which a run picks. It depends on nothing else, so whoever leads picks the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u64);

impl Rank {
    /// Of a pod in a run.
    pub fn of(run_uid: &str, pod_uid: &str) -> Self {
        let hash =
            Sha256::new().chain_update(run_uid).chain_update([0]).chain_update(pod_uid).finalize();
        let first = hash.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
        Self(first)
    }

    /// As a status has it.
    pub fn parse(text: &str) -> Option<Self> {
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl std::fmt::Display for Rank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn read(text: &str) -> Result<Amount, AmountError> {
        Amount::read(Some(&IntOrString::String(text.to_owned())))
    }

    #[test]
    fn amounts_are_read() {
        assert_eq!(Amount::read(None), Ok(Amount::Number(1)));
        assert_eq!(Amount::read(Some(&IntOrString::Int(3))), Ok(Amount::Number(3)));
        assert_eq!(read("50%"), Ok(Amount::Share(50)));
        assert_eq!(read("10%-30%"), Ok(Amount::Range(10, 30)));
        assert_eq!(read("all"), Ok(Amount::All));
        for wrong in ["", "0%", "101%", "50", "-1%", "50 %", "30%-10%", "10-30%", "10%-101%"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(Amount::read(Some(&IntOrString::Int(0))).is_err());
        assert!(Amount::read(Some(&IntOrString::Int(-1))).is_err());
    }

    #[test]
    fn ranks_are_the_same_for_ever() {
        let rank = Rank::of("6d1c", "0f-1");
        assert_eq!(rank.to_string(), Rank::of("6d1c", "0f-1").to_string());
        assert_eq!(Rank::parse(&rank.to_string()), Some(rank));
        assert_ne!(rank, Rank::of("6d1c0", "f-1"));
        assert_ne!(rank, Rank::of("6d1d", "0f-1"));
    }

    #[test]
    fn runs_draw_each_share_of_a_range() {
        let draw = |run: usize| Amount::Range(10, 12).drawn(&run.to_string(), "web");
        let drawn: Vec<Amount> = (0..50).map(draw).collect();
        for percent in 10..=12 {
            assert!(drawn.contains(&Amount::Share(percent)), "{percent}%");
        }
        assert!(drawn.iter().all(|one| (10..=12).any(|percent| *one == Amount::Share(percent))));
        assert_eq!(draw(7), draw(7));
    }

    proptest! {
        #[test]
        fn never_more_than_there_are_nor_than_the_share(percent in 1_usize..=100, selected in 0_usize..5000) {
            let picked = Amount::Share(percent).of(selected);
            prop_assert!(picked <= selected);
            prop_assert!(picked == 1 || picked * 100 <= selected * percent);
            prop_assert_eq!(picked == 0, selected == 0);
            prop_assert!(Amount::Share(100).of(selected) == selected);
        }
    }
}
