//! Everything after the verb, in any order.

use std::{collections::BTreeSet, ops::Range};

use ipnet::IpNet;

use super::{
    Fail,
    draft::Draft,
    reader::{Read, Reader},
};
use crate::{
    mistake::{Clause, Mistake},
    model::{
        Call, Direction, Distribution, DnsAnswer, Except, HowOften, Peer, PortRange, Protocol,
        Side, Spread,
    },
    value::{
        chance, duration, moment, name, number,
        peer::{self, Address},
        rate,
        word::{self, Word},
    },
    verbs::{Amount, Subject},
};

/// The words that clauses begin with, besides those of [`Direction`], [`Protocol`] and
/// [`Distribution`].
const KEYWORDS: [&str; 22] = [
    "every",
    "the",
    "of",
    "to",
    "from",
    "port",
    "except",
    "under",
    "in",
    "for",
    "until",
    "after",
    "at",
    "seed",
    "as",
    "guarded",
    "with",
    "by",
    "jitter",
    "correlation",
    "per",
    "queue",
];

/// Reads the next clause into the draft.
pub(super) fn read(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let Some(word) = reader.peek_word() else {
        let quoted = |word: &str| {
            Err(Mistake::new(format!("`{word}` does not belong here"))
                .help("quotes are for values, such as a path behind `under`"))
        };
        return reader.value("a clause", quoted).map(|read| read.value);
    };
    if let Some(direction) = Direction::from_word(word) {
        return one_word(reader, draft, Clause::Direction, "the direction", |draft| {
            draft.clauses.direction = Some(direction);
        });
    }
    if let Some(protocol) = Protocol::from_word(word) {
        return one_word(reader, draft, Clause::Protocol, "the protocol", |draft| {
            draft.clauses.protocol = Some(protocol);
        });
    }
    if let Some(distribution) = Distribution::from_word(word) {
        return one_word(reader, draft, Clause::Distribution, "the distribution", |draft| {
            draft.parts.distribution = Some(distribution);
        });
    }
    match word.to_ascii_lowercase().as_str() {
        "silent" => {
            one_word(reader, draft, Clause::Silent, "`silent`", |draft| draft.parts.silent = true)
        }
        "every" => every(reader, draft),
        "the" => window(reader, draft),
        "from" if is_window(reader) => window(reader, draft),
        "to" => sided_peer(reader, draft, Side::To),
        "from" => sided_peer(reader, draft, Side::From),
        "port" => bare_port(reader, draft),
        "except" => except(reader, draft),
        "under" => keyword(reader, draft, Clause::Under, "a path", name::path, |draft, path| {
            draft.clauses.under = Some(path);
        }),
        "in" => inside(reader, draft),
        "for" => for_clause(reader, draft),
        "until" => {
            keyword(reader, draft, Clause::Until, "a moment", moment::parse, |draft, until| {
                draft.clauses.until = Some(until);
            })
        }
        "after" => {
            keyword(reader, draft, Clause::After, "a duration", duration::parse, |draft, after| {
                draft.clauses.after = Some(after);
            })
        }
        "at" => at_most(reader, draft),
        "seed" => {
            let parse = |word: &str| number::integer("seed", word);
            keyword(reader, draft, Clause::Seed, "a number", parse, |draft, seed| {
                draft.clauses.seed = Some(seed);
            })
        }
        "as" => keyword(reader, draft, Clause::As, "a name", name::of_fault, |draft, name| {
            draft.clauses.name = Some(name);
        }),
        "guarded" => one_word(reader, draft, Clause::Guarded, "`guarded`", |draft| {
            draft.clauses.guarded = true;
        }),
        "correlation" => keyword(
            reader,
            draft,
            Clause::Correlation,
            "a percentage",
            chance::correlation,
            |draft, correlation| draft.parts.correlation = Some(correlation),
        ),
        "per" => per_flow(reader, draft),
        "queue" => {
            keyword(reader, draft, Clause::Queue, "a duration", duration::parse, |draft, queue| {
                draft.parts.queue = Some(queue);
            })
        }
        "with" => with(reader, draft),
        "by" => {
            reader.eat("by");
            amount(reader, draft)
        }
        "jitter" => keyword(
            reader,
            draft,
            Clause::Jitter,
            "a duration",
            duration::parse,
            |draft, jitter| {
                draft.parts.jitter = Some(jitter);
            },
        ),
        _ => bare(reader, draft, word),
    }
}

fn one_word(
    reader: &mut Reader<'_>,
    draft: &mut Draft,
    clause: Clause,
    name: &str,
    set: impl FnOnce(&mut Draft),
) -> Result<(), Fail> {
    let read = reader.value(name, |_| Ok(()))?;
    draft.place(clause, name, read.span)?;
    set(draft);
    Ok(())
}

/// A keyword and the value behind it.
fn keyword<T>(
    reader: &mut Reader<'_>,
    draft: &mut Draft,
    clause: Clause,
    what: &str,
    parse: impl FnOnce(&str) -> Result<T, Mistake>,
    set: impl FnOnce(&mut Draft, T),
) -> Result<(), Fail> {
    let keyword = reader.value(what, |word| Ok(word.to_ascii_lowercase()))?;
    let read = reader.value(what, parse)?;
    draft.place(clause, &format!("`{}`", keyword.value), keyword.span.start..read.span.end)?;
    set(draft, read.value);
    Ok(())
}

/// A word that is no keyword: a chance, an amount, or calls.
fn bare(reader: &mut Reader<'_>, draft: &mut Draft, word: &str) -> Result<(), Fail> {
    if let Some(fail) = torn_percentage(reader) {
        return Err(fail);
    }
    let numeric = word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-'));
    if word.ends_with('%') {
        return percentage(reader, draft);
    }
    if numeric
        && !draft.has(Clause::By)
        && !draft.has(Clause::Rate)
        && draft.verb.amount != Amount::Nothing
    {
        return amount(reader, draft);
    }
    if !numeric && draft.verb.takes(Clause::Calls) && !draft.has(Clause::Calls) {
        let calls = reader.list("a system call", |word| {
            Call::from_name(word).map_err(|mistake| mistake.meant(word, keywords))
        })?;
        draft.place(Clause::Calls, "the list of calls", calls.span)?;
        draft.parts.calls = Some(calls.value);
        return Ok(());
    }
    reader.value("a clause", |word| not_a_clause(draft, word)).map(|read| read.value)
}

/// `0.1 %` and `0,1%`, which are several words.
fn torn_percentage(reader: &Reader<'_>) -> Option<Fail> {
    let is_number = |word: &str| word.parse::<f64>().is_ok();
    let is_digits = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
    if let Some([number, "%"]) = reader.peek_words()
        && is_number(number)
    {
        let mistake = Mistake::new(format!("a blank stands between `{number}` and its `%`"));
        let mistake = mistake.help(format!("write `{number}%`"));
        return Some(Fail { span: reader.span_of_next(2), mistake });
    }
    let [whole, ",", decimals] = reader.peek_words()? else { return None };
    let span = reader.span_of_next(3);
    let adjacent = span.len() == whole.len() + 1 + decimals.len();
    let decimals = decimals.strip_suffix('%')?;
    if !(adjacent && is_digits(whole) && is_digits(decimals)) {
        return None;
    }
    let mistake = Mistake::new(format!("`{whole},{decimals}%` has a comma where a point belongs"))
        .help(format!("write `{whole}.{decimals}%`"));
    Some(Fail { span, mistake })
}

fn keywords() -> Vec<&'static str> {
    fn words<W: Word>() -> impl Iterator<Item = &'static str> {
        W::WORDS.iter().map(|(word, _)| *word)
    }
    let of_values = words::<Direction>().chain(words::<Protocol>()).chain(words::<Distribution>());
    KEYWORDS.into_iter().chain(["silent"]).chain(of_values).collect()
}

/// Why a word cannot be where it is.
fn not_a_clause(draft: &Draft, word: &str) -> Result<(), Mistake> {
    let mistake = Mistake::new(format!("`{word}` does not belong here"));
    let is_call = Call::from_name(word).is_ok();
    Err(if word.eq_ignore_ascii_case("of") {
        mistake.help("`of` stands behind a percentage: `10% of flows`")
    } else if word.eq_ignore_ascii_case("shadow") {
        mistake.help("`shadow` stands before the verb, once")
    } else if peer::network(word).is_ok() {
        mistake.help(format!("write `to {word}` or `from {word}`"))
    } else if word.starts_with('/') {
        mistake.help(format!("write `under {word}`"))
    } else if duration::looks_like(word) {
        mistake.help(format!("write `for {word}` for how long, `after {word}` for when"))
    } else if moment::looks_like(word) {
        mistake.help(format!("write `until {word}`"))
    } else if word.starts_with(|c: char| c.is_ascii_digit())
        && let Ok(number) = word.parse::<f64>()
    {
        mistake.help(meant_number(draft, word, number))
    } else if let Some(help) = foreign_clause(draft, word) {
        mistake.help(help)
    } else if is_call && draft.verb.takes(Clause::Calls) {
        mistake.help("separate calls by commas: `openat, read`")
    } else if is_call {
        mistake.help("calls go with `fail`, `slow` and `kill`")
    } else {
        mistake.help(draft.verb.help()).meant(word, keywords)
    })
}

/// What a bare number may stand for.
fn meant_number(draft: &Draft, word: &str, number: f64) -> String {
    let is_port = word.parse::<u16>().is_ok_and(|port| port > 0);
    match (chance::of_fraction(number), number <= 100.0, is_port) {
        _ if number == 0.0 => draft.verb.help(),
        (Some(percentage), ..) => format!("write `{percentage}` for a chance, or `{word}%`"),
        (None, true, true) => format!("write `{word}%` for a chance, `port {word}` for a port"),
        (None, true, false) => format!("write `{word}%` for a chance"),
        (None, false, true) => format!("write `port {word}` for a port"),
        (None, false, false) => draft.verb.help(),
    }
}

/// What others have words for and this language says in another way.
fn foreign_clause(draft: &Draft, word: &str) -> Option<String> {
    let is_about_packets = matches!(draft.verb.subject, Subject::Packets | Subject::Dns);
    match word.to_ascii_lowercase().as_str() {
        "on" | "dev" | "device" | "via" | "interface" if is_about_packets => Some(
            "a fault is tied to no interface: name the networks behind it, such as `to 10.1.0.0/16`"
                .to_owned(),
        ),
        "dst" | "dest" | "destination" if is_about_packets => {
            Some("the destination is behind `to`: `to 10.0.0.1 port 80`".to_owned())
        }
        "src" | "source" if is_about_packets => {
            Some("the source is behind `from`: `from 10.0.0.1 port 80`".to_owned())
        }
        "host" | "net" | "ip" | "address" if is_about_packets => {
            Some("an address is behind `to` or `from`: `to 10.0.0.1`".to_owned())
        }
        "when" | "first" | "nth" | "skip" | "only" => Some(
            "which of them is said by `the first 3`, `the 3rd to the 6th` or `from the 10th`"
                .to_owned(),
        ),
        "name" | "named" | "called" | "label" => {
            Some("a name is behind `as`: `as slow-payments`".to_owned())
        }
        "not" | "but" | "without" | "exclude" if is_about_packets => {
            Some("what is left alone is behind `except`: `except port 22`".to_owned())
        }
        _ => None,
    }
}

/// `10% [of flows|packets|calls]`
fn percentage(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let read = reader.value("a percentage", chance::percentage)?;
    draft.place(Clause::Chance, "the chance", read.span)?;
    draft.how = read.value;
    unit(reader, draft)
}

/// `every 5th`
fn every(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let every = reader.value("`every`", |_| Ok(()))?;
    let read = reader.value("an ordinal number", chance::every)?;
    draft.place(Clause::Chance, "the chance", every.span.start..read.span.end)?;
    draft.how = read.value;
    unit(reader, draft)
}

/// Whether `from` begins a window, and not a peer.
fn is_window(reader: &Reader<'_>) -> bool {
    reader.peek_words().is_some_and(|[_, next]: [&str; 2]| next.eq_ignore_ascii_case("the"))
}

/// `from the 10th`, `the first 3`, `the 5th`, or `the 3rd to the 6th`, also with `from` before it
fn window(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let start = reader.span_of_next(1).start;
    let is_open = reader.eat("from");
    reader.eat("the");
    let (first, last) = if !is_open && reader.eat("first") {
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let count = match reader.peek_word().filter(|word| is_number(word)) {
            Some(_) => reader.value("how many", |word| number::count("the first", word))?.value,
            None => 1,
        };
        (1, Some(count))
    } else {
        let end = |reader: &mut Reader<'_>| {
            reader.value("an ordinal number", chance::end_of_window).map(|read| read.value)
        };
        let first = end(reader)?;
        let last = if goes_on(reader) {
            reader.eat("to");
            reader.eat("the");
            Some(end(reader)?)
        } else {
            (!is_open).then_some(first)
        };
        (first, last)
    };
    draft.place(Clause::Chance, "the chance", start..reader.last_span().end)?;
    draft.how = HowOften::Window { first, last };
    unit(reader, draft)
}

/// Whether `to` says where a window ends, and does not begin a peer.
fn goes_on(reader: &Reader<'_>) -> bool {
    let Some([to, next]) = reader.peek_words() else { return false };
    // An address has a point or a colon.
    let is_number = next.starts_with(|c: char| c.is_ascii_digit())
        && next.bytes().all(|byte| byte.is_ascii_alphanumeric());
    to.eq_ignore_ascii_case("to") && (next.eq_ignore_ascii_case("the") || is_number)
}

fn unit(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    if reader.eat("of") {
        let read = reader.value("`packets`, `flows` or `calls`", Word::expect)?;
        draft.place(Clause::Unit, "`of`", read.span)?;
        draft.unit = Some(read.value);
    }
    Ok(())
}

/// `to|from NETWORK[, …] [port PORTS]`, `to|from pod POD[, …] [port PORTS]` or `to|from port PORTS`; with `delay` also `from file NAME`
fn sided_peer(reader: &mut Reader<'_>, draft: &mut Draft, side: Side) -> Result<(), Fail> {
    let keyword = reader.value("a peer", |word| Ok(word.to_ascii_lowercase()))?;
    let mut span = keyword.span;
    if side == Side::From && draft.verb.amount == Amount::Latencies && reader.eat("file") {
        let read = reader.value("the name of a file", name::file)?;
        draft.place(Clause::By, "the latency", span.start..read.span.end)?;
        draft.parts.several = Some(Spread::File { path: read.value, latencies: Vec::new() });
        return Ok(());
    }
    let (mut addresses, mut pods) = (Vec::new(), Vec::new());
    if reader.eat("pod") {
        let read = reader.list("a pod", name::pod)?;
        pods = read.value;
        span.end = read.span.end;
    } else if !reader.peek_word().is_some_and(|word| word.eq_ignore_ascii_case("port")) {
        let read = reader.list("an address, a network, `pod` or `port`", peer::address)?;
        addresses = read.value;
        span.end = read.span.end;
    }
    let ports = if reader.eat("port") {
        let read = ports(reader)?;
        span.end = read.span.end;
        read.value
    } else {
        Vec::new()
    };
    let mut peer = Peer {
        side,
        networks: Default::default(),
        pods: pods.into_iter().map(|pod| (pod, Default::default())).collect(),
        names: Default::default(),
        ports,
    };
    for address in addresses {
        sort_in(address, &mut peer.networks, &mut peer.names);
    }
    set_peer(draft, peer, span)
}

/// `port PORTS`
fn bare_port(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`port`", |_| Ok(()))?;
    let read = ports(reader)?;
    let peer = Peer {
        side: Side::Either,
        networks: Default::default(),
        pods: Default::default(),
        names: Default::default(),
        ports: read.value,
    };
    set_peer(draft, peer, keyword.span.start..read.span.end)
}

/// `except NETWORK[, …][, pod POD[, …]]` or `except port PORTS`
fn except(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`except`", |_| Ok(()))?;
    let mut except = Except::default();
    let end = if reader.eat("port") {
        let read = ports(reader)?;
        except.ports = read.value;
        read.span.end
    } else {
        let mut are_pods = false;
        loop {
            are_pods |= reader.eat("pod");
            if are_pods {
                let read = reader.value("a pod", name::pod)?;
                except.pods.insert(read.value, Default::default());
            } else {
                let what = "an address, a network, `pod` or `port`";
                let read = reader.value(what, peer::address)?;
                sort_in(read.value, &mut except.networks, &mut except.names);
            }
            if !reader.eat_comma() {
                break reader.last_span().end;
            }
        }
    };
    if except.ports.is_empty()
        && reader.peek_word().is_some_and(|word| word.eq_ignore_ascii_case("port"))
    {
        let ambiguous = |_: &str| {
            Err(Mistake::new("addresses and ports in one `except`").help(
                "`except` takes one of the two; a port that the fault is about stands before it: \
                 `to port 443 except 10.0.0.1`",
            ))
        };
        return reader.value("a clause", ambiguous).map(|read| read.value);
    }
    draft.place(Clause::Except, "`except`", keyword.span.start..end)?;
    draft.clauses.except = Some(except);
    Ok(())
}

fn sort_in(address: Address, networks: &mut BTreeSet<IpNet>, names: &mut BTreeSet<String>) {
    match address {
        Address::Network(network) => drop(networks.insert(network)),
        Address::Name(name) => drop(names.insert(name)),
    }
}

fn ports(reader: &mut Reader<'_>) -> Result<Read<Vec<PortRange>>, Fail> {
    let read = reader.list("a port", peer::ports)?;
    Ok(Read { value: peer::join_ports(read.value), span: read.span })
}

fn set_peer(draft: &mut Draft, peer: Peer, span: Range<usize>) -> Result<(), Fail> {
    if let Some(before) = &draft.clauses.peer {
        let mistake = if before.side == peer.side {
            Mistake::new("the peer is given twice")
                .help("several networks go in one list: `to 10.0.0.0/8, 192.168.0.0/16`")
        } else if before.side == Side::Either || peer.side == Side::Either {
            Mistake::new("`port` stands apart from its address")
                .help("right behind it: `to 10.0.0.0/8 port 5432`")
        } else {
            Mistake::new("a fault has only one peer")
                .help("`to` or `from`, or a port of either end; write two sentences for two peers")
        };
        return Err(Fail { span, mistake });
    }
    let clause = if peer.side == Side::Either { Clause::Port } else { Clause::Peer };
    draft.place(clause, "the peer", span)?;
    draft.clauses.peer = Some(peer);
    Ok(())
}

/// `in container NAME` or `in bursts of N`
fn inside(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`in`", |_| Ok(()))?;
    if reader.eat("bursts") {
        reader.value("`of`", |word| {
            word.eq_ignore_ascii_case("of").then_some(()).ok_or_else(|| {
                Mistake::new(format!("expected `of`, found `{word}`"))
                    .help("write `in bursts of 10`")
            })
        })?;
        let read = reader.value("how long bursts are", chance::burst)?;
        draft.place(Clause::Bursts, "`in bursts`", keyword.span.start..read.span.end)?;
        draft.bursts = Some(read.value);
        return Ok(());
    }
    reader.value("`container` or `bursts`", |word| {
        word.eq_ignore_ascii_case("container").then_some(()).ok_or_else(|| {
            let mistake = Mistake::new(format!("expected `container` or `bursts`, found `{word}`"));
            if word.starts_with('/') {
                return mistake.help(format!("a path is behind `under`: `under {word}`"));
            }
            mistake.help(
                "write `in container NAME` or `in bursts of 10`; for how long is `for 5m`, when is \
                 `after 10s`",
            )
        })
    })?;
    let read = reader.value("a container's name", name::container)?;
    draft.place(Clause::Container, "`in container`", keyword.span.start..read.span.end)?;
    draft.clauses.container = Some(read.value);
    Ok(())
}

/// `for DURATION`; with `fail dns` and `delay dns` also `for NAME`
fn for_clause(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`for`", |_| Ok(()))?;
    let is_name = draft.verb.takes(Clause::Name)
        && reader.peek().and_then(|token| token.value()).is_some_and(|w| !duration::looks_like(&w));
    if is_name {
        let read = reader.value("a DNS name", name::dns)?;
        draft.place(Clause::Name, "the name", keyword.span.start..read.span.end)?;
        draft.parts.name = Some(read.value);
    } else {
        let read = reader.value("a duration", duration::parse)?;
        draft.place(Clause::For, "`for`", keyword.span.start..read.span.end)?;
        draft.clauses.duration = Some(read.value);
    }
    Ok(())
}

/// `at most N [per second]`
fn at_most(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`at`", |_| Ok(()))?;
    let expect = |expected: &'static str| {
        move |word: &str| {
            word.eq_ignore_ascii_case(expected).then_some(()).ok_or_else(|| {
                Mistake::new(format!("expected `{expected}`, found `{word}`"))
                    .help("write `at most 100` or `at most 10 per second`")
            })
        }
    };
    reader.value("`most`", expect("most"))?;
    let read = reader.value("a number", |word| number::count::<u64>("at most", word))?;
    if !reader.eat("per") {
        draft.place(Clause::AtMost, "`at most`", keyword.span.start..read.span.end)?;
        draft.clauses.at_most = Some(read.value);
        return Ok(());
    }
    let second = reader.value("`second`", expect("second"))?;
    let per_second = u32::try_from(read.value).map_err(|_| Fail {
        span: read.span,
        mistake: Mistake::new(format!("`{}` per second is too many", read.value))
            .help(format!("at most {}", u32::MAX)),
    })?;
    let span = keyword.span.start..second.span.end;
    draft.place(Clause::AtMostPerSecond, "`at most … per second`", span)?;
    draft.clauses.at_most_per_second = Some(per_second);
    Ok(())
}

/// `per flow`
fn per_flow(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`per`", |_| Ok(()))?;
    let flow = reader.value("`flow`", |word| {
        word.eq_ignore_ascii_case("flow").then_some(()).ok_or_else(|| {
            Mistake::new(format!("expected `flow`, found `{word}`"))
                .help("write `limit 1mbit per flow`; so many a second is `at most 10 per second`")
        })
    })?;
    draft.place(Clause::PerFlow, "`per flow`", keyword.span.start..flow.span.end)?;
    draft.parts.per_flow = true;
    Ok(())
}

/// `with ERRNO[*N][, …]`, or `with ANSWER` of `fail dns`
fn with(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    let keyword = reader.value("`with`", |_| Ok(()))?;
    let end = if draft.verb.subject == Subject::Dns {
        let read = reader.value("a DNS answer", DnsAnswer::expect)?;
        draft.parts.answer = Some(read.value);
        read.span.end
    } else {
        let read = reader.list("an errno", word::weighted_errno)?;
        draft.parts.errnos = Some(read.value);
        read.span.end
    };
    draft.place(Clause::With, "`with`", keyword.span.start..end)
}

/// How long, how far or how fast: what the verb is measured in.
fn amount(reader: &mut Reader<'_>, draft: &mut Draft) -> Result<(), Fail> {
    match draft.verb.amount {
        Amount::Rate => {
            let read = reader.value("a rate", rate::parse)?;
            draft.place(Clause::Rate, "the rate", read.span)?;
            draft.parts.rate = Some(read.value);
        }
        Amount::Offset => {
            let read = reader.value("an offset", duration::offset)?;
            draft.place(Clause::By, "the offset", read.span)?;
            draft.parts.offset_ns = Some(read.value);
        }
        Amount::Latencies => {
            let read = reader.list("a duration", word::weighted_latency)?;
            draft.place(Clause::By, "the duration", read.span)?;
            match read.value[..] {
                [only] => draft.parts.by = Some(only.length),
                _ => draft.parts.several = Some(Spread::OneOf(read.value)),
            }
        }
        // Where it does not belong, that is said when the sentence has been read.
        Amount::Duration | Amount::Nothing => {
            let read = reader.value("a duration", duration::parse)?;
            draft.place(Clause::By, "the duration", read.span)?;
            draft.parts.by = Some(read.value);
        }
    }
    Ok(())
}
