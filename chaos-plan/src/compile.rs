//! A plan as the tables that the kernel looks things up in.

use std::collections::BTreeMap;

use chaos_ebpf_common::{
    MAX_RULES,
    event::{EventKind, ProtocolClass},
    rule::{Action, ErrnoChoice, MAX_ERRNOS, Rule, RuleSet, Trigger},
    tables::{Ends, PathKey, PeerKey4, PeerKey6, PortKey, SET_BITS},
};
use chaos_fault::{
    Fault, HowOften, Peer, PortRange, Probability, Protocol, Side, Unit, Verb, WeightedErrno,
};
use ipnet::IpNet;

use super::{
    PlannedRule, dns_name, nanoseconds, path,
    prefix::{Prefix, PrefixTable},
    seed,
};

/// What goes into the maps of one target. Prefix lengths count the bits of the set's id, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompiledSet {
    pub set: RuleSet,
    /// Bit by bit.
    pub rules: Vec<Rule>,
    pub peers4: Vec<(u32, PeerKey4, Ends)>,
    pub peers6: Vec<(u32, PeerKey6, Ends)>,
    pub ports: Vec<(u32, PortKey, Ends)>,
    /// The rules that speak of each system call, by [`super::PlannedCall::table_numbers`].
    pub calls: BTreeMap<u16, u64>,
    /// The rules that ask for each path, and for each name.
    pub paths: Vec<(u32, PathKey, u64)>,
}

/// Compiles the rules of a plan under the id `set_id`.
///
/// `slots` says for each rule where it counts ([`super::assign`]), `began` when its clock began:
/// nanoseconds of the boot clock when it was first armed.
///
/// # Panics
/// When the three lists differ in length or there are more than [`MAX_RULES`] rules, which no
/// [`super::Plan`] has.
pub fn compile(rules: &[PlannedRule], slots: &[u32], set_id: u32, began: &[u64]) -> CompiledSet {
    assert!(rules.len() <= MAX_RULES, "{} rules in one set", rules.len());
    assert_eq!(rules.len(), slots.len(), "a slot for each rule");
    assert_eq!(rules.len(), began.len(), "a beginning for each rule");
    let mut set = RuleSet::empty(set_id);
    let (mut peers4, mut peers6, mut ports) =
        (PrefixTable::default(), PrefixTable::default(), PrefixTable::default());
    let mut calls = BTreeMap::<u16, u64>::new();
    for (position, rule) in rules.iter().enumerate() {
        let bit = 1u64 << position;
        for hook in &rule.hooks {
            set.by_kind[hook.event_kind() as usize] |= bit;
        }
        if let Some(stage) = rule.action.stage() {
            set.by_stage[stage as usize] |= bit;
        }
        if rule.fault.under.is_some() {
            set.by_path |= bit;
        }
        if rule.fault.verb.dns_name().is_some() {
            set.by_name |= bit;
        }
        for call in &rule.calls {
            set.by_kind[EventKind::Call as usize] |= bit;
            for number in call.table_numbers() {
                *calls.entry(number).or_default() |= bit;
            }
        }
        if rule.is_per_flow() || rule.fault.chance.of == Unit::Flows {
            set.by_flow |= bit;
        }
        for class in protocols(rule) {
            set.by_protocol[*class as usize] |= bit;
        }
        if let Some(peer) = &rule.fault.peer {
            add_networks(peer, bit, &mut set, &mut peers4, &mut peers6);
            add_ports(peer, bit, &mut set, &mut ports);
        }
        if let Some(range) = dns_name::ports(&rule.fault) {
            add_port_range(range, Ends { destination: bit, ..Ends::NONE }, &mut set, &mut ports);
        }
        let exempt = Ends { exempt: bit, ..Ends::NONE };
        for network in exempt_networks(rule) {
            set.peer_exempt |= bit;
            add_network(network, exempt, &mut peers4, &mut peers6);
        }
        for range in rule.fault.except.iter().flat_map(|except| &except.ports) {
            set.port_exempt |= bit;
            add_port_range(*range, exempt, &mut set, &mut ports);
        }
    }
    let seeds = seed::seeds(rules);
    CompiledSet {
        set,
        rules: rules
            .iter()
            .zip(seeds)
            .zip(slots.iter().zip(began))
            .map(|((rule, seed), (slot, began))| compile_rule(rule, seed, *slot, *began))
            .collect(),
        peers4: peers4.closed().map(|(prefix, ends)| key4(set_id, prefix, ends)).collect(),
        peers6: peers6.closed().map(|(prefix, ends)| key6(set_id, prefix, ends)).collect(),
        ports: ports.closed().map(|(prefix, ends)| port_key(set_id, prefix, ends)).collect(),
        calls,
        paths: [path::table(rules, set_id), dns_name::table(rules, set_id)].concat(),
    }
}

/// What the terms and the fault itself leave alone.
pub(super) fn exempt_networks(rule: &PlannedRule) -> impl Iterator<Item = IpNet> + '_ {
    let of_terms = rule.exempt.iter().copied().map(IpNet::from);
    of_terms.chain(rule.fault.except.iter().flat_map(|except| except.all_networks()))
}

/// The protocols whose events can meet the rule.
fn protocols(rule: &PlannedRule) -> &'static [ProtocolClass] {
    use ProtocolClass::{Icmp, Other, Tcp, Udp};
    let has_ports = rule.fault.peer.as_ref().is_some_and(|peer| !peer.ports.is_empty());
    match rule.fault.protocol {
        _ if rule.action == Action::Reset => &[Tcp],
        _ if rule.fault.verb.dns_name().is_some() => &[Udp],
        Some(Protocol::Tcp) => &[Tcp],
        Some(Protocol::Udp) => &[Udp],
        Some(Protocol::Icmp) => &[Icmp],
        None if has_ports || rule.action == Action::CorruptSilently => &[Tcp, Udp],
        None => &[Tcp, Udp, Icmp, Other],
    }
}

fn add_networks(
    peer: &Peer,
    bit: u64,
    set: &mut RuleSet,
    peers4: &mut PrefixTable,
    peers6: &mut PrefixTable,
) {
    if !peer.has_addresses() {
        return;
    }
    let ends = ends(peer.side, bit);
    set.peer_source |= ends.source;
    set.peer_destination |= ends.destination;
    for network in peer.all_networks() {
        add_network(network, ends, peers4, peers6);
    }
}

fn add_network(network: IpNet, ends: Ends, peers4: &mut PrefixTable, peers6: &mut PrefixTable) {
    match network {
        IpNet::V4(network) => peers4.add(Prefix::v4(network), ends),
        IpNet::V6(network) => peers6.add(Prefix::v6(network), ends),
    }
}

fn add_ports(peer: &Peer, bit: u64, set: &mut RuleSet, ports: &mut PrefixTable) {
    for range in &peer.ports {
        add_port_range(*range, ends(peer.side, bit), set, ports);
    }
}

fn add_port_range(range: PortRange, ends: Ends, set: &mut RuleSet, ports: &mut PrefixTable) {
    set.port_source |= ends.source;
    set.port_destination |= ends.destination;
    for prefix in Prefix::ports(range.first, range.last) {
        ports.add(prefix, ends);
    }
}

fn ends(side: Side, bit: u64) -> Ends {
    match side {
        Side::To => Ends { destination: bit, ..Ends::NONE },
        Side::From => Ends { source: bit, ..Ends::NONE },
        Side::Either => Ends { source: bit, destination: bit, ..Ends::NONE },
    }
}

fn key4(set: u32, prefix: Prefix, ends: Ends) -> (u32, PeerKey4, Ends) {
    let [a, b, c, d, ..] = prefix.bits.to_be_bytes();
    (SET_BITS + prefix.length, PeerKey4 { set, address: [a, b, c, d] }, ends)
}

fn key6(set: u32, prefix: Prefix, ends: Ends) -> (u32, PeerKey6, Ends) {
    (
        SET_BITS + prefix.length,
        PeerKey6 { set, address: prefix.bits.to_be_bytes(), padding: [0; 4] },
        ends,
    )
}

fn port_key(set: u32, prefix: Prefix, ends: Ends) -> (u32, PortKey, Ends) {
    let [high, low, ..] = prefix.bits.to_be_bytes();
    (SET_BITS + prefix.length, PortKey { set, port: [high, low], padding: [0; 2] }, ends)
}

fn compile_rule(rule: &PlannedRule, seed: u64, slot: u32, began: u64) -> Rule {
    let fault = &rule.fault;
    let not_before = began.saturating_add(nanoseconds(fault.after.unwrap_or_default()));
    let (trigger, threshold, every) = trigger(fault);
    let (errnos, errno_count) = errnos(fault);
    let correlation = fault.verb.latency().and_then(|latency| latency.correlation);
    let correlation = correlation.map_or(0, in_parts);
    Rule {
        seed,
        not_before,
        deadline: not_before.saturating_add(nanoseconds(rule.duration)),
        at_most: fault.at_most.unwrap_or(0),
        threshold,
        every,
        per_second: fault.at_most_per_second.unwrap_or(0),
        slot,
        action: rule.action as u8,
        trigger: trigger as u8,
        shadow: fault.shadow.into(),
        errno_count,
        correlation,
        errnos,
    }
}

/// What of the events are hit, with the rule's `threshold` and `every`.
pub(super) fn trigger(fault: &Fault) -> (Trigger, u32, u32) {
    match (fault.chance.how, fault.chance.of) {
        (HowOften::Always, Unit::Flows) => (Trigger::EachFlow, 0, 0),
        (HowOften::Always, _) => (Trigger::Always, 0, 0),
        (HowOften::EveryNth(every), _) => (Trigger::EveryNth, 0, every),
        (HowOften::Window { first, last }, Unit::Flows) => {
            (Trigger::FlowWindow, first, last.unwrap_or(0))
        }
        (HowOften::Window { first, last }, Unit::Packets | Unit::Calls) => {
            (Trigger::Window, first, last.unwrap_or(0))
        }
        (HowOften::Bursts { share, length }, _) => {
            (Trigger::Burst, burst_threshold(share, length), length)
        }
        (HowOften::Probability(probability), Unit::Flows) => {
            (Trigger::FlowChance, in_parts(probability), 0)
        }
        (HowOften::Probability(probability), Unit::Packets | Unit::Calls) => {
            (Trigger::Chance, in_parts(probability), 0)
        }
    }
}

/// Nearest multiple of 2^-32. Strictly between 0 and 2^32, as [`Probability`] is between 0 and 1
/// in steps of 10^-8.
fn in_parts(probability: Probability) -> u32 {
    let one = u64::from(Probability::ONE);
    let scaled = ((u64::from(probability.parts()) << 32) + one / 2) / one;
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// The chance at which a burst begins: as much as makes bursts of that length the share of all,
/// share / (1 - share) / length.
fn burst_threshold(share: Probability, length: u32) -> u32 {
    let share = u64::from(share.parts());
    let spared = (u64::from(Probability::ONE) - share) * u64::from(length);
    // Below 2^27 * 2^32; a fault that is well formed has no more than 1.
    let scaled = ((share << 32) + spared / 2) / spared;
    u32::try_from(scaled).unwrap_or(u32::MAX)
}

/// The errnos with their shares of 65536. The planner has refused more than [`MAX_ERRNOS`].
fn errnos(fault: &Fault) -> ([ErrnoChoice; MAX_ERRNOS], u8) {
    let mut choices = [ErrnoChoice::default(); MAX_ERRNOS];
    let Verb::Fail { errnos, .. } = &fault.verb else {
        return (choices, 0);
    };
    let listed = || errnos.iter().take(MAX_ERRNOS);
    // At least 1: a list without weight picks nothing, and must not divide by it.
    let total = listed().map(|choice| u64::from(choice.weight)).sum::<u64>().max(1);
    let mut so_far = 0;
    let mut count = 0;
    for (choice, WeightedErrno { errno, weight }) in choices.iter_mut().zip(listed()) {
        so_far += u64::from(*weight);
        // At most 65536.
        let below = ((so_far * 65_536 + total / 2) / total) as u32;
        *choice = ErrnoChoice { below, errno: errno.number().into() };
        count += 1;
    }
    (choices, count)
}
