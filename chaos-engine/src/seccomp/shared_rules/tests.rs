use std::{collections::BTreeMap, thread};

use chaos_ebpf_common::{
    event::{Event, EventKind, FileId},
    gate::{confirm, decide},
    rule::{Action, ErrnoChoice, MAX_ERRNOS, RuleSet, Trigger},
};
use proptest::prelude::*;

use super::*;
use crate::seccomp::{
    caller::NamedFile,
    env::{BoardGround, Files},
    lookup::Paths,
    rules::Naming,
    under::Under,
};

const READ: u16 = 0;

fn rule(slot: u32) -> Rule {
    let mut errnos = [ErrnoChoice::default(); MAX_ERRNOS];
    errnos[0] = ErrnoChoice { below: 65_536, errno: 5 };
    Rule {
        seed: 1,
        not_before: 0,
        deadline: u64::MAX,
        at_most: 0,
        threshold: 0,
        every: 0,
        per_second: 0,
        slot,
        action: Action::Fail as u8,
        trigger: Trigger::Always as u8,
        shadow: 0,
        errno_count: 1,
        correlation: 0,
        errnos,
    }
}

/// Rules that all name `read`.
fn rules(rules: Vec<Rule>) -> SupervisorRules {
    let mut set = RuleSet::empty(1);
    let all = (1 << rules.len()) - 1;
    set.by_kind[EventKind::Call as usize] = all;
    set.by_protocol = [all; 4];
    SupervisorRules {
        set,
        rules,
        calls: vec![(READ.into(), Naming { any: all, ..Naming::default() })],
        under: Vec::new(),
    }
}

fn armed(of: SupervisorRules) -> (SharedRules, SupervisorRules) {
    let shared = SharedRules::create().unwrap();
    shared.publish(&of).unwrap();
    shared.lease_until(u64::MAX);
    let (_, read) = shared.rules().unwrap();
    assert_eq!(read, of);
    (shared, read)
}

/// Makes a call and says whether it failed.
fn call(shared: &SharedRules, rules: &SupervisorRules, file: Option<&str>) -> bool {
    let file = file.map(|file| NamedFile { path: file.into(), end: None });
    let files = file.into_iter().collect();
    call_of(shared, rules, &Files::Known(Paths { files, links: Vec::new() }))
}

fn call_of(shared: &SharedRules, rules: &SupervisorRules, files: &Files) -> bool {
    let ground = BoardGround { shared, rules, call: READ, files };
    let event = Event::call(READ, FileId::NONE);
    let verdict = decide(&ground, ground.rules.set.id, &event);
    let hit = verdict.is(Action::Fail);
    if hit {
        assert_eq!(verdict.errno, 5);
        confirm(&ground, &event, &verdict, true);
    }
    hit
}

fn counts(shared: &SharedRules, slot: u32) -> Vec<(Count, u64)> {
    shared.counts(slot).into_iter().filter(|(_, number)| *number > 0).collect()
}

proptest! {
    /// As of the gate in the kernel.
    #[test]
    fn a_second_is_not_given_anew_by_those_who_come_late(
        per_second in 1..5_u32,
        steps in proptest::collection::vec((0..300_000_000_u64, 0..1_500_000_000_u64), 1..200),
    ) {
        let rule = Rule { per_second, not_before: 100, ..rule(0) };
        let shared = SharedRules::create().unwrap();
        let (mut clock, mut current) = (rule.not_before, 0);
        let mut given = BTreeMap::<u64, u32>::new();
        for (step, late) in steps {
            clock += step;
            let read = clock.saturating_sub(late).max(rule.not_before);
            // The latest second that a caller has come with.
            current = current.max((read - rule.not_before) / NANOSECONDS);
            if shared.grant(&rule, read) == Grant::Given {
                *given.entry(current).or_default() += 1;
            }
        }
        prop_assert!(given.values().all(|given| *given <= per_second), "{given:?}");
    }
}

#[test]
fn what_one_process_publishes_another_reads() {
    let (shared, rules) = armed(rules(vec![rule(0), rule(7)]));
    let other = SharedRules::open(shared.memory.try_clone().unwrap()).unwrap();
    assert_eq!(other.rules(), Some((shared.generation(), rules)));
    assert!(call(&other, &other.rules().unwrap().1, None));
    assert_eq!(counts(&shared, 0), [(Count::Matched, 1), (Count::Injected, 1)]);
    let mut position = 0;
    assert_eq!(shared.drain(&mut position)[0].errno, 5);
    assert!(shared.drain(&mut position).is_empty());
    shared.close();
    assert!(other.is_closed());
    assert!(!call(&other, &other.rules().unwrap().1, None));
    assert_eq!(counts(&shared, 0)[2], (Count::Lease, 1));
}

#[test]
fn rules_that_are_being_written_or_make_no_sense_are_not_read() {
    let (shared, rules) = armed(rules(vec![rule(0)]));
    let generation = shared.generation();
    shared.page().generation.store(generation + 1, Ordering::SeqCst);
    assert_eq!(shared.rules(), None);
    shared.publish(&rules).unwrap();
    assert!(shared.generation() > generation && shared.rules().is_some());
    shared.page().length.store(9, Ordering::SeqCst);
    assert_eq!(shared.rules(), None);
}

#[test]
fn memory_of_others_is_refused() {
    let file = tempfile::tempfile().unwrap();
    assert!(matches!(SharedRules::open(file.into()), Err(SharedRulesError::Layout)));
    let (shared, _) = armed(rules(vec![rule(0)]));
    shared.page().layout.store(1, Ordering::SeqCst);
    let copy = shared.memory.try_clone().unwrap();
    assert!(matches!(SharedRules::open(copy), Err(SharedRulesError::Layout)));
}

#[test]
fn budgets_and_ordinals_are_exact_on_several_threads() {
    const THREADS: u64 = 8;
    const CALLS: u64 = 2_000;
    let at_most = Rule { at_most: 1_000, ..rule(0) };
    let every = Rule { trigger: Trigger::EveryNth as u8, every: 7, ..rule(1) };
    let (shared, rules) = armed(rules(vec![every, at_most]));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..CALLS).filter(|_| call(&shared, &rules, None)).count());
        }
    });
    let by = |slot, count| shared.counts(slot)[&count];
    assert_eq!(by(1, Count::Matched), THREADS * CALLS);
    assert_eq!(by(1, Count::Injected), THREADS * CALLS / 7);
    assert_eq!(by(0, Count::Injected), 1_000);
    assert_eq!(by(0, Count::Matched), 1_000 + by(0, Count::AtMost));
}

#[test]
fn a_window_is_of_these_calls_alone() {
    let window = Rule { trigger: Trigger::Window as u8, threshold: 3, every: 5, ..rule(0) };
    let (shared, rules) = armed(rules(vec![window]));
    let hit: Vec<u64> = (1..=8).filter(|_| call(&shared, &rules, None)).collect();
    assert_eq!(hit, [3, 4, 5]);
}

#[test]
fn so_many_a_second() {
    let limited = Rule { per_second: 2, at_most: 3, ..rule(0) };
    let (shared, _) = armed(rules(vec![limited]));
    let at = |seconds: u64| shared.grant(&limited, seconds * NANOSECONDS);
    assert_eq!([at(5), at(5), at(5)], [Grant::Given, Grant::Given, Grant::TooFast]);
    assert_eq!([at(6), at(6)], [Grant::Given, Grant::Spent]);
    shared.reset_slot(0);
    assert_eq!(at(6), Grant::Given);
}

#[test]
fn only_files_under_the_path() {
    let mut under = rules(vec![rule(0)]);
    under.set.by_path = 1;
    under.under = vec![(0, Under::new("/data"))];
    let (shared, rules) = armed(under);
    assert!(call(&shared, &rules, Some("/data/a")));
    assert!(!call(&shared, &rules, Some("/database")));
    assert!(!call(&shared, &rules, None));
    assert_eq!(counts(&shared, 0), [(Count::Matched, 1), (Count::Injected, 1)]);
}

#[test]
fn what_could_not_be_looked_up_in_time_is_unfit_for_rules_with_a_path_alone() {
    let mut rules =
        rules(vec![rule(0), Rule { trigger: Trigger::EveryNth as u8, every: 2, ..rule(1) }]);
    rules.set.by_path = 1;
    rules.under = vec![(0, Under::new("/data"))];
    let (shared, rules) = armed(rules);
    assert!(!call_of(&shared, &rules, &Files::Unknown));
    assert!(call_of(&shared, &rules, &Files::Unknown));
    assert_eq!(counts(&shared, 0), [(Count::Matched, 2), (Count::Unfit, 2)]);
    assert_eq!(counts(&shared, 1), [(Count::Matched, 2), (Count::Injected, 1), (Count::Chance, 1)]);
    assert!(!call_of(&shared, &rules, &Files::Unasked));
    assert_eq!(counts(&shared, 0), [(Count::Matched, 2), (Count::Unfit, 2)]);
}

#[test]
fn files_are_asked_for_only_while_a_rule_with_a_path_can_act() {
    let timed = Rule { not_before: 10, deadline: 20, ..rule(0) };
    let mut rules = rules(vec![timed, rule(1)]);
    assert!(!rules.ask_for_files(READ.into(), 15));
    rules.set.by_path = 1;
    assert_eq!(
        [9, 10, 19, 20].map(|now| rules.ask_for_files(READ.into(), now)),
        [false, true, true, false]
    );
    assert!(!rules.ask_for_files(1, 15));
    assert!(rules.has_path(&rules.rules[0]) && !rules.has_path(&rules.rules[1]));
}
