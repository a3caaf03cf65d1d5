extern crate std;
use std::{cell::RefCell, collections::BTreeMap, vec::Vec};

use proptest::prelude::*;

use super::*;
use crate::{
    event::{EventKind, ProtocolClass, widen},
    ledger::{COUNTS, RuleCounts},
    rule::RuleState,
    tables::Ends,
};

/// Maps as plain memory.
struct HostGround {
    set: RuleSet,
    /// Texts that are asked after the first.
    later: Vec<RuleSet>,
    rules: Vec<Rule>,
    peers: BTreeMap<[u8; 16], Ends>,
    ports: BTreeMap<u16, Ends>,
    calls: BTreeMap<u16, u64>,
    paths: BTreeMap<FileId, u64>,
    now: u64,
    lease: u64,
    states: RefCell<Vec<RuleState>>,
    flows: RefCell<Vec<(u32, u64)>>,
    counts: RefCell<Vec<RuleCounts>>,
}

impl Env for HostGround {
    fn set(&self, id: u32) -> Option<&RuleSet> {
        [&self.set].into_iter().chain(&self.later).find(|set| set.id == id)
    }
    fn rule(&self, place: u32) -> Option<&Rule> {
        self.rules.get(place as usize)
    }
    fn peer(&self, _set: u32, _family: Family, address: &[u8; 16]) -> Ends {
        self.peers.get(address).copied().unwrap_or(Ends::NONE)
    }
    fn port(&self, _set: u32, port: u16) -> Ends {
        self.ports.get(&port).copied().unwrap_or(Ends::NONE)
    }
    fn calls(&self, _set: u32, number: u16) -> u64 {
        self.calls.get(&number).copied().unwrap_or(0)
    }
    fn paths(&self, _set: u32, file: &FileId) -> u64 {
        self.paths.get(file).copied().unwrap_or(0)
    }
    fn now(&self) -> u64 {
        self.now
    }
    fn lease(&self) -> u64 {
        self.lease
    }
    fn ordinal(&self, rule: &Rule) -> Option<(u64, bool)> {
        let mut states = self.states.borrow_mut();
        states.get_mut(rule.slot as usize).map(|state| next_ordinal(state, rule))
    }
    fn flow_number(&self, rule: &Rule, flow: u64) -> Option<u32> {
        let mut flows = self.flows.borrow_mut();
        let of_rule = flows.iter().filter(|(slot, _)| *slot == rule.slot);
        if let Some(at) = of_rule.clone().position(|(_, known)| *known == flow) {
            return Some(at as u32 + 1);
        }
        let number = of_rule.count() as u32 + 1;
        if number <= numbered(rule) {
            flows.push((rule.slot, flow));
        }
        Some(number)
    }
    fn grant(&self, rule: &Rule, now: u64) -> Grant {
        grant(&mut self.states.borrow_mut()[rule.slot as usize], rule, now)
    }
    fn count(&self, slot: u32, count: Count) {
        self.counts.borrow_mut()[slot as usize].counts[count as usize] += 1;
    }
    fn emit(&self, _event: &Event, _verdict: &Verdict, _shadow: bool) {}
}

fn rule(slot: u32) -> Rule {
    Rule {
        seed: 42,
        not_before: 100,
        deadline: u64::MAX,
        at_most: 0,
        threshold: 0,
        every: 0,
        per_second: 0,
        slot,
        action: Action::Drop as u8,
        trigger: Trigger::Always as u8,
        shadow: 0,
        errno_count: 0,
        correlation: 0,
        errnos: [ErrnoChoice::default(); MAX_ERRNOS],
    }
}

fn env(rules: Vec<Rule>) -> HostGround {
    let mut set = RuleSet::empty(1);
    let all = if rules.len() == 64 { u64::MAX } else { (1 << rules.len()) - 1 };
    set.by_kind[EventKind::PacketEgress as usize] = all;
    set.by_protocol = [all; 4];
    set.by_flow = all;
    let slots = rules.len();
    HostGround {
        set,
        later: Vec::new(),
        rules,
        peers: BTreeMap::new(),
        ports: BTreeMap::new(),
        calls: BTreeMap::new(),
        paths: BTreeMap::new(),
        now: 1_000,
        lease: 2_000_000_000_000,
        states: RefCell::new(std::vec![RuleState::default(); slots]),
        flows: RefCell::default(),
        counts: RefCell::new(std::vec![RuleCounts::default(); slots]),
    }
}

impl HostGround {
    fn counted(&self, slot: usize, count: Count) -> u64 {
        self.counts.borrow()[slot].counts[count as usize]
    }
    fn hit(&self, event: &Event) -> bool {
        let verdict = decide(self, self.set.id, event);
        if verdict != Verdict::PASS {
            confirm(self, event, &verdict, true);
        }
        verdict != Verdict::PASS
    }
    fn balanced(&self) -> bool {
        self.counts.borrow().iter().all(|entry| {
            let [matched, outcomes @ ..] = entry.counts;
            matched == outcomes.iter().sum::<u64>()
        })
    }
}

fn packet() -> Event {
    Event {
        source: widen([10, 0, 0, 1]),
        destination: widen([10, 0, 0, 2]),
        source_port: 40000,
        destination_port: 443,
        family: Family::V4,
        ..Event::bare(EventKind::PacketEgress, ProtocolClass::Tcp)
    }
}

#[test]
fn time_gates_in_order() {
    let mut env = env(std::vec![Rule { deadline: 5_000, ..rule(0) }]);
    env.now = 99;
    assert!(!env.hit(&packet()));
    env.now = 100;
    assert!(env.hit(&packet()));
    env.now = 5_000;
    assert!(!env.hit(&packet()));
    env.now = 2_000_000_000_000;
    assert!(!env.hit(&packet()));
    let counted =
        [Count::Early, Count::Injected, Count::Ended, Count::Lease].map(|c| env.counted(0, c));
    assert_eq!(counted, [1, 1, 1, 1]);
    assert!(env.balanced());
}

#[test]
fn first_rule_that_hits_decides_and_shadows_are_passed_by() {
    let shadow = Rule { shadow: 1, ..rule(0) };
    let env = env(std::vec![shadow, rule(1), rule(2)]);
    assert!(env.hit(&packet()));
    assert_eq!(env.counted(0, Count::Shadowed), 1);
    assert_eq!(env.counted(1, Count::Injected), 1);
    assert_eq!(env.counted(2, Count::Matched), 0);
    assert!(env.balanced());
}

#[test]
fn each_stage_asks_its_own_rules() {
    let env = env(std::vec![rule(0), rule(1), rule(2)]);
    let all = matching(&env, &env.set, &packet());
    let decides = |rules| evaluate(&env, &env.set, rules, None, env.now).hit(&env, 0, 0);
    for (rules, slot) in [(0b110, 1), (0b001, 0), (0b100, 2)] {
        assert_eq!(decides(all & rules).map(|verdict| verdict.slot), Some(slot));
    }
    assert_eq!([0, 1, 2].map(|slot| env.counted(slot, Count::Matched)), [1; 3]);
}

/// A first text with rule 0, which hits every second packet, and a second one with rule 1.
#[test]
fn a_text_that_spares_an_event_leaves_it_to_the_next_one() {
    let nth = Rule { trigger: Trigger::EveryNth as u8, every: 2, ..rule(0) };
    let mut env = env(std::vec![nth, rule(1)]);
    let all = env.set;
    env.set = RuleSet { next: 2, by_kind: all.by_kind.map(|rules| rules & 1), ..all };
    let by_kind = all.by_kind.map(|rules| rules >> 1);
    env.later.push(RuleSet { id: 2, first_rule: 1, by_kind, ..all });
    let decides = || decide(&env, env.set.id, &packet()).slot;
    assert_eq!([(); 4].map(|()| decides()), [1, 0, 1, 0]);
    assert_eq!([0, 1].map(|slot| env.counted(slot, Count::Matched)), [4, 2]);
    assert_eq!(decide(&env, RuleSet::NONE, &packet()), Verdict::PASS);
}

/// Whatever is written there, a walk ends.
#[test]
fn texts_that_lead_back_to_each_other_are_asked_so_often_only() {
    let never = Rule { deadline: 0, ..rule(0) };
    let mut env = env(std::vec![never]);
    env.set.next = env.set.id;
    assert_eq!(decide(&env, env.set.id, &packet()), Verdict::PASS);
    assert_eq!(env.counted(0, Count::Matched), MAX_TEXTS as u64);
}

#[test]
fn every_nth_is_every_nth() {
    let env = env(std::vec![Rule { trigger: Trigger::EveryNth as u8, every: 5, ..rule(0) }]);
    let hits: Vec<usize> = (1..=20).filter(|_| env.hit(&packet())).collect();
    assert_eq!(hits, [5, 10, 15, 20]);
}

#[test]
fn a_window_is_from_the_first_to_the_last() {
    for (threshold, every, expected) in [
        (3, 6, std::vec![3, 4, 5, 6]),
        (1, 2, std::vec![1, 2]),
        (4, 4, std::vec![4]),
        (18, 0, std::vec![18, 19, 20]),
    ] {
        let window = |trigger| Rule { trigger: trigger as u8, threshold, every, ..rule(0) };
        let events = env(std::vec![window(Trigger::Window)]);
        let hits: Vec<u16> = (1..=20).filter(|_| events.hit(&packet())).collect();
        assert_eq!(hits, expected);
        // Of flows each packet, whenever it comes.
        let flows = env(std::vec![window(Trigger::FlowWindow)]);
        let of_flow = |port| Event { source_port: port, ..packet() };
        for _ in 0..3 {
            let hits: Vec<u16> = (1..=20).filter(|port| flows.hit(&of_flow(*port))).collect();
            assert_eq!(hits, expected);
        }
        assert!(!flows.hit(&Event { fragment: 1, ..packet() }));
        assert_eq!(flows.counted(0, Count::Fragment), 1);
        assert_eq!(flows.counted(0, Count::Chance), 3 * (20 - expected.len() as u64));
        assert!(events.balanced() && flows.balanced());
    }
}

#[test]
fn chance_is_fair_and_repeats() {
    let ten_percent = Rule {
        trigger: Trigger::Chance as u8,
        threshold: (u64::from(u32::MAX) / 10) as u32,
        ..rule(0)
    };
    let run = |rule| {
        let env = env(std::vec![rule]);
        (0..100_000).map(|_| env.hit(&packet())).collect::<Vec<bool>>()
    };
    let first = run(ten_percent);
    let hits = first.iter().filter(|hit| **hit).count();
    // Four standard deviations of a binomial(100000, 0.1).
    assert!((9_620..=10_380).contains(&hits), "{hits}");
    assert_eq!(first, run(ten_percent));
    assert_ne!(first, run(Rule { seed: 43, ..ten_percent }));
}

/// Lengths of the runs of hits, and of those between them.
fn runs(hits: &[bool]) -> [Vec<usize>; 2] {
    let mut runs = [Vec::new(), Vec::new()];
    for run in hits.chunk_by(|a, b| a == b) {
        runs[usize::from(!run[0])].push(run.len());
    }
    runs
}

#[test]
fn bursts_have_their_share_and_their_length() {
    const EVENTS: usize = 2_000_000;
    for (share, length) in [(0.05, 10.0), (0.01, 2.0), (0.5, 3.0), (0.3, 100.0)] {
        let begins = share / (1.0 - share) / length;
        let bursts = Rule {
            trigger: Trigger::Burst as u8,
            threshold: (begins * 4_294_967_296.0) as u32,
            every: length as u32,
            ..rule(0)
        };
        let env = env(std::vec![bursts]);
        let hits: Vec<bool> = (0..EVENTS).map(|_| env.hit(&packet())).collect();
        assert!(env.balanced());
        let [burst, between] = runs(&hits);
        let mean = |runs: &[usize]| runs.iter().sum::<usize>() as f64 / runs.len() as f64;
        // A geometric run's standard deviation is below its mean, and the mean of n of them is n
        // times as exact, squared: five of those.
        let near = |found: f64, expected: f64, runs: usize| {
            assert!(
                (found / expected - 1.0).abs() < 5.0 / (runs as f64).sqrt(),
                "{found} {expected}"
            );
        };
        near(mean(&burst), length, burst.len());
        near(mean(&between), 1.0 / begins, between.len());
        near(burst.iter().sum::<usize>() as f64 / EVENTS as f64, share, burst.len() / 2);
        // Geometric: one burst in `length` ends after its first event.
        let single = burst.iter().filter(|length| **length == 1).count();
        near(burst.len() as f64 / single as f64, length, single);
        let again = self::env(std::vec![bursts]);
        assert!(hits.iter().all(|hit| *hit == again.hit(&packet())), "it repeats");
    }
}

#[test]
fn a_flow_is_hit_as_a_whole() {
    let half = Rule { trigger: Trigger::FlowChance as u8, threshold: 1 << 31, ..rule(0) };
    let env = env(std::vec![half]);
    let mut hit_flows = 0;
    for port in 1..=1000 {
        let event = Event { source_port: port, ..packet() };
        let hits = (0..10).filter(|_| env.hit(&event)).count();
        assert!(hits == 0 || hits == 10);
        hit_flows += hits / 10;
    }
    assert!((430..=570).contains(&hit_flows), "{hit_flows}");
    let fragment = Event { fragment: 1, ..packet() };
    assert!(!env.hit(&fragment));
    assert_eq!(env.counted(0, Count::Fragment), 1);
    assert!(env.balanced());
}

#[test]
fn budgets_are_exact() {
    let mut env = env(std::vec![Rule { at_most: 7, per_second: 3, ..rule(0) }]);
    let mut hits = Vec::new();
    for second in 0..4u64 {
        env.now = 100 + second * 1_000_000_000;
        hits.push((0..10).filter(|_| env.hit(&packet())).count());
    }
    assert_eq!(hits, [3, 3, 1, 0]);
    assert_eq!(env.counted(0, Count::PerSecond), 14);
    assert_eq!(env.counted(0, Count::AtMost), 19);
    assert!(env.balanced());
}

proptest! {
    /// Callers read the clock before they come to the budget, so some come late.
    #[test]
    fn a_second_is_not_given_anew_by_those_who_come_late(
        per_second in 1..5_u32,
        steps in proptest::collection::vec((0..300_000_000_u64, 0..1_500_000_000_u64), 1..200),
    ) {
        let rule = Rule { per_second, ..rule(0) };
        let mut state = RuleState::default();
        let (mut clock, mut current) = (rule.not_before, 0);
        let mut given = BTreeMap::<u64, u32>::new();
        for (step, late) in steps {
            clock += step;
            let read = clock.saturating_sub(late).max(rule.not_before);
            // The latest second that a caller has come with.
            current = current.max((read - rule.not_before) / 1_000_000_000);
            if grant(&mut state, &rule, read) == Grant::Given {
                *given.entry(current).or_default() += 1;
            }
        }
        prop_assert!(given.values().all(|given| *given <= per_second), "{given:?}");
    }
}

#[test]
fn errnos_are_picked_by_weight() {
    let mut errnos = [ErrnoChoice::default(); MAX_ERRNOS];
    errnos[0] = ErrnoChoice { below: 49_152, errno: 28 };
    errnos[1] = ErrnoChoice { below: 65_536, errno: 5 };
    let rule = Rule { action: Action::Fail as u8, errno_count: 2, errnos, ..rule(0) };
    let env = env(std::vec![rule]);
    let picked = (0..10_000).filter(|_| decide(&env, env.set.id, &packet()).errno == 28).count();
    assert!((7_300..=7_700).contains(&picked), "{picked}");
    let single = Rule { errno_count: 1, ..rule };
    assert_eq!(pick_errno(&single, 65_535), 28);
}

#[test]
fn ports_are_left_alone_at_either_end_and_where_nobody_knows_them() {
    let mut env = env(std::vec![rule(0), rule(1)]);
    // Rule 0 for any packet; rule 1 for all but port 22.
    env.set.port_exempt = 0b10;
    env.ports.insert(22, Ends { exempt: 0b10, ..Ends::NONE });
    let rules = |event: &Event| matching(&env, &env.set, event);
    assert_eq!(rules(&packet()), 0b11);
    assert_eq!(rules(&Event { destination_port: 22, ..packet() }), 0b01);
    assert_eq!(rules(&Event { source_port: 22, ..packet() }), 0b01);
    let fragment = Event { source_port: 0, destination_port: 0, ..packet() };
    assert_eq!(rules(&fragment), 0b01);
    assert_eq!(rules(&Event { protocol: ProtocolClass::Icmp, ..fragment }), 0b11);
}

#[test]
fn dimensions_are_intersected_and_exemptions_win() {
    let mut env = env(std::vec![rule(0), rule(1)]);
    // Rule 0 only to 10.0.0.2 port 443; rule 1 any, but never the node at 10.0.0.9.
    env.set.peer_destination = 0b01;
    env.set.port_destination = 0b01;
    env.set.peer_exempt = 0b10;
    env.peers.insert(widen([10, 0, 0, 2]), Ends { destination: 0b01, ..Ends::NONE });
    env.peers.insert(widen([10, 0, 0, 9]), Ends { exempt: 0b10, ..Ends::NONE });
    env.ports.insert(443, Ends { destination: 0b01, ..Ends::NONE });
    let rules = |event: &Event| matching(&env, &env.set, event);
    assert_eq!(rules(&packet()), 0b11);
    assert_eq!(rules(&Event { destination_port: 80, ..packet() }), 0b10);
    assert_eq!(rules(&Event { destination: widen([10, 0, 0, 3]), ..packet() }), 0b10);
    assert_eq!(rules(&Event { destination: widen([10, 0, 0, 9]), ..packet() }), 0b00);
    assert_eq!(rules(&Event { source: widen([10, 0, 0, 9]), ..packet() }), 0b01);
    assert_eq!(rules(&Event { kind: EventKind::PacketIngress, ..packet() }), 0);
}

#[test]
fn calls_are_told_apart_by_number_and_path() {
    const READ: u16 = 0;
    const WRITE: u16 = 1;
    let data = FileId { device: 8 << 20, inode: 12 };
    let mut env = env(std::vec![rule(0), rule(1), rule(2)]);
    // Rule 0 for read and write, rule 1 for write under a path, rule 2 for packets only.
    env.set.by_kind[EventKind::Call as usize] = 0b011;
    env.set.by_path = 0b010;
    env.calls.extend([(READ, 0b001), (WRITE, 0b011)]);
    env.paths.insert(data, 0b010);
    let rules = |number, file| matching(&env, &env.set, &Event::call(number, file));
    assert_eq!(rules(READ, data), 0b001);
    assert_eq!(rules(WRITE, data), 0b011);
    assert_eq!(rules(WRITE, FileId { inode: 13, ..data }), 0b001);
    assert_eq!(rules(WRITE, FileId::NONE), 0b001);
    assert_eq!(rules(2, data), 0);
    assert_eq!(matching(&env, &env.set, &packet()), 0b111);
}

#[test]
fn lowest_bit_of_every_mask_with_one_or_two_bits() {
    for low in 0..64 {
        for high in low..64 {
            assert_eq!(lowest_bit(1 << low | 1 << high), low);
        }
    }
}

#[test]
fn room_for_every_counter() {
    assert!(Count::ALL.len() <= COUNTS);
}
