//! A fault to its twin.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::{
    scalar::{Leaf, Scalar},
    twin::{By, Corrupt, Delay, End, Fail, FailDns, Kill, Limit, NoParts, Slow, Twin},
};
use crate::fault::{
    model::{Call, Fault, HowOften, Latency, Peer, PortRange, Side, Spread, Verb, WeightedLatency},
    value::{
        chance, duration, peer, rate,
        word::{Word, print_weighted_errno, print_weighted_latency},
    },
};

impl From<&Fault> for Twin {
    fn from(fault: &Fault) -> Self {
        let mut twin = Self {
            shadow: fault.shadow.then(|| unplaced(true)),
            direction: fault.direction.map(|direction| word(direction.word())),
            protocol: fault.protocol.map(|protocol| word(protocol.word())),
            under: fault.under.as_deref().map(word),
            container: fault.container.as_deref().map(word),
            after: fault.after.map(time),
            duration: fault.duration.map(time),
            at_most: fault.at_most.map(number),
            at_most_per_second: fault.at_most_per_second.map(|count| number(count.into())),
            seed: fault.seed.map(number),
            ..Self::default()
        };
        put_verb(&mut twin, &fault.verb);
        put_chance(&mut twin, fault);
        if let Some(peer) = &fault.peer {
            put_peer(&mut twin, peer);
        }
        twin
    }
}

fn put_verb(twin: &mut Twin, verb: &Verb) {
    let no_parts = || Some(unplaced(NoParts {}));
    match verb {
        Verb::Drop => twin.drop = no_parts(),
        Verb::Corrupt { silent } => twin.corrupt = Some(unplaced(Corrupt { silent: *silent })),
        Verb::Delay(latency) => twin.delay = Some(unplaced(delay(latency, None))),
        Verb::DelayDns { latency, name } => {
            twin.delay = Some(unplaced(delay(latency, Some(name))));
        }
        Verb::Duplicate => twin.duplicate = no_parts(),
        Verb::Reorder { by } => twin.reorder = Some(unplaced(By { by: time(*by) })),
        Verb::Limit { bits_per_second, per_flow } => {
            let rate = word(&rate::print(*bits_per_second));
            twin.limit = Some(unplaced(Limit { rate, per_flow: *per_flow }));
        }
        Verb::Reset => twin.reset = no_parts(),
        Verb::Fail { calls, errnos } => {
            let errnos = errnos.iter().map(|errno| word(&print_weighted_errno(*errno)));
            let with = unplaced(errnos.collect());
            twin.fail = Some(unplaced(Fail { calls: names(calls), with }));
        }
        Verb::FailDns { answer, name } => {
            let parts = FailDns { with: word(answer.word()), name: word(name) };
            twin.fail_dns = Some(unplaced(parts));
        }
        Verb::Slow { calls, by, jitter } => {
            let parts = Slow { calls: names(calls), by: time(*by), jitter: jitter.map(time) };
            twin.slow = Some(unplaced(parts));
        }
        Verb::Kill { calls } => twin.kill = Some(unplaced(Kill { calls: names(calls) })),
        Verb::SkewClock { offset_ns } => {
            twin.skew_clock = Some(unplaced(By { by: word(&duration::print_offset(*offset_ns)) }));
        }
    }
}

fn delay(latency: &Latency, dns: Option<&str>) -> Delay {
    let correlation = latency.correlation.map(|chance| word(&chance::print_percentage(chance)));
    let delay = Delay { correlation, dns: dns.map(word), ..Delay::default() };
    let one_of = |latencies: &[WeightedLatency]| {
        let latencies = latencies.iter().map(|latency| word(&print_weighted_latency(*latency)));
        unplaced(latencies.collect::<Vec<_>>())
    };
    match &latency.spread {
        Spread::Around { by, jitter, distribution } => Delay {
            by: Some(time(*by)),
            jitter: jitter.map(time),
            distribution: distribution.map(|distribution| word(distribution.word())),
            ..delay
        },
        Spread::OneOf(latencies) => Delay { one_of: Some(one_of(latencies)), ..delay },
        Spread::File { path, latencies } => Delay {
            file: Some(word(path)),
            one_of: (!latencies.is_empty()).then(|| one_of(latencies)),
            ..delay
        },
    }
}

/// Leaves out what goes without saying, as the sentence does.
fn put_chance(twin: &mut Twin, fault: &Fault) {
    let own_unit = fault.chance.of == fault.verb.default_unit();
    match fault.chance.how {
        HowOften::Always if own_unit => {}
        HowOften::Always => twin.chance = Some(word("100%")),
        HowOften::Probability(probability) => {
            twin.chance = Some(word(&chance::print_percentage(probability)));
        }
        HowOften::Bursts { share, length } => {
            twin.chance = Some(word(&chance::print_percentage(share)));
            twin.bursts_of = Some(number(length.into()));
        }
        HowOften::EveryNth(nth) => twin.every = Some(number(nth.into())),
    }
    if !own_unit {
        twin.of = Some(word(fault.chance.of.word()));
    }
}

fn put_peer(twin: &mut Twin, found: &Peer) {
    let networks = found.networks.iter().map(|net| word(&peer::print_network(net))).collect();
    let pods = found.pods.keys().map(|pod| word(&pod.to_string())).collect();
    let ports = found.ports.iter().map(ports).collect();
    match found.side {
        Side::To => twin.to = Some(unplaced(End { networks, pods, ports })),
        Side::From => twin.from = Some(unplaced(End { networks, pods, ports })),
        Side::Either => twin.ports = Some(unplaced(ports)),
    }
}

fn ports(range: &PortRange) -> Leaf {
    if range.first == range.last {
        number(range.first.into())
    } else {
        word(&peer::print_ports(*range))
    }
}

fn names(calls: &[Call]) -> Spanned<Vec<Leaf>> {
    unplaced(calls.iter().map(|call| word(call.name())).collect())
}

fn time(length: Duration) -> Leaf {
    word(&duration::print(length))
}

fn word(text: &str) -> Leaf {
    unplaced(Scalar::Word(text.to_owned()))
}

fn number(number: u64) -> Leaf {
    unplaced(Scalar::Number(number))
}

/// A value that no text was read for.
fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(value, Location::UNKNOWN, Location::UNKNOWN)
}
