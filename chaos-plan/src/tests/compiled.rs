use chaos_ebpf_common::rule::{ErrnoChoice, Rule, Trigger};

use super::*;

const BEGAN: u64 = 1_000;
const SECOND: u64 = 1_000_000_000;

fn compiled(text: &str) -> Rule {
    compile(&[rule(text)], &[7], 1, &[BEGAN]).rules[0]
}

fn seeds(texts: &[&str]) -> Vec<u64> {
    let faults: Vec<Fault> = texts.iter().map(|text| fault(text)).collect();
    let rules = plan_all(&faults, &Terms { seed: 42, ..Terms::default() }).rules;
    let slots = vec![0; rules.len()];
    compile(&rules, &slots, 0, &vec![0; rules.len()]).rules.iter().map(|rule| rule.seed).collect()
}

#[test]
fn times_count_from_the_beginning() {
    let rule = compiled("drop after 2s for 30s at most 5 at most 3 per second");
    assert_eq!(rule.not_before, BEGAN + 2 * SECOND);
    assert_eq!(rule.deadline, BEGAN + 32 * SECOND);
    assert_eq!((rule.at_most, rule.per_second, rule.slot), (5, 3, 7));
    let late = compile(&[super::rule("drop after 1h")], &[0], 0, &[u64::MAX - 5]).rules[0];
    assert_eq!((late.not_before, late.deadline), (u64::MAX, u64::MAX));
}

#[test]
fn chances_become_triggers() {
    let found = |text| {
        let rule = compiled(text);
        (rule.trigger, rule.threshold, rule.every)
    };
    assert_eq!(found("drop"), (Trigger::Always as u8, 0, 0));
    assert_eq!(found("drop every 5th"), (Trigger::EveryNth as u8, 0, 5));
    assert_eq!(found("drop 50%"), (Trigger::Chance as u8, 1 << 31, 0));
    assert_eq!(found("fail bind with EIO 25%"), (Trigger::Chance as u8, 1 << 30, 0));
    assert_eq!(found("drop the 3rd to the 6th"), (Trigger::Window as u8, 3, 6));
    assert_eq!(found("drop from the 10th"), (Trigger::Window as u8, 10, 0));
    assert_eq!(found("drop the first 3 of flows"), (Trigger::FlowWindow as u8, 1, 3));
    assert_eq!(found("drop 50% of flows"), (Trigger::FlowChance as u8, 1 << 31, 0));
    // 5 of 95, over 10; and as many as not.
    assert_eq!(found("drop 5% in bursts of 10"), (Trigger::Burst as u8, 22_605_091, 10));
    assert_eq!(found("drop 90% in bursts of 9"), (Trigger::Burst as u8, u32::MAX, 9));
    // 2^32 / 10^8 = 42.95, and the complement of it.
    assert_eq!(found("drop 0.000001%").1, 43);
    assert_eq!(found("drop 99.999999%").1, u32::MAX - 42);
    assert_eq!(compiled("shadow drop").shadow, 1);
    assert_eq!(compiled("delay 1s jitter 1s correlation 25%").correlation, 1 << 30);
}

#[test]
fn only_rules_that_ask_for_the_flow_have_it_hashed() {
    let texts = [
        "drop 50%",
        "drop 50% of flows",
        "limit 1mbit",
        "limit 1mbit per flow",
        "drop 5% of flows",
    ];
    let set = compile(&texts.map(rule), &[0, 1, 2, 3, 4], 0, &[BEGAN; 5]).set;
    assert_eq!(set.by_flow, 0b11010);
}

#[test]
fn rules_on_frames_have_their_stage() {
    let rules = [
        "corrupt",
        "drop",
        "corrupt silent",
        "duplicate",
        "fail bind with EIO",
        "reorder by 1s",
        "delay 1s",
        "reset",
        "limit 1mbit",
    ]
    .map(rule);
    let set = compile(&rules, &[0, 1, 2, 3, 4, 5, 6, 7, 8], 0, &[BEGAN; 9]).set;
    let [reset, limit] = [1 << 7, 1 << 8];
    assert_eq!(set.by_stage, [reset, 0b101, 0b1000, limit, 0b100_0000, 0b10_0000]);
    // Nothing but TCP has connections.
    assert_eq!(set.by_protocol.map(|rules| rules & reset), [reset, 0, 0, 0]);
}

#[test]
fn errnos_share_the_range_by_weight() {
    let rule = compiled("fail connect with ENOSPC*3, EIO");
    let choice = |below, errno| ErrnoChoice { below, errno };
    assert_eq!(rule.errno_count, 2);
    assert_eq!(rule.errnos[..3], [choice(49_152, 28), choice(65_536, 5), choice(0, 0)]);
    let thirds = compiled("fail connect with EIO, EPERM, ENOENT");
    assert_eq!(thirds.errnos.map(|choice| choice.below)[..3], [21_845, 43_691, 65_536]);
    // The lightest beside the heaviest still gets a share.
    let lopsided = compiled("fail bind with EIO*1000, EPERM");
    assert_eq!(lopsided.errnos.map(|choice| choice.below)[..2], [65_471, 65_536]);
}

#[test]
fn rules_with_one_seed_are_independent_and_repeat() {
    let all = seeds(&["drop 10%", "drop 20%", "drop 10%"]);
    assert_eq!(all, seeds(&["drop 10%", "drop 20%", "drop 10%"]));
    assert_eq!(BTreeSet::from_iter(&all).len(), 3);
    assert_eq!(seeds(&["drop 20%", "drop 10%"]), [all[1], all[0]], "wherever it stands");
    assert_ne!(seeds(&["drop 10% seed 43"]), all[..1]);
    assert_eq!(seeds(&["drop 10% seed 42"]), all[..1], "given or by default");
    assert_eq!(seeds(&["shadow drop 10%"]), all[..1], "a shadow hits what the fault would");
}

#[test]
fn who_asks_and_until_when_is_no_matter_of_the_dice() {
    let of_run = "drop 10% until 2026-11-28T10:14:00Z as run/a";
    let both = seeds(&[of_run, "drop 10% as run/b"]);
    assert_eq!(both, seeds(&["drop 10%", "drop 10%"]), "and two of them are two dice");
    assert_eq!(both[0], SEED_OF_DROP_TEN_PERCENT);
}

/// Pinned: what was decided for a seed once is decided so in every version and on every machine.
/// The number is mix(42 ^ FNV-1a("drop 10%")), worked out apart from this code.
#[test]
fn seeds_are_stable() {
    assert_eq!(seeds(&["drop 10%"]), [SEED_OF_DROP_TEN_PERCENT]);
}

const SEED_OF_DROP_TEN_PERCENT: u64 = 2_865_203_316_317_425_357;

#[test]
fn a_set_without_conditions_looks_nothing_up() {
    let compiled = compile(&[rule("drop egress")], &[0], 1, &[0]);
    let set = compiled.set;
    assert_eq!((set.peer_source, set.peer_destination, set.peer_exempt), (0, 0, 0));
    assert_eq!((set.port_source, set.port_destination), (0, 0));
    assert!(compiled.peers4.is_empty() && compiled.peers6.is_empty() && compiled.ports.is_empty());
}

#[test]
fn calls_are_a_table_of_numbers() {
    let rules = ["fail fsync with EIO", "drop", "fail fdatasync, connect with EIO"].map(rule);
    let compiled = compile(&rules, &[0, 1, 2], 1, &[0; 3]);
    let calls: Vec<(u16, u64)> = compiled.calls.into_iter().collect();
    assert_eq!(calls, [(74, 0b001), (75, 0b101)]);
    assert_eq!(compiled.set.by_kind[10], 0b101);
    assert_eq!(compiled.set.by_kind[4], 0b100);
}

#[test]
fn nested_prefixes_include_the_rules_of_the_wider_ones() {
    let faults = [fault("drop to 10.0.0.0/8"), fault("drop from 10.1.0.0/16")];
    let rules = plan_all(&faults, &Terms::default()).rules;
    let found: Vec<_> = compile(&rules, &[0, 1], 3, &[0, 0])
        .peers4
        .into_iter()
        .map(|(bits, key, ends)| (bits, key.set, key.address, ends.source, ends.destination))
        .collect();
    assert_eq!(found, [(40, 3, [10, 0, 0, 0], 0, 1), (48, 3, [10, 1, 0, 0], 0b10, 1)]);
}
