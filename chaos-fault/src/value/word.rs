//! Words that stand for one of a few values, and errnos with their weights.

use super::duration;
use crate::{
    mistake::Mistake,
    model::{
        Direction, Distribution, DnsAnswer, Errno, Protocol, Unit, WeightedErrno, WeightedLatency,
    },
};

/// A value that a single word of the language stands for.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// What the word says, for messages: "a direction".
    const WHAT: &'static str;
    /// Canonical spellings.
    const WORDS: &'static [(&'static str, Self)];

    /// The value of this word, in any case.
    fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, v)| *v)
    }

    /// [`Word::from_word`], or what would have been right.
    fn expect(word: &str) -> Result<Self, Mistake> {
        Self::from_word(word).ok_or_else(|| {
            let words: Vec<&str> = Self::WORDS.iter().map(|(word, _)| *word).collect();
            Mistake::new(format!("`{word}` is not {}", Self::WHAT))
                .help(format!("one of {}", words.join(", ")))
                .meant(word, || Self::WORDS.iter().map(|(word, _)| *word).collect())
        })
    }

    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| *word)
    }
}

impl Word for Direction {
    const WHAT: &'static str = "a direction";
    const WORDS: &'static [(&'static str, Self)] =
        &[("egress", Self::Egress), ("ingress", Self::Ingress)];
}

impl Word for Protocol {
    const WHAT: &'static str = "a protocol";
    const WORDS: &'static [(&'static str, Self)] =
        &[("tcp", Self::Tcp), ("udp", Self::Udp), ("icmp", Self::Icmp)];
}

impl Word for Distribution {
    const WHAT: &'static str = "a distribution";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("uniform", Self::Uniform),
        ("normal", Self::Normal),
        ("pareto", Self::Pareto),
        ("paretonormal", Self::ParetoNormal),
    ];
}

impl Word for Unit {
    const WHAT: &'static str = "something a chance is taken of";
    const WORDS: &'static [(&'static str, Self)] =
        &[("packets", Self::Packets), ("flows", Self::Flows), ("calls", Self::Calls)];
}

impl Word for DnsAnswer {
    const WHAT: &'static str = "a DNS answer";
    const WORDS: &'static [(&'static str, Self)] = &[
        ("NXDOMAIN", Self::NxDomain),
        ("SERVFAIL", Self::ServFail),
        ("REFUSED", Self::Refused),
        ("TIMEOUT", Self::Timeout),
    ];
}

/// `EIO` or `EIO*3`.
pub(crate) fn weighted_errno(word: &str) -> Result<WeightedErrno, Mistake> {
    let Some((name, weight)) = word.split_once('*') else {
        return Ok(WeightedErrno { errno: Errno::from_name(word)?, weight: 1 });
    };
    let errno = Errno::from_name(name)?;
    Ok(WeightedErrno { errno, weight: self::weight(name, weight)? })
}

/// `20ms` or `20ms*3`.
pub(crate) fn weighted_latency(word: &str) -> Result<WeightedLatency, Mistake> {
    let Some((length, weight)) = word.split_once('*') else {
        return Ok(WeightedLatency { length: duration::parse(word)?, weight: 1 });
    };
    Ok(WeightedLatency { length: duration::parse(length)?, weight: self::weight(length, weight)? })
}

/// The greatest weight.
pub(crate) const MOST_WEIGHT: u16 = 1000;

fn weight(weighted: &str, word: &str) -> Result<u16, Mistake> {
    match word.parse() {
        Ok(weight @ 1..=MOST_WEIGHT) => Ok(weight),
        _ => Err(Mistake::new(format!("`{word}` is not a weight"))
            .help(format!("a whole number from 1 to {MOST_WEIGHT}: `{weighted}*3`"))),
    }
}

pub(crate) fn print_weighted_latency(weighted: WeightedLatency) -> String {
    let length = duration::print(weighted.length);
    match weighted.weight {
        1 => length,
        weight => format!("{length}*{weight}"),
    }
}

pub(crate) fn print_weighted_errno(weighted: WeightedErrno) -> String {
    match weighted {
        WeightedErrno { errno, weight: 1 } => errno.to_string(),
        WeightedErrno { errno, weight } => format!("{errno}*{weight}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_slips_are_answered() {
        assert_eq!(Direction::expect("EGRESS"), Ok(Direction::Egress));
        assert_eq!(DnsAnswer::expect("nxdomain").map(Word::word), Ok("NXDOMAIN"));
        let help = |mistake: Mistake| mistake.remedy().unwrap();
        assert_eq!(help(Protocol::expect("tpc").unwrap_err()), "did you mean `tcp`?");
        assert_eq!(help(Unit::expect("bananas").unwrap_err()), "one of packets, flows, calls");
    }

    #[test]
    fn weights_are_1_to_1000() {
        assert_eq!(weighted_errno("EIO").unwrap().weight, 1);
        assert_eq!(weighted_errno("eio*1000").unwrap().weight, 1000);
        for wrong in ["EIO*0", "EIO*1001", "EIO*", "EIO*x", "EIO*-1"] {
            assert!(weighted_errno(wrong).unwrap_err().message.contains("weight"), "{wrong}");
        }
        assert!(weighted_errno("EOI*3").unwrap_err().message.contains("errno"));
    }
}
