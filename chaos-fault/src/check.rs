//! Which clauses go together. Text and YAML are held to the same rules.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;

use super::{
    mistake::{Clause, Mistake, Problem},
    model::{
        Call, Direction, Fault, HowOften, Latency, PodRef, PortRange, Probability, Protocol, Side,
        Spread, Unit, Verb, WeightedLatency,
    },
    value::{duration, moment, name, peer, word::MOST_WEIGHT},
    verbs::Subject,
};

/// Everything that keeps the fault from being well formed; nothing if it is.
pub fn check(fault: &Fault) -> Vec<Problem> {
    let mut problems = Problems(Vec::new());
    values(fault, &mut problems);
    match fault.verb.row().subject {
        Subject::Packets | Subject::Dns => about_packets(fault, &mut problems),
        Subject::Calls => about_calls(fault, fault.verb.calls(), &mut problems),
        Subject::Process => about_a_whole(
            fault,
            "it is done to a process as a whole, for as long as the fault lasts",
            &mut problems,
        ),
        Subject::Container => about_a_container(fault, &mut problems),
    }
    problems.0
}

pub(super) struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(
        &mut self,
        clause: Clause,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.0.push(Problem { clause, mistake: Mistake::new(message).help(help) });
    }

    /// Adds a problem unless the condition holds.
    pub(super) fn expect(&mut self, holds: bool, clause: Clause, message: &str, help: &str) {
        if !holds {
            self.add(clause, message, help);
        }
    }
}

/// What a value alone can get wrong, and what the parts of a verb demand of each other.
fn values(fault: &Fault, problems: &mut Problems) {
    (fault.verb.row().check)(&fault.verb, problems);
    if let Some(name) = fault.verb.dns_name() {
        canonical(name, name::dns(name), Clause::Name, problems);
    }
    positive(fault.duration, Clause::For, problems);
    positive(fault.after, Clause::After, problems);
    if let Some(until) = fault.until {
        let fits = moment::fits(until);
        problems.expect(fits, Clause::Until, "the moment is out of range", "from 1970 to 9999");
    }
    if let Some(label) = &fault.name {
        canonical(label, name::of_fault(label), Clause::As, problems);
    }
    let never = "would never do anything";
    problems.expect(fault.at_most != Some(0), Clause::AtMost, never, "at least 1");
    let clause = Clause::AtMostPerSecond;
    problems.expect(fault.at_most_per_second != Some(0), clause, never, "at least 1");
    if let HowOften::Bursts { share, length } = fault.chance.how {
        bursts(fault, share, length, problems);
    }
    let is_correlated = fault.verb.latency().is_some_and(|latency| latency.correlation.is_some());
    problems.expect(
        !is_correlated || fault.chance.of != Unit::Flows,
        Clause::Correlation,
        "a flow keeps its delay, whatever the one before it has",
        "leave `correlation` out, or `of flows`",
    );
    if let HowOften::EveryNth(nth) = fault.chance.how {
        problems.expect(nth >= 2, Clause::Chance, "every first is always", "at least `every 2nd`");
        problems.expect(
            fault.chance.of != Unit::Flows,
            Clause::Unit,
            "flows cannot be counted off",
            "`every 5th` counts packets or calls; write `20% of flows`, or `the first 5 of flows`",
        );
    }
    if let HowOften::Window { first, last } = fault.chance.how {
        problems.expect(first >= 1, Clause::Chance, "the first one is the 1st", "from 1 on");
        problems.expect(
            last.is_none_or(|last| first <= last),
            Clause::Chance,
            "it ends before it begins",
            "the smaller number first: `the 3rd to the 6th`",
        );
        problems.expect(
            (first, last) != (1, None),
            Clause::Chance,
            "from the first on is always",
            "leave it out: always is the default",
        );
    }
    if let Some(path) = &fault.under {
        canonical(path, name::path(path), Clause::Under, problems);
    }
    if let Some(container) = &fault.container {
        canonical(container, name::container(container), Clause::Container, problems);
    }
    the_peer(fault, problems);
    what_is_left_alone(fault, problems);
}

pub(super) fn a_latency(latency: &Latency, problems: &mut Problems) {
    match &latency.spread {
        Spread::Around { by, jitter, distribution } => {
            positive(Some(*by), Clause::By, problems);
            jitter_below(*by, *jitter, problems);
            problems.expect(
                distribution.is_none() || jitter.is_some(),
                Clause::Distribution,
                "a distribution without jitter changes nothing",
                "add the jitter: `delay 100ms jitter 20ms normal`",
            );
            problems.expect(
                latency.correlation.is_none() || jitter.is_some(),
                Clause::Correlation,
                "a correlation without jitter changes nothing",
                "add the jitter: `delay 100ms jitter 20ms correlation 25%`",
            );
        }
        Spread::OneOf(latencies) => {
            problems.expect(
                latencies.len() > 1,
                Clause::By,
                "a list has at least two latencies",
                "`delay 1ms, 2ms*3, 40ms`; one is no list: `delay 1ms`",
            );
            several_latencies(latencies, problems);
        }
        Spread::File { path, latencies } => {
            canonical(path, name::file(path), Clause::By, problems);
            several_latencies(latencies, problems);
        }
    }
}

fn several_latencies(latencies: &[WeightedLatency], problems: &mut Problems) {
    for latency in latencies {
        positive(Some(latency.length), Clause::By, problems);
    }
    problems.expect(
        latencies.iter().all(|latency| (1..=MOST_WEIGHT).contains(&latency.weight)),
        Clause::By,
        "a weight is out of range",
        "from 1 to 1000",
    );
    if let Some(length) = repeated(latencies.iter().map(|latency| latency.length)) {
        let length = duration::print(length);
        let help = format!("give it a weight: `{length}*2`");
        problems.add(Clause::By, format!("`{length}` is in the list twice"), help);
    }
}

fn bursts(fault: &Fault, share: Probability, length: u32, problems: &mut Problems) {
    problems.expect(length >= 2, Clause::Bursts, "a burst has at least 2 packets", "`of 2`");
    problems.expect(
        fault.verb.acts_on_packets() && fault.chance.of == Unit::Packets,
        Clause::Bursts,
        "bursts are of packets",
        "leave `in bursts` out",
    );
    // On average there is at least one packet between two bursts.
    let spared = Probability::ONE - share.parts();
    let shortest = share.parts().div_ceil(spared);
    if length < shortest {
        problems.add(
            Clause::Bursts,
            "there is no room between bursts that take so much",
            format!("longer bursts, of {shortest} at least, or a smaller chance"),
        );
    }
}

fn the_peer(fault: &Fault, problems: &mut Problems) {
    let Some(found) = &fault.peer else { return };
    let clause = if found.side == Side::Either { Clause::Port } else { Clause::Peer };
    problems.expect(
        found.has_addresses() || !found.ports.is_empty(),
        clause,
        "the peer has neither network nor port",
        "`to 10.0.0.0/8`, `to port 443`, or leave it out",
    );
    problems.expect(
        found.side != Side::Either || !found.has_addresses(),
        clause,
        "a network needs a side",
        "`to` or `from`",
    );
    problems.expect(
        found.pods.is_empty() || found.networks.is_empty() && found.names.is_empty(),
        clause,
        "networks and pods in one peer",
        "write a fault for each",
    );
    let end = End {
        networks: &found.networks,
        pods: found.pods.keys().collect(),
        names: &found.names,
        ports: &found.ports,
    };
    an_end(&end, fault.protocol, clause, problems);
}

fn what_is_left_alone(fault: &Fault, problems: &mut Problems) {
    let Some(except) = &fault.except else { return };
    let has_addresses =
        !(except.networks.is_empty() && except.pods.is_empty() && except.names.is_empty());
    let has_ports = !except.ports.is_empty();
    problems.expect(
        has_addresses || has_ports,
        Clause::Except,
        "nothing is left alone",
        "`except 10.0.0.1`, `except port 22`, or leave it out",
    );
    problems.expect(
        !(has_addresses && has_ports),
        Clause::Except,
        "addresses and ports in one `except`",
        "one of the two: `except 10.0.0.1` leaves all ports of it alone",
    );
    let end = End {
        networks: &except.networks,
        pods: except.pods.keys().collect(),
        names: &except.names,
        ports: &except.ports,
    };
    an_end(&end, fault.protocol, Clause::Except, problems);
}

/// Addresses and ports, whatever is to be done with them.
struct End<'a> {
    networks: &'a BTreeSet<IpNet>,
    pods: Vec<&'a PodRef>,
    names: &'a BTreeSet<String>,
    ports: &'a [PortRange],
}

fn an_end(end: &End<'_>, protocol: Option<Protocol>, clause: Clause, problems: &mut Problems) {
    for pod in end.pods.iter().map(ToString::to_string) {
        canonical(&pod, name::pod(&pod).map(|pod| pod.to_string()), clause, problems);
    }
    for name in end.names {
        canonical(name, name::of_peer(name), clause, problems);
    }
    problems.expect(
        end.networks.iter().all(|net| *net == net.trunc()),
        clause,
        "a network has bits set behind its prefix",
        "`10.0.0.0/8`, not `10.0.0.1/8`",
    );
    problems.expect(
        peer::join_ports(end.ports.to_vec()) == end.ports
            && end.ports.iter().all(|range| (1..=range.last).contains(&range.first)),
        clause,
        "the ports are not sorted, apart and above 0",
        "for example 80, 443, 8000-8080",
    );
    problems.expect(
        protocol != Some(Protocol::Icmp) || end.ports.is_empty(),
        clause,
        "icmp has no ports",
        "leave out the port, or write `tcp` or `udp`",
    );
}

fn about_packets(fault: &Fault, problems: &mut Problems) {
    let word = fault.verb.word();
    if fault.chance.of == Unit::Calls {
        problems.add(
            Clause::Unit,
            format!("`{word}` is about packets, not calls"),
            "`of packets` or `of flows`",
        );
    }
    if fault.under.is_some() {
        problems.add(
            Clause::Under,
            format!("`{word}` is about packets, which have no path"),
            "`under` goes with `fail`, `slow` and `kill`",
        );
    }
    if let (Verb::Reset, Some(protocol @ (Protocol::Udp | Protocol::Icmp))) =
        (&fault.verb, fault.protocol)
    {
        let message = format!("{protocol} has no connections to reset");
        problems.add(Clause::Protocol, message, "`reset` is for tcp");
    }
    if fault.verb.dns_name().is_some() && fault.protocol == Some(Protocol::Icmp) {
        let help = "`udp`, `tcp`, or neither";
        problems.add(Clause::Protocol, "DNS does not run over icmp", help);
    }
    if let (Some(_), Some(direction)) = (fault.verb.dns_name(), fault.direction) {
        problems.add(
            Clause::Direction,
            format!("`{word} dns` has no direction"),
            match direction {
                Direction::Egress => "leave it out: the target's own questions are meant",
                Direction::Ingress => "leave it out: only the target's own questions are meant",
            },
        );
    }
}

fn about_calls(fault: &Fault, calls: &[Call], problems: &mut Problems) {
    let word = fault.verb.word();
    problems.expect(
        !calls.is_empty(),
        Clause::Calls,
        "a system call is missing",
        "`fail openat …`",
    );
    if let Some(call) = repeated(calls.iter()) {
        problems.add(
            Clause::Calls,
            format!("`{call}` is in the list twice"),
            "each call once; another chance for it is another sentence",
        );
    }
    if fault.chance.of != Unit::Calls {
        problems.add(
            Clause::Unit,
            format!("`{word}` is about calls, not packets or flows"),
            "`of calls`, or leave it out",
        );
    }
    if fault.direction.is_some() {
        problems.add(
            Clause::Direction,
            format!("`{word}` is about calls, which have no direction"),
            "choose by call instead: `sendto` sends, `recvfrom` receives",
        );
    }
    if fault.protocol == Some(Protocol::Icmp) {
        problems.add(Clause::Protocol, "calls cannot be chosen by icmp", "`tcp` or `udp`");
    }
    let not_about = |call: &Call, what: &str| format!("`{call}` {what}");
    if let (Some(peer), Some(call)) = (&fault.peer, calls.iter().find(|call| !call.can_have_peer()))
    {
        let clause = if peer.side == Side::Either { Clause::Port } else { Clause::Peer };
        let help = "peers and ports go with calls such as `connect`, `bind` and `sendto`";
        problems.add(clause, not_about(call, "has no peer"), help);
    }
    if let (Some(_), Some(call)) = (&fault.except, calls.iter().find(|call| !call.can_have_peer()))
    {
        let help = "`except` goes with calls such as `connect`, `bind` and `sendto`";
        problems.add(Clause::Except, not_about(call, "has no peer"), help);
    }
    if let (Some(_), Some(call)) =
        (fault.protocol, calls.iter().find(|call| !call.is_socket_call()))
    {
        let help = "protocols go with calls such as `connect`, `socket` and `sendto`";
        problems.add(Clause::Protocol, not_about(call, "has no protocol"), help);
    }
    if let (Some(_), Some(call)) = (&fault.under, calls.iter().find(|call| call.is_socket_call())) {
        let help = "`under` goes with calls on files; choose sockets by `to`, `from` and `port`";
        problems.add(Clause::Under, not_about(call, "has no path"), help);
    }
}

fn about_a_container(fault: &Fault, problems: &mut Problems) {
    let help = "it is done once to each container that runs, as soon as it is armed";
    about_a_whole(fault, help, problems);
    if fault.after.is_some() {
        let words = fault.verb.row().words;
        problems.add(Clause::After, format!("`{words}` does not take `after`"), help);
    }
}

fn about_a_whole(fault: &Fault, help: &str, problems: &mut Problems) {
    let words = fault.verb.row().words;
    let clauses = [
        (Clause::Chance, "a chance", fault.chance.how != HowOften::Always),
        (Clause::Unit, "a chance", fault.chance.of != Unit::Calls),
        (Clause::Direction, "a direction", fault.direction.is_some()),
        (Clause::Protocol, "a protocol", fault.protocol.is_some()),
        (Clause::Except, "`except`", fault.except.is_some()),
        (Clause::Under, "a path", fault.under.is_some()),
        (Clause::AtMost, "`at most`", fault.at_most.is_some()),
        (Clause::AtMostPerSecond, "`at most`", fault.at_most_per_second.is_some()),
        (Clause::Seed, "a seed", fault.seed.is_some()),
    ];
    for (clause, what, present) in clauses {
        if present {
            problems.add(clause, format!("`{words}` does not take {what}"), help);
        }
    }
    if let Some(peer) = &fault.peer {
        let clause = if peer.side == Side::Either { Clause::Port } else { Clause::Peer };
        problems.add(clause, format!("`{words}` does not take a peer"), help);
    }
}

pub(super) fn positive(duration: Option<Duration>, clause: Clause, problems: &mut Problems) {
    let fits = duration.is_none_or(|time| (1..=duration::MAX_NS).contains(&time.as_nanos()));
    problems.expect(fits, clause, "the duration is out of range", "above 0s, at most 36500d");
}

pub(super) fn jitter_below(by: Duration, jitter: Option<Duration>, problems: &mut Problems) {
    positive(jitter, Clause::Jitter, problems);
    if jitter.is_some_and(|jitter| jitter > by) {
        problems.add(
            Clause::Jitter,
            "the jitter is more than the delay",
            format!("at most `jitter {}`: nothing can be early", duration::print(by)),
        );
    }
}

/// A name that is not in the form its reader returns.
fn canonical(name: &str, read: Result<String, Mistake>, clause: Clause, problems: &mut Problems) {
    match read {
        Ok(canonical) if canonical == name => {}
        Ok(canonical) => {
            problems.add(clause, format!("`{name}` is not plain"), format!("write `{canonical}`"));
        }
        Err(mistake) => problems.0.push(Problem { clause, mistake }),
    }
}

pub(super) fn repeated<T: Ord + Copy>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    items.find(|item| !seen.insert(*item))
}
