//! Faults to text: the canonical sentence.

use std::fmt::{self, Display, Formatter, Write};

use super::{
    model::{Chance, Fault, HowOften, Latency, Peer, Side, Spread, Verb},
    value::{
        chance, duration, peer, rate,
        word::{Word, print_weighted_errno, print_weighted_latency},
    },
};

/// The canonical sentence: parsing it gives the same fault again.
///
/// Order: `shadow`, verb with its parts, chance, direction, protocol, peer, `under`,
/// `in container`, `after`, `for`, `at most`, `at most … per second`, `seed`.
impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.shadow {
            f.write_str("shadow ")?;
        }
        write!(f, "{}", self.verb)?;
        write_chance(f, self.chance, &self.verb)?;
        if let Some(direction) = self.direction {
            write!(f, " {direction}")?;
        }
        if let Some(protocol) = self.protocol {
            write!(f, " {protocol}")?;
        }
        if let Some(peer) = &self.peer {
            write!(f, " {peer}")?;
        }
        if let Some(path) = &self.under {
            write!(f, " under {}", Quoted(path))?;
        }
        if let Some(container) = &self.container {
            write!(f, " in container {container}")?;
        }
        if let Some(after) = self.after {
            write!(f, " after {}", duration::print(after))?;
        }
        if let Some(lasting) = self.duration {
            write!(f, " for {}", duration::print(lasting))?;
        }
        if let Some(count) = self.at_most {
            write!(f, " at most {count}")?;
        }
        if let Some(count) = self.at_most_per_second {
            write!(f, " at most {count} per second")?;
        }
        if let Some(seed) = self.seed {
            write!(f, " seed {seed}")?;
        }
        Ok(())
    }
}

/// The verb and its own parts: `delay 100ms jitter 20ms`, `fail read with EIO`.
impl Display for Verb {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Drop | Self::Duplicate | Self::Reset | Self::Corrupt { silent: false } => Ok(()),
            Self::Corrupt { silent: true } => f.write_str(" silent"),
            Self::Delay(latency) => write!(f, " {latency}"),
            Self::DelayDns { latency, name } => write!(f, " dns {latency} for {name}"),
            Self::Reorder { by } => write!(f, " by {}", duration::print(*by)),
            Self::Limit { bits_per_second, per_flow } => {
                let per_flow = if *per_flow { " per flow" } else { "" };
                write!(f, " {}{per_flow}", rate::print(*bits_per_second))
            }
            Self::Fail { calls, errnos } => {
                let errnos = errnos.iter().map(|errno| print_weighted_errno(*errno));
                write!(f, " {} with {}", list(calls), list(errnos))
            }
            Self::FailDns { answer, name } => {
                write!(f, " dns with {} for {name}", answer.word())
            }
            Self::Slow { calls, by, jitter } => {
                write!(f, " {} by {}", list(calls), duration::print(*by))?;
                jitter.map_or(Ok(()), |jitter| write!(f, " jitter {}", duration::print(jitter)))
            }
            Self::Kill { calls } => write!(f, " {}", list(calls)),
            Self::SkewClock { offset_ns } => {
                write!(f, " clock by {}", duration::print_offset(*offset_ns))
            }
        }
    }
}

/// As behind a verb: `100ms jitter 20ms normal`.
impl Display for Latency {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.spread {
            Spread::Around { by, jitter, distribution } => {
                f.write_str(&duration::print(*by))?;
                if let Some(jitter) = jitter {
                    write!(f, " jitter {}", duration::print(*jitter))?;
                }
                if let Some(distribution) = distribution {
                    write!(f, " {}", distribution.word())?;
                }
            }
            Spread::OneOf(latencies) => {
                f.write_str(&list(latencies.iter().copied().map(print_weighted_latency)))?;
            }
            Spread::File { path, .. } => write!(f, "from file {}", Quoted(path))?,
        }
        self.correlation.map_or(Ok(()), |correlation| {
            write!(f, " correlation {}", chance::print_percentage(correlation))
        })
    }
}

/// The peer as a clause: `to 10.0.0.0/8 port 443`.
impl Display for Peer {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        match self.side {
            Side::To => words.push("to".to_owned()),
            Side::From => words.push("from".to_owned()),
            Side::Either => {}
        }
        if !self.networks.is_empty() {
            words.push(list(self.networks.iter().map(peer::print_network)));
        }
        if !self.pods.is_empty() {
            words.push("pod".to_owned());
            words.push(list(self.pods.keys()));
        }
        if !self.ports.is_empty() {
            words.push("port".to_owned());
            words.push(list(self.ports.iter().map(|range| peer::print_ports(*range))));
        }
        f.write_str(&words.join(" "))
    }
}

/// Nothing for what goes without saying: always, of the verb's own unit.
fn write_chance(f: &mut Formatter<'_>, chance: Chance, verb: &Verb) -> fmt::Result {
    let own_unit = chance.of == verb.default_unit();
    match chance.how {
        HowOften::Always if own_unit => return Ok(()),
        HowOften::Always => f.write_str(" 100%")?,
        HowOften::Probability(probability) => {
            write!(f, " {}", chance::print_percentage(probability))?;
        }
        HowOften::Bursts { share, .. } => write!(f, " {}", chance::print_percentage(share))?,
        HowOften::EveryNth(nth) => write!(f, " every {}", chance::print_ordinal(nth))?,
    }
    if !own_unit {
        write!(f, " of {}", chance.of.word())?;
    }
    match chance.how {
        HowOften::Bursts { length, .. } => write!(f, " in bursts of {length}"),
        _ => Ok(()),
    }
}

fn list(items: impl IntoIterator<Item: Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

/// In quotes where the text would otherwise not be read as one word.
struct Quoted<'t>(&'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let plain = |c: char| !c.is_whitespace() && !matches!(c, ',' | ';' | '"' | '\'' | '\\');
        if self.0.chars().all(plain) {
            return f.write_str(self.0);
        }
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
