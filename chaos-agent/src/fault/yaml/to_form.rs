//! A fault to its form.

use std::time::Duration;

use serde_saphyr::{Location, Spanned};

use super::{
    form::{By, Corrupt, Delay, End, Fail, FailDns, Form, Kill, Limit, NoParts, Slow},
    scalar::{Leaf, Scalar},
};
use crate::fault::{
    model::{Call, Fault, HowOften, Latency, Peer, PortRange, Side, Spread, Verb, WeightedLatency},
    value::{
        chance, duration, peer, rate,
        word::{Word, print_weighted_errno, print_weighted_latency},
    },
};

impl From<&Fault> for Form {
    fn from(fault: &Fault) -> Self {
        let mut form = Self {
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
        put_verb(&mut form, &fault.verb);
        put_chance(&mut form, fault);
        if let Some(peer) = &fault.peer {
            put_peer(&mut form, peer);
        }
        form
    }
}

fn put_verb(form: &mut Form, verb: &Verb) {
    let no_parts = || Some(unplaced(NoParts {}));
    match verb {
        Verb::Drop => form.drop = no_parts(),
        Verb::Corrupt { silent } => form.corrupt = Some(unplaced(Corrupt { silent: *silent })),
        Verb::Delay(latency) => form.delay = Some(unplaced(delay(latency, None))),
        Verb::DelayDns { latency, name } => {
            form.delay = Some(unplaced(delay(latency, Some(name))));
        }
        Verb::Duplicate => form.duplicate = no_parts(),
        Verb::Reorder { by } => form.reorder = Some(unplaced(By { by: time(*by) })),
        Verb::Limit { bits_per_second, per_flow } => {
            let rate = word(&rate::print(*bits_per_second));
            form.limit = Some(unplaced(Limit { rate, per_flow: *per_flow }));
        }
        Verb::Reset => form.reset = no_parts(),
        Verb::Fail { calls, errnos } => {
            let errnos = errnos.iter().map(|errno| word(&print_weighted_errno(*errno)));
            let with = unplaced(errnos.collect());
            form.fail = Some(unplaced(Fail { calls: names(calls), with }));
        }
        Verb::FailDns { answer, name } => {
            let parts = FailDns { with: word(answer.word()), name: word(name) };
            form.fail_dns = Some(unplaced(parts));
        }
        Verb::Slow { calls, by, jitter } => {
            let parts = Slow { calls: names(calls), by: time(*by), jitter: jitter.map(time) };
            form.slow = Some(unplaced(parts));
        }
        Verb::Kill { calls } => form.kill = Some(unplaced(Kill { calls: names(calls) })),
        Verb::SkewClock { offset_ns } => {
            form.skew_clock = Some(unplaced(By { by: word(&duration::print_offset(*offset_ns)) }));
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
fn put_chance(form: &mut Form, fault: &Fault) {
    let own_unit = fault.chance.of == fault.verb.default_unit();
    match fault.chance.how {
        HowOften::Always if own_unit => {}
        HowOften::Always => form.chance = Some(word("100%")),
        HowOften::Probability(probability) => {
            form.chance = Some(word(&chance::print_percentage(probability)));
        }
        HowOften::Bursts { share, length } => {
            form.chance = Some(word(&chance::print_percentage(share)));
            form.bursts_of = Some(number(length.into()));
        }
        HowOften::EveryNth(nth) => form.every = Some(number(nth.into())),
    }
    if !own_unit {
        form.of = Some(word(fault.chance.of.word()));
    }
}

fn put_peer(form: &mut Form, found: &Peer) {
    let networks = found.networks.iter().map(|net| word(&peer::print_network(net))).collect();
    let pods = found.pods.keys().map(|pod| word(&pod.to_string())).collect();
    let ports = found.ports.iter().map(ports).collect();
    match found.side {
        Side::To => form.to = Some(unplaced(End { networks, pods, ports })),
        Side::From => form.from = Some(unplaced(End { networks, pods, ports })),
        Side::Either => form.ports = Some(unplaced(ports)),
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
