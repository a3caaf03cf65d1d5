//! What a user asks for, free of any kernel or Kubernetes notion.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use ipnet::IpNet;
use jiff::Timestamp;

use super::{value::peer::join_ports, verbs::Subject};

/// One sentence of the fault language: a verb, what it applies to, how often, where, how long.
///
/// A `Fault` that came out of the parser or the YAML reader is *well formed*: its clauses go
/// together. Whether this kernel can do it is the planner's question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    pub verb: Verb,
    /// How often a matching event is hit.
    pub chance: Chance,
    /// As written; `None` lets [`Fault::directions`] decide.
    pub direction: Option<Direction>,
    pub protocol: Option<Protocol>,
    pub peer: Option<Peer>,
    /// `except …`: what is left alone, whatever the rest says.
    pub except: Option<Except>,
    /// `under PATH`: files at or below this path, as the target sees it.
    pub under: Option<String>,
    /// `in container NAME`: only this container of the target pod.
    pub container: Option<String>,
    /// `for DUR`: how long, from the moment the fault begins; `None` takes the policy's default.
    pub duration: Option<Duration>,
    /// `until TIME`: the end at the latest, by the wall clock, whatever `for` says.
    pub until: Option<Timestamp>,
    /// `after DUR`: begin this long after arming.
    pub after: Option<Duration>,
    /// `at most N`: injections in all.
    pub at_most: Option<u64>,
    /// `at most N per second`.
    pub at_most_per_second: Option<u32>,
    /// `seed N`: makes the decisions repeatable; `None` lets the agent pick (and print) one.
    pub seed: Option<u64>,
    /// `as NAME`: tells it from the same fault under another name, which has a clock of its own.
    pub name: Option<String>,
    /// `guarded`: it ends when whoever watches over it is not there any more.
    pub guarded: bool,
    /// `shadow …`: count what would have been done, do nothing.
    pub shadow: bool,
}

/// What is done to an event that the fault hits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Verb {
    Drop,
    /// `silent`: the checksum is made valid again, so that the application reads wrong bytes.
    Corrupt {
        silent: bool,
    },
    Delay(Latency),
    /// Of questions for a name.
    DelayDns {
        latency: Latency,
        name: String,
    },
    Duplicate,
    Reorder {
        by: Duration,
    },
    Limit {
        bits_per_second: u64,
        /// How long a packet may wait for those before it; one that would wait longer is lost.
        queue: Option<Duration>,
        /// Every flow has the rate to itself.
        per_flow: bool,
    },
    Reset,
    Fail {
        calls: Vec<Call>,
        errnos: Vec<WeightedErrno>,
    },
    FailDns {
        answer: DnsAnswer,
        name: String,
    },
    Slow {
        calls: Vec<Call>,
        by: Duration,
        jitter: Option<Duration>,
    },
    /// SIGKILL to the caller.
    Kill {
        calls: Vec<Call>,
    },
    /// SIGKILL to the containers that run, once.
    KillContainer,
    /// Nanoseconds ahead (positive) or behind of the real clock.
    SkewClock {
        offset_ns: i128,
    },
}

/// How long something is held.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Latency {
    pub spread: Spread,
    /// With this chance it is what it was the time before.
    pub correlation: Option<Probability>,
}

/// What a latency is drawn from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Spread {
    /// `100ms jitter 20ms normal`
    Around {
        by: Duration,
        /// How far it is spread.
        jitter: Option<Duration>,
        distribution: Option<Distribution>,
    },
    /// `1ms, 2ms*3, 40ms`: two at least, none of them twice.
    OneOf(Vec<WeightedLatency>),
    /// `from file latencies.txt`
    File {
        /// As it was written: whoever reads the file knows from where.
        path: String,
        /// What was in it ([`read_latencies`](super::read_latencies)); empty before it is read.
        latencies: Vec<WeightedLatency>,
    },
}

/// A latency and how often it is picked relative to the others of its list (`2ms*3`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightedLatency {
    pub length: Duration,
    /// 1 to 1000.
    pub weight: u16,
}

/// A system call by the name its manual page has, lower case (`openat`, `fsync`, `connect`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Call(pub(super) String);

impl Call {
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// An errno and how often it is picked relative to the others of its list (`ENOSPC*3, EIO`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightedErrno {
    pub errno: Errno,
    /// 1 to 1000.
    pub weight: u16,
}

/// A real Linux errno, 1 to 133.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Errno(pub(super) u16);

impl Errno {
    pub fn number(self) -> u16 {
        self.0
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    Uniform,
    Normal,
    Pareto,
    ParetoNormal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DnsAnswer {
    NxDomain,
    ServFail,
    Refused,
    Timeout,
}

/// How often, and what is counted: each packet, each flow as a whole, or each call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chance {
    pub how: HowOften,
    pub of: Unit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HowOften {
    Always,
    Probability(Probability),
    /// `every 5th`: the 5th, 10th, 15th … matching event. At least 2.
    EveryNth(u32),
    /// `from the 10th`, `the first 3`, `the 3rd to the 6th`: those of the matching events, counted from 1. Not all of
    /// them.
    Window {
        /// At least 1.
        first: u32,
        /// Not before `first`; `None`: without end.
        last: Option<u32>,
    },
    /// `5% in bursts of 10`: that share of the events, in runs that are this long on average.
    Bursts {
        share: Probability,
        /// At least 2.
        length: u32,
    },
}

/// A probability strictly between 0 and 1, exact to eight decimals (six of a percentage).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Probability(u32);

impl Probability {
    /// What stands for certainty.
    pub const ONE: u32 = 100_000_000;

    /// `parts` in 100 million; `None` unless strictly between 0 and [`Probability::ONE`].
    pub fn from_parts(parts: u32) -> Option<Self> {
        (parts > 0 && parts < Self::ONE).then_some(Self(parts))
    }

    pub fn parts(self) -> u32 {
        self.0
    }
}

/// What a chance is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    Packets,
    Flows,
    Calls,
}

/// Seen from the target: egress leaves it, ingress arrives at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    Egress,
    Ingress,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
}

/// Which end of the traffic, as in tcpdump: `to` is the destination, `from` the source, a bare
/// `port N` either of the two.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    pub side: Side,
    /// Empty: any address. Never with host bits set; sorted, without duplicates. Empty where
    /// `side` is [`Side::Either`].
    pub networks: BTreeSet<IpNet>,
    /// Pods in place of networks, each with its addresses as far as somebody has looked them up: none
    /// as it is written. Empty where `side` is [`Side::Either`].
    pub pods: BTreeMap<PodRef, BTreeSet<IpAddr>>,
    /// What an experiment knows by these names ([`Fault::replace_names`]), beside networks. Empty where `side` is
    /// [`Side::Either`], and where there are pods.
    pub names: BTreeSet<String>,
    /// Empty: any port. Sorted, not overlapping, not adjacent.
    pub ports: Vec<PortRange>,
}

/// What is left alone: traffic that has one of these addresses, or one of these ports, at either end. One of the
/// lists is not empty; addresses and ports do not stand together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Except {
    /// Never with host bits set; sorted, without duplicates.
    pub networks: BTreeSet<IpNet>,
    /// Each with its addresses as far as somebody has looked them up: none as it is written.
    pub pods: BTreeMap<PodRef, BTreeSet<IpAddr>>,
    /// What an experiment knows by these names.
    pub names: BTreeSet<String>,
    /// Sorted, not overlapping, not adjacent.
    pub ports: Vec<PortRange>,
}

/// What stands behind a name of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    pub networks: BTreeSet<IpNet>,
    /// Where a fault about it names no port; empty: any.
    pub ports: Vec<PortRange>,
    /// Ports whose traffic goes to another port in the end, with that: a fault about one is about both.
    pub targets: Vec<(u16, u16)>,
}

impl Except {
    /// The networks, and the addresses of the pods.
    pub fn all_networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let of_pods = self.pods.values().flatten().copied().map(IpNet::from);
        self.networks.iter().copied().chain(of_pods)
    }
}

/// A pod of the target's node, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodRef {
    pub namespace: String,
    pub name: String,
}

impl Peer {
    /// The networks, or the addresses of the pods.
    pub fn all_networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        let of_pods = self.pods.values().flatten().copied().map(IpNet::from);
        self.networks.iter().copied().chain(of_pods)
    }

    /// Whether it is not any address.
    pub fn has_addresses(&self) -> bool {
        !(self.networks.is_empty() && self.pods.is_empty() && self.names.is_empty())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    To,
    From,
    Either,
}

/// Both ends inclusive, `first <= last`, port 0 excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl Fault {
    /// The pods that it names, with their addresses as far as somebody has looked them up.
    pub fn pods(&self) -> impl Iterator<Item = (&PodRef, &BTreeSet<IpAddr>)> {
        let of_peer = self.peer.iter().flat_map(|peer| &peer.pods);
        of_peer.chain(self.except.iter().flat_map(|except| &except.pods))
    }

    /// The names of an experiment that it has.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let of_peer = self.peer.iter().flat_map(|peer| &peer.names);
        let of_except = self.except.iter().flat_map(|except| &except.names);
        of_peer.chain(of_except).map(String::as_str)
    }

    /// Puts what stands behind them in place of names. A name that `named` does not know, or knows no network of, stays.
    ///
    /// Ports are put in where the peer has none, and is nothing but names that all have ports: beside a network, or a
    /// name with any port, they would take traffic out that is meant.
    pub fn replace_names(&mut self, named: impl Fn(&str) -> Option<Named>) {
        if let Some(peer) = &mut self.peer {
            let is_bare = peer.ports.is_empty() && peer.networks.is_empty();
            let known = replace(&mut peer.names, &mut peer.networks, &named);
            let has_ports = |one: &Named| !one.ports.is_empty();
            if is_bare && peer.names.is_empty() && known.iter().all(has_ports) {
                let ports = known.into_iter().flat_map(|one| one.ports).collect();
                peer.ports = join_ports(ports);
            } else if !peer.ports.is_empty() {
                let is_meant = |port: u16| {
                    peer.ports.iter().any(|range| (range.first..=range.last).contains(&port))
                };
                let targets = known.iter().flat_map(|one| &one.targets);
                let meant = targets.filter(|(port, _)| is_meant(*port));
                let ports = meant.map(|(_, target)| PortRange { first: *target, last: *target });
                let ports = ports.chain(peer.ports.iter().copied()).collect();
                peer.ports = join_ports(ports);
            }
        }
        if let Some(except) = &mut self.except {
            replace(&mut except.names, &mut except.networks, &named);
        }
    }

    /// The same, for whoever looks them up.
    pub fn pods_mut(&mut self) -> impl Iterator<Item = (&PodRef, &mut BTreeSet<IpAddr>)> {
        let of_peer = self.peer.iter_mut().flat_map(|peer| &mut peer.pods);
        of_peer.chain(self.except.iter_mut().flat_map(|except| &mut except.pods))
    }

    /// A fault of this verb with every clause left out.
    pub fn new(verb: Verb) -> Self {
        let of = verb.default_unit();
        Self {
            verb,
            chance: Chance { how: HowOften::Always, of },
            direction: None,
            protocol: None,
            peer: None,
            except: None,
            under: None,
            container: None,
            duration: None,
            until: None,
            after: None,
            at_most: None,
            at_most_per_second: None,
            seed: None,
            name: None,
            guarded: false,
            shadow: false,
        }
    }

    /// The fault without what was looked up for it: the same, wherever its pods are.
    #[must_use]
    pub fn as_written(&self) -> Self {
        let mut fault = self.clone();
        fault.peer.iter_mut().flat_map(|peer| peer.pods.values_mut()).for_each(BTreeSet::clear);
        fault
    }

    /// The fault without what says who asked for it and until when: what it does is the same.
    #[must_use]
    pub fn without_origin(&self) -> Self {
        Self { until: None, name: None, guarded: false, ..self.clone() }
    }

    /// The directions a packet verb acts in: as written, or egress for `to`, ingress for
    /// `from`, both when neither is written. Questions of the DNS leave the target.
    pub fn directions(&self) -> &'static [Direction] {
        use Direction::{Egress, Ingress};
        if self.verb.dns_name().is_some() {
            return &[Egress];
        }
        match (self.direction, self.peer.as_ref().map(|peer| peer.side)) {
            (Some(Egress), _) | (None, Some(Side::To)) => &[Egress],
            (Some(Ingress), _) | (None, Some(Side::From)) => &[Ingress],
            (None, Some(Side::Either) | None) => &[Egress, Ingress],
        }
    }
}

impl Verb {
    /// Whether the verb acts on packets; otherwise on calls (or on processes or containers as a whole).
    pub fn acts_on_packets(&self) -> bool {
        matches!(self.row().subject, Subject::Packets | Subject::Dns)
    }

    /// The system calls it names; none for the others.
    pub fn calls(&self) -> &[Call] {
        match self {
            Self::Fail { calls, .. } | Self::Slow { calls, .. } | Self::Kill { calls } => calls,
            Self::Drop
            | Self::Corrupt { .. }
            | Self::Delay(_)
            | Self::DelayDns { .. }
            | Self::Duplicate
            | Self::Reorder { .. }
            | Self::Limit { .. }
            | Self::Reset
            | Self::FailDns { .. }
            | Self::KillContainer
            | Self::SkewClock { .. } => &[],
        }
    }

    /// The name that DNS is asked for, where it is about such questions.
    pub fn dns_name(&self) -> Option<&str> {
        if let Self::DelayDns { name, .. } | Self::FailDns { name, .. } = self {
            return Some(name);
        }
        None
    }

    /// How long it holds what it hits, where that is a latency.
    pub fn latency(&self) -> Option<&Latency> {
        if let Self::Delay(latency) | Self::DelayDns { latency, .. } = self {
            return Some(latency);
        }
        None
    }

    /// The file that its latencies are in and the place for them, where they have not been read.
    pub fn unread_file(&mut self) -> Option<(&str, &mut Vec<WeightedLatency>)> {
        if let Self::Delay(latency) | Self::DelayDns { latency, .. } = self
            && let Spread::File { path, latencies } = &mut latency.spread
            && latencies.is_empty()
        {
            return Some((path, latencies));
        }
        None
    }

    /// The words the sentence begins with, one or two.
    pub fn words(&self) -> &'static str {
        self.row().words
    }

    /// The word the sentence begins with.
    pub fn word(&self) -> &'static str {
        self.row().first_word()
    }

    /// What a chance counts when the sentence does not say.
    pub fn default_unit(&self) -> Unit {
        if self.acts_on_packets() { Unit::Packets } else { Unit::Calls }
    }
}

/// Moves the networks behind the names that are known among `networks`; what was known.
fn replace(
    names: &mut BTreeSet<String>,
    networks: &mut BTreeSet<IpNet>,
    named: impl Fn(&str) -> Option<Named>,
) -> Vec<Named> {
    let mut known = Vec::new();
    names.retain(|name| match named(name) {
        // No network at all would be taken for any address.
        Some(found) if !found.networks.is_empty() => {
            networks.extend(&found.networks);
            known.push(found);
            false
        }
        Some(_) | None => true,
    });
    known
}

impl fmt::Display for PodRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        })
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Egress => "egress",
            Self::Ingress => "ingress",
        })
    }
}
