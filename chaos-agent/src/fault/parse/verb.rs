//! The words that verbs are written with.

use crate::fault::mistake::Mistake;

/// A verb as the sentence begins, before its parts are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VerbWord {
    Drop,
    Corrupt,
    Delay,
    DelayDns,
    Duplicate,
    Reorder,
    Limit,
    Reset,
    Fail,
    FailDns,
    Slow,
    Kill,
    SkewClock,
}

/// Each verb with its words and a sentence that shows it.
const VERBS: [(VerbWord, &str, &str); 13] = [
    (VerbWord::Drop, "drop", "drop 10% egress"),
    (VerbWord::Corrupt, "corrupt", "corrupt 1% silent egress udp"),
    (VerbWord::Delay, "delay", "delay 100ms jitter 20ms egress"),
    (VerbWord::DelayDns, "delay dns", "delay dns by 200ms for *.example.com"),
    (VerbWord::Duplicate, "duplicate", "duplicate 2%"),
    (VerbWord::Reorder, "reorder", "reorder 5% by 10ms"),
    (VerbWord::Limit, "limit", "limit 1mbit egress"),
    (VerbWord::Reset, "reset", "reset 10% of flows tcp to port 6379"),
    (VerbWord::Fail, "fail", "fail connect with ECONNREFUSED 5%"),
    (VerbWord::FailDns, "fail dns", "fail dns with NXDOMAIN for *.example.com"),
    (VerbWord::Slow, "slow", "slow fsync by 50ms"),
    (VerbWord::Kill, "kill", "kill 1% of calls accept"),
    (VerbWord::SkewClock, "skew clock", "skew clock by +1d"),
];

impl VerbWord {
    /// The words it is written with.
    pub fn text(self) -> &'static str {
        VERBS.iter().find(|(verb, ..)| *verb == self).map_or("", |(_, text, _)| text)
    }

    /// Help that shows a whole sentence.
    pub fn example(self) -> String {
        let example = VERBS.iter().find(|(verb, ..)| *verb == self).map_or("", |(.., text)| text);
        format!("for example `{example}`")
    }

    /// Whether it is measured: by a duration, an offset or a rate.
    pub fn has_amount(self) -> bool {
        matches!(
            self,
            Self::Delay
                | Self::DelayDns
                | Self::Reorder
                | Self::Slow
                | Self::Limit
                | Self::SkewClock
        )
    }

    /// Whether what it is measured by can be a list, or a file.
    pub fn takes_latencies(self) -> bool {
        matches!(self, Self::Delay | Self::DelayDns)
    }

    /// Whether it is about questions for a name.
    pub fn takes_name(self) -> bool {
        matches!(self, Self::DelayDns | Self::FailDns)
    }

    /// Whether its parts begin with the names of system calls.
    pub fn takes_calls(self) -> bool {
        matches!(self, Self::Fail | Self::Slow | Self::Kill)
    }
}

/// The verb that begins with this word.
pub(super) fn verb(word: &str) -> Result<VerbWord, Mistake> {
    if word.eq_ignore_ascii_case("shadow") {
        return Err(Mistake::new("`shadow` is given twice").help("once, before the verb"));
    }
    VERBS
        .iter()
        .find(|(_, text, _)| first_word(text).eq_ignore_ascii_case(word))
        .map(|(verb, ..)| *verb)
        .ok_or_else(|| {
            let mistake = Mistake::new(format!("`{word}` is not a verb"));
            match of_others(word) {
                Some(verb) => mistake.help(verb.example()),
                None => mistake
                    .help(format!("a sentence begins with one of {}", verbs().join(", ")))
                    .meant(word, verbs),
            }
        })
}

/// The verb for what other tools call so.
fn of_others(word: &str) -> Option<VerbWord> {
    match word.to_ascii_lowercase().as_str() {
        "latency" | "lag" | "sleep" => Some(VerbWord::Delay),
        "loss" | "lose" | "block" | "deny" | "reject" | "blackhole" | "partition" => {
            Some(VerbWord::Drop)
        }
        "bandwidth" | "throttle" | "rate" => Some(VerbWord::Limit),
        "dup" => Some(VerbWord::Duplicate),
        "error" | "inject" | "syscall" => Some(VerbWord::Fail),
        _ => None,
    }
}

fn first_word(text: &'static str) -> &'static str {
    text.split(' ').next().unwrap_or(text)
}

/// The words that a sentence may begin with, besides `shadow`.
fn verbs() -> Vec<&'static str> {
    let mut words: Vec<_> = VERBS.iter().map(|(_, text, _)| first_word(text)).collect();
    words.dedup();
    words
}
