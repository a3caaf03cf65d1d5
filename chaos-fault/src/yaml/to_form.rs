//! A fault to its form.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;

use super::{
    form::{Delay, End, Form, NoParts, Window},
    placed::Placed,
    scalar::{Leaf, Scalar},
};
use crate::{
    model::{
        Call, Except, Fault, HowOften, Latency, Peer, PodRef, PortRange, Side, Spread,
        WeightedLatency,
    },
    value::{
        chance, duration, moment, peer,
        word::{Word, print_weighted_latency},
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
            until: fault.until.map(|until| word(&moment::print(until))),
            at_most: fault.at_most.map(number),
            at_most_per_second: fault.at_most_per_second.map(|count| number(count.into())),
            seed: fault.seed.map(number),
            name: fault.name.as_deref().map(word),
            guarded: fault.guarded.then(|| unplaced(true)),
            ..Self::default()
        };
        (fault.verb.row().write)(&fault.verb, &mut form);
        put_chance(&mut form, fault);
        if let Some(peer) = &fault.peer {
            put_peer(&mut form, peer);
        }
        form.except = fault.except.as_ref().map(|except| {
            let Except { networks, pods, names, ports } = except;
            unplaced(end((networks, names), pods.keys(), ports))
        });
        form
    }
}

pub(crate) fn delay(latency: &Latency, dns: Option<&str>) -> Delay {
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
        HowOften::Window { first, last } => {
            let first = (first > 1).then(|| number(first.into()));
            let last = last.map(|last| number(last.into()));
            form.window = Some(unplaced(Window { first, last }));
        }
    }
    if !own_unit {
        form.of = Some(word(fault.chance.of.word()));
    }
}

fn put_peer(form: &mut Form, found: &Peer) {
    let end = end((&found.networks, &found.names), found.pods.keys(), &found.ports);
    match found.side {
        Side::To => form.to = Some(unplaced(end)),
        Side::From => form.from = Some(unplaced(end)),
        Side::Either => form.ports = Some(unplaced(end.ports)),
    }
}

fn end<'a>(
    (networks, names): (&BTreeSet<IpNet>, &BTreeSet<String>),
    pods: impl Iterator<Item = &'a PodRef>,
    listed: &[PortRange],
) -> End {
    End {
        networks: networks.iter().map(|net| word(&peer::print_network(net))).collect(),
        pods: pods.map(|pod| word(&pod.to_string())).collect(),
        names: names.iter().map(|name| word(name)).collect(),
        ports: listed.iter().map(ports).collect(),
    }
}

fn ports(range: &PortRange) -> Leaf {
    if range.first == range.last {
        number(range.first.into())
    } else {
        word(&peer::print_ports(*range))
    }
}

pub(crate) fn names(calls: &[Call]) -> Placed<Vec<Leaf>> {
    unplaced(calls.iter().map(|call| word(call.name())).collect())
}

pub(crate) fn time(length: Duration) -> Leaf {
    word(&duration::print(length))
}

pub(crate) fn word(text: &str) -> Leaf {
    unplaced(Scalar::Word(text.to_owned()))
}

fn number(number: u64) -> Leaf {
    unplaced(Scalar::Number(number))
}

/// The field of a verb without parts.
pub(crate) fn no_parts() -> Placed<NoParts> {
    unplaced(NoParts {})
}

/// A value that no text was read for.
pub(crate) fn unplaced<T>(value: T) -> Placed<T> {
    Placed::nowhere(value)
}
