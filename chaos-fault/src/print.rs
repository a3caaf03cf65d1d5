//! Faults to text: the canonical sentence.

use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter, Write},
};

use ipnet::IpNet;

use super::{
    model::{
        Chance, Except, Fault, HowOften, Latency, Peer, PodRef, PortRange, Side, Spread, Verb,
    },
    value::{
        chance, duration, moment, peer,
        word::{Word, print_weighted_latency},
    },
};

/// How many items a list has at most that is shown whole to people, and how many are shown of a longer
/// one.
const SHORT_LIST: usize = 8;
const BEGINNING: usize = 2;

/// The canonical sentence: parsing it gives the same fault again. With `{:#}` it is for people: of a
/// long list it has the beginning, and says how many more there are.
///
/// Order: `shadow`, verb with its parts, chance, direction, protocol, peer, `except`, `under`,
/// `in container`, `after`, `for`, `until`, `at most`, `at most … per second`, `seed`, `as`,
/// `guarded`.
impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.shadow {
            f.write_str("shadow ")?;
        }
        self.verb.fmt(f)?;
        write_chance(f, self.chance, &self.verb)?;
        if let Some(direction) = self.direction {
            write!(f, " {direction}")?;
        }
        if let Some(protocol) = self.protocol {
            write!(f, " {protocol}")?;
        }
        if let Some(peer) = &self.peer {
            f.write_char(' ')?;
            peer.fmt(f)?;
        }
        if let Some(except) = &self.except {
            f.write_str(" except ")?;
            except.fmt(f)?;
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
        if let Some(until) = self.until {
            write!(f, " until {}", moment::print(until))?;
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
        if let Some(name) = &self.name {
            write!(f, " as {name}")?;
        }
        if self.guarded {
            f.write_str(" guarded")?;
        }
        Ok(())
    }
}

/// The verb and its own parts: `delay 100ms jitter 20ms`, `fail read with EIO`.
impl Display for Verb {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        (self.row().print)(self, f)
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
                let latencies = list(f, latencies.iter().copied().map(print_weighted_latency));
                f.write_str(&latencies)?;
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
        let side = match self.side {
            Side::To => Some("to".to_owned()),
            Side::From => Some("from".to_owned()),
            Side::Either => None,
        };
        let lists = lists(f, (&self.networks, &self.names), self.pods.keys(), &self.ports);
        let words: Vec<String> = side.into_iter().chain(lists).collect();
        f.write_str(&words.join(" "))
    }
}

/// What is left alone, as behind `except`: `10.0.0.1, pod shop/db`, `port 22`.
impl Display for Except {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(
            &lists(f, (&self.networks, &self.names), self.pods.keys(), &self.ports).join(", "),
        )
    }
}

/// Each list that is not empty, behind its word: `10.0.0.0/8, @db`, `pod shop/db`, `port 22, 80`.
fn lists<'a>(
    f: &Formatter<'_>,
    (networks, names): (&BTreeSet<IpNet>, &BTreeSet<String>),
    pods: impl ExactSizeIterator<Item = &'a PodRef>,
    ports: &[PortRange],
) -> Vec<String> {
    let mut lists = Vec::new();
    if !(networks.is_empty() && names.is_empty()) {
        let names = names.iter().map(|name| format!("@{name}"));
        let addresses: Vec<String> =
            networks.iter().map(peer::print_network).chain(names).collect();
        lists.push(list(f, addresses));
    }
    if pods.len() > 0 {
        lists.push(format!("pod {}", list(f, pods)));
    }
    if !ports.is_empty() {
        let ports = ports.iter().map(|range| peer::print_ports(*range));
        lists.push(format!("port {}", list(f, ports)));
    }
    lists
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
        HowOften::Window { first, last } => write!(f, " {}", chance::print_window(first, last))?,
    }
    if !own_unit {
        write!(f, " of {}", chance.of.word())?;
    }
    if let HowOften::Bursts { length, .. } = chance.how {
        write!(f, " in bursts of {length}")?;
    }
    Ok(())
}

/// Whole, unless it is long and `f` is for people.
pub(super) fn list(f: &Formatter<'_>, items: impl IntoIterator<Item: Display>) -> String {
    let mut items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if !f.alternate() || items.len() <= SHORT_LIST {
        return items.join(", ");
    }
    let more = items.len() - BEGINNING;
    items.truncate(BEGINNING);
    format!("{} and {more} more", items.join(", "))
}

/// The sentence as people read it, with the beginnings of long lists. What is no sentence, as that of an
/// agent that knows more than this one, stays as it is.
pub fn shortened(sentence: &str) -> String {
    let mut sentences = super::parse(sentence).unwrap_or_default().into_iter();
    match (sentences.next(), sentences.next()) {
        (Some(only), None) => format!("{:#}", only.fault),
        _ => sentence.to_owned(),
    }
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

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn of_a_long_list_people_see_the_beginning() {
        let networks =
            |number| -> Vec<String> { (0..number).map(|n| format!("10.0.{n}.0/28")).collect() };
        let sentence = |number| format!("drop to {} port 80 for 5m", networks(number).join(", "));
        assert_eq!(shortened(&sentence(8)), sentence(8));
        assert_eq!(
            shortened(&sentence(200)),
            "drop to 10.0.0.0/28, 10.0.1.0/28 and 198 more port 80 for 5m"
        );
        let ports: Vec<String> = (1..10).map(|n| (n * 2).to_string()).collect();
        let sentence = format!("drop port {}", ports.join(", "));
        assert_eq!(shortened(&sentence), "drop port 2, 4 and 7 more");
        assert_eq!(
            shortened("delay 1ms, 2ms, 3ms, 4ms, 5ms, 6ms, 7ms, 8ms, 9ms"),
            "delay 1ms, 2ms and 7 more"
        );
        for other in ["freeze the packets", "drop; reset", ""] {
            assert_eq!(shortened(other), other);
        }
    }
}
