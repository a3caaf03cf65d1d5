//! Any well-formed fault, for the property tests.

use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use proptest::{
    collection::{btree_set, vec},
    option,
    prelude::*,
    sample::{select, subsequence},
};

use super::{
    check::check,
    model::{
        Call, Chance, Direction, Distribution, DnsAnswer, Errno, Except, Fault, HowOften, Latency,
        Peer, PodRef, PortRange, Probability, Protocol, Side, Spread, Unit, Verb, WeightedErrno,
        WeightedLatency,
    },
    value::{duration::MAX_NS, peer::join_ports, word::Word},
};

fn word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    select(W::WORDS.iter().map(|(_, value)| *value).collect::<Vec<_>>())
}

fn duration() -> impl Strategy<Value = Duration> {
    let any_scale = (1_u64..1000, 0_u32..11).prop_map(|(n, power)| n * 10_u64.pow(power));
    prop_oneof![any_scale, 1..u64::try_from(MAX_NS).unwrap()].prop_map(Duration::from_nanos)
}

fn moment() -> impl Strategy<Value = Timestamp> {
    let nanosecond = prop_oneof![Just(0), Just(250_000_000), 0..1_000_000_000_i32];
    (0..Timestamp::MAX.as_second(), nanosecond)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

fn probability() -> impl Strategy<Value = Probability> {
    (1..Probability::ONE).prop_map(|parts| Probability::from_parts(parts).unwrap())
}

fn jittered() -> impl Strategy<Value = (Duration, Option<Duration>)> {
    (duration(), option::of(0.0..=1.0))
        .prop_map(|(by, share)| {
            (by, share.map(|share| by.mul_f64(share).max(Duration::from_nanos(1))))
        })
        .prop_map(|(by, jitter)| (by, jitter.map(|jitter| jitter.min(by))))
}

fn weighted_latencies() -> impl Strategy<Value = Vec<WeightedLatency>> {
    let lengths = btree_set(duration(), 2..6).prop_map(Vec::from_iter).prop_shuffle();
    (lengths, vec(prop_oneof![Just(1), 1_u16..=1000], 6)).prop_map(|(lengths, weights)| {
        let weighted = lengths.into_iter().zip(weights);
        weighted.map(|(length, weight)| WeightedLatency { length, weight }).collect()
    })
}

fn latency() -> impl Strategy<Value = Latency> {
    let around =
        (jittered(), option::of(word::<Distribution>())).prop_map(|((by, jitter), shape)| {
            Spread::Around { by, jitter, distribution: jitter.and(shape) }
        });
    // What was read from a file is not in the sentence.
    let file = "[a-z./ ]{0,6}[a-z]".prop_map(|path| Spread::File { path, latencies: Vec::new() });
    let spread = prop_oneof![around, weighted_latencies().prop_map(Spread::OneOf), file];
    (spread, option::of(probability())).prop_map(|(spread, correlation)| {
        let is_constant = matches!(spread, Spread::Around { jitter: None, .. });
        Latency { spread, correlation: correlation.filter(|_| !is_constant) }
    })
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let files = vec!["openat", "read", "write", "fsync", "mmap", "brk", "getdents64"];
    let sockets = vec!["connect", "bind", "sendto", "setsockopt", "accept4"];
    let creating = vec!["socket", "socketpair", "connect"];
    let some = |names: Vec<&'static str>| {
        let count = 1..=names.len();
        subsequence(names, count).prop_shuffle()
    };
    prop_oneof![some(files), some(sockets), some(creating)]
        .prop_map(|names| names.into_iter().map(|name| Call::from_name(name).unwrap()).collect())
}

fn errnos() -> impl Strategy<Value = Vec<WeightedErrno>> {
    let all: Vec<Errno> = Errno::all().collect();
    (subsequence(all, 1..5).prop_shuffle(), vec(prop_oneof![Just(1), 1_u16..=1000], 5)).prop_map(
        |(errnos, weights)| {
            let weighted = errnos.into_iter().zip(weights);
            weighted.map(|(errno, weight)| WeightedErrno { errno, weight }).collect()
        },
    )
}

fn verb() -> impl Strategy<Value = Verb> {
    let dns_name = || {
        prop_oneof![Just("*".to_owned()), "(\\*\\.)?[a-z][a-z0-9_-]{0,8}(\\.[a-z0-9-]{1,8}){1,3}",]
    };
    let offset = (any::<bool>(), duration()).prop_map(|(behind, distance)| {
        let ns = i128::try_from(distance.as_nanos()).unwrap();
        if behind { -ns } else { ns }
    });
    prop_oneof![
        Just(Verb::Drop),
        any::<bool>().prop_map(|silent| Verb::Corrupt { silent }),
        latency().prop_map(Verb::Delay),
        (latency(), dns_name()).prop_map(|(latency, name)| Verb::DelayDns { latency, name }),
        Just(Verb::Duplicate),
        duration().prop_map(|by| Verb::Reorder { by }),
        limit(),
        Just(Verb::Reset),
        (calls(), errnos()).prop_map(|(calls, errnos)| Verb::Fail { calls, errnos }),
        (word::<DnsAnswer>(), dns_name()).prop_map(|(answer, name)| Verb::FailDns { answer, name }),
        (calls(), jittered()).prop_map(|(calls, (by, jitter))| Verb::Slow { calls, by, jitter }),
        calls().prop_map(|calls| Verb::Kill { calls }),
        Just(Verb::KillContainer),
        offset.prop_map(|offset_ns| Verb::SkewClock { offset_ns }),
    ]
}

fn limit() -> impl Strategy<Value = Verb> {
    let rate = prop_oneof![8..=u64::MAX, (1_u64..2000).prop_map(|n| n * 1_000_000)];
    (rate, option::of(duration()), any::<bool>()).prop_map(|(bits_per_second, queue, per_flow)| {
        Verb::Limit { bits_per_second, queue, per_flow }
    })
}

fn chance() -> impl Strategy<Value = Chance> {
    let how = prop_oneof![
        Just(HowOften::Always),
        probability().prop_map(HowOften::Probability),
        (2_u32..).prop_map(HowOften::EveryNth),
        (1_u32..100, option::of(0_u32..100)).prop_map(|(first, length)| {
            let last = length.map(|length| first + length);
            HowOften::Window { first: if last.is_none() { first + 1 } else { first }, last }
        }),
        (probability(), 2_u32..).prop_map(|(share, length)| HowOften::Bursts { share, length }),
    ];
    (how, word::<Unit>()).prop_map(|(how, of)| Chance { how, of })
}

fn peer() -> impl Strategy<Value = Peer> {
    let v4 = (any::<u32>(), 0_u8..=32)
        .prop_map(|(bits, prefix)| IpNet::V4(Ipv4Net::new(bits.into(), prefix).unwrap().trunc()));
    // With the highest bit set, so that none is a mapped IPv4 address.
    let v6 = (any::<u128>(), 0_u8..=128).prop_map(|(bits, prefix)| {
        IpNet::V6(Ipv6Net::new((bits | 1 << 127).into(), prefix).unwrap().trunc())
    });
    let ports = vec((1_u16.., prop_oneof![Just(0), 0_u16..500]), 0..4).prop_map(|ranges| {
        let ranges = ranges.into_iter();
        join_ports(
            ranges
                .map(|(first, more)| PortRange { first, last: first.saturating_add(more) })
                .collect(),
        )
    });
    let pods = btree_set(("[a-z][a-z0-9-]{0,5}[a-z0-9]", "[a-z0-9]{1,3}(\\.[a-z]{1,3})?"), 1..3)
        .prop_map(|pods| {
            let pods = pods.into_iter().map(|(namespace, name)| PodRef { namespace, name });
            pods.map(|pod| (pod, Default::default())).collect()
        });
    let side = select(vec![Side::To, Side::From, Side::Either]);
    let names = btree_set("[a-z]([a-z0-9-]{0,5}[a-z0-9])?", 0..3);
    let networks = (btree_set(prop_oneof![v4, v6], 0..4), names)
        .prop_map(|(networks, names)| (networks, Default::default(), names));
    let pods = pods.prop_map(|pods| (Default::default(), pods, Default::default()));
    let addresses = prop_oneof![3 => networks, 1 => pods];
    (side, addresses, ports).prop_map(|(side, addresses, ports)| {
        let is_either = side == Side::Either;
        let (networks, pods, names) = if is_either { Default::default() } else { addresses };
        Peer { side, networks, pods, names, ports }
    })
}

fn except() -> impl Strategy<Value = Except> {
    (peer(), peer(), any::<bool>()).prop_map(|(one, other, is_ports)| match is_ports {
        true => Except { ports: one.ports, ..Except::default() },
        false => Except {
            networks: one.networks,
            pods: if one.pods.is_empty() { other.pods } else { one.pods },
            names: one.names,
            ports: Vec::new(),
        },
    })
}

/// Any well-formed fault, over all verbs and clauses.
///
/// Draws clauses at random and lets go of those that do not go with the rest, as [`check`]
/// tells, so that no rule is written twice.
pub(super) fn fault() -> impl Strategy<Value = Fault> {
    let path = "/([a-z\"'\\\\,;# ü.-]{0,6}[a-z](/[A-Z0-9 ]{1,5}x){0,2})?";
    let what = (verb(), chance(), option::of(word::<Direction>()), option::of(word::<Protocol>()));
    let where_ = (
        option::of(peer()),
        option::of(except()),
        option::of(path),
        option::of("[a-z][a-z0-9-]{0,5}[a-z0-9]"),
    );
    let when = (option::of(duration()), option::of(duration()), option::of(moment()));
    let part = "[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?(\\.[a-z0-9]{1,3})?";
    let origin = (option::of(vec(part, 1..=3).prop_map(|parts| parts.join("/"))), any::<bool>());
    let limits = (option::of(1_u64..), option::of(1_u32..), option::of(any::<u64>()));
    let all = (what, where_, when, limits, origin, any::<bool>());
    all.prop_map(|(what, where_, when, limits, origin, shadow)| {
        let plain = Fault::new(what.0.clone());
        let mut fault = Fault { verb: what.0, shadow, ..plain };
        keep(&mut fault, |fault| fault.chance = what.1);
        keep(&mut fault, |fault| fault.under = where_.2);
        keep(&mut fault, |fault| fault.direction = what.2);
        keep(&mut fault, |fault| fault.protocol = what.3);
        keep(&mut fault, |fault| fault.peer = where_.0);
        keep(&mut fault, |fault| fault.except = where_.1);
        keep(&mut fault, |fault| fault.container = where_.3);
        keep(&mut fault, |fault| fault.duration = when.0);
        keep(&mut fault, |fault| fault.after = when.1);
        keep(&mut fault, |fault| fault.until = when.2);
        keep(&mut fault, |fault| fault.at_most = limits.0);
        keep(&mut fault, |fault| fault.at_most_per_second = limits.1);
        keep(&mut fault, |fault| fault.seed = limits.2);
        keep(&mut fault, |fault| fault.name = origin.0);
        keep(&mut fault, |fault| fault.guarded = origin.1);
        fault
    })
}

/// Applies a change only if the fault stays well formed.
fn keep(fault: &mut Fault, change: impl FnOnce(&mut Fault)) {
    let mut changed = fault.clone();
    change(&mut changed);
    if check(&changed).is_empty() {
        *fault = changed;
    }
}
