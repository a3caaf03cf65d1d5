//! What becomes of series while targets come, change and go.

use super::*;

const SECOND: u64 = 1_000_000_000;

fn fault(sentence: &str, slot: u32, injected: u64, chance: u64) -> FaultReport {
    let spared = (chance > 0).then(|| ("chance".to_owned(), chance)).into_iter().collect();
    let matched = injected + chance;
    FaultReport {
        fault: sentence.to_owned(),
        index: 0,
        hooks: Vec::new(),
        calls: Vec::new(),
        seed: 1,
        phase: Phase::Active,
        began: 0,
        ends: 60 * SECOND,
        slot,
        notes: Vec::new(),
        unmatched: None,
        counts: Counts { matched, injected, spared, ..Counts::default() },
    }
}

fn target(id: &str, faults: Vec<FaultReport>) -> TargetReport {
    TargetReport {
        id: id.to_owned(),
        target: id.to_owned(),
        cgroup: "/a".to_owned(),
        missed: 0,
        notes: Vec::new(),
        faults,
    }
}

fn armed(targets: Vec<TargetReport>) -> Ledgers {
    let of = |target: TargetReport| (ArmedId(target.id.clone()), Some(target));
    Ledgers { armed: Some(targets.into_iter().map(of).collect()), ..Ledgers::default() }
}

fn closed(closed: Vec<Closed>) -> Ledgers {
    Ledgers { closed, ..Ledgers::default() }
}

fn ended(target: TargetReport) -> Closed {
    Closed::Target(ArmedId(target.id.clone()), Some(target))
}

/// Namespace, run and fault of each series, what was injected, and what was spared by chance.
fn told(faults: &Faults) -> Vec<(String, u64, u64)> {
    let one = |told: Told| {
        let Labels { namespace, run, fault, target } = told.labels;
        let chance = told.sums.spared.get("chance").copied().unwrap_or(0);
        ([&**namespace, run, fault, target].join("|"), told.sums.injected, chance)
    };
    faults.series().map(one).collect()
}

fn row(labels: &str, injected: u64, chance: u64) -> (String, u64, u64) {
    (labels.to_owned(), injected, chance)
}

#[test]
fn pods_of_a_run_are_one_series_which_never_goes_back() {
    let mut faults = Faults::new(false);
    let slow = "delay 5ms for 40s as run-7k2/slow";
    let pod = |name: &str, injected: u64| {
        target(&format!("pod:shop/{name}"), vec![fault(slow, 0, injected, 1)])
    };
    faults.take(armed(vec![pod("a", 3), pod("b", 4)]), SECOND);
    assert_eq!(told(&faults), [row("shop|run-7k2|slow|", 7, 2)]);
    assert_eq!(
        faults.series().next().map(|one| (one.armed, one.ends)),
        Some((2, Some(60 * SECOND)))
    );

    // One ends, and its last ledger has more in it than was read before.
    faults.take(closed(vec![ended(pod("a", 5))]), 2 * SECOND);
    assert_eq!(told(&faults), [row("shop|run-7k2|slow|", 9, 2)]);
    // What is armed anew begins to count anew.
    faults.take(armed(vec![pod("a", 0), pod("b", 6)]), 3 * SECOND);
    assert_eq!(told(&faults), [row("shop|run-7k2|slow|", 11, 3)]);
    let ledgers = Ledgers { closed: vec![ended(pod("a", 1)), ended(pod("b", 6))], ..armed(vec![]) };
    faults.take(ledgers, 4 * SECOND);
    assert_eq!(told(&faults), [row("shop|run-7k2|slow|", 12, 3)]);
    assert_eq!(faults.series().next().map(|one| (one.armed, one.ends)), Some((0, None)));

    // It stays for as long as it is promised, and not longer.
    faults.take(armed(vec![]), 4 * SECOND + KEPT - 1);
    assert_eq!(told(&faults).len(), 1);
    faults.take(armed(vec![]), 4 * SECOND + KEPT);
    assert_eq!(told(&faults), []);
}

#[test]
fn labels_say_whose_fault_it_is() {
    for (id, sentence, expected) in [
        ("pod:shop/web-0", "drop as run/slow", "shop|run|slow|"),
        ("pod:shop/web-0/sidecar", "drop as bank/run/slow", "shop|bank/run|slow|"),
        ("pod:shop/web-0", "drop as mine", "shop||mine|"),
        ("pod:shop/web-0", "drop 10% egress", "shop||drop 10% egress|"),
        ("cli:1", "drop as run/slow", "|run|slow|"),
    ] {
        let mut faults = Faults::new(false);
        faults.take(armed(vec![target(id, vec![fault(sentence, 0, 1, 0)])]), SECOND);
        assert_eq!(told(&faults), [row(expected, 1, 0)], "{id}: {sentence}");
    }
    let mut faults = Faults::new(true);
    let targets = ["pod:shop/web-0", "pod:shop/web-1/sidecar", "cli:1"];
    let targets = targets.map(|id| target(id, vec![fault("drop", 0, 1, 0)]));
    faults.take(armed(targets.to_vec()), SECOND);
    let expected = ["||drop|cli:1", "shop||drop|web-0", "shop||drop|web-1/sidecar"];
    assert_eq!(told(&faults), expected.map(|labels| row(labels, 1, 0)));
    let long = format!("drop to {}", vec!["10.0.0.1"; 100].join(", "));
    assert!(shortened(&long).len() <= LONGEST + '…'.len_utf8());
}

#[test]
fn faults_that_were_replaced_are_counted_once() {
    let mut faults = Faults::new(false);
    let pod = "pod:shop/web-0";
    faults.take(
        armed(vec![target(pod, vec![fault("drop 1%", 0, 3, 0), fault("reset", 1, 2, 0)])]),
        1,
    );
    let replaced = Closed::Faults(target(pod, vec![fault("reset", 1, 4, 0)]));
    faults.take(closed(vec![replaced.clone()]), 2);
    let expected = [row("shop||drop 1%|", 3, 0), row("shop||reset|", 4, 0)];
    assert_eq!(told(&faults), expected);
    // The same sentence is written again, and then the pod is gone.
    faults.take(
        armed(vec![target(pod, vec![fault("drop 1%", 0, 3, 0), fault("reset", 1, 1, 0)])]),
        3,
    );
    faults.take(closed(vec![replaced, ended(target(pod, vec![fault("drop 1%", 0, 5, 0)]))]), 4);
    assert_eq!(told(&faults), [row("shop||drop 1%|", 5, 0), row("shop||reset|", 8, 0)]);
}

#[test]
fn what_cannot_be_read_stays_as_it_was_read_last() {
    let mut faults = Faults::new(false);
    let (id, pod) = (ArmedId("cli:1".to_owned()), target("cli:1", vec![fault("drop", 0, 3, 1)]));
    faults.take(armed(vec![pod.clone()]), 1);
    let unread = Ledgers { armed: Some(vec![(id.clone(), None)]), ..Ledgers::default() };
    faults.take(unread, 2);
    assert_eq!(told(&faults), [row("||drop|", 3, 1)]);
    faults.take(closed(vec![Closed::Target(id, None)]), 3);
    assert_eq!(told(&faults), [row("||drop|", 3, 1)]);
    // Its end was lost among too many.
    faults.take(armed(vec![pod]), 4);
    faults.take(Ledgers { dropped: 1, ..armed(vec![]) }, 5);
    assert_eq!((told(&faults), faults.dropped()), (vec![row("||drop|", 6, 2)], 1));
}

#[test]
fn what_is_over_the_bound_is_summed_and_does_not_go_back() {
    let mut faults = Faults { most: 1, ..Faults::new(false) };
    let pod = |id: &str, injected: u64| target(id, vec![fault("drop", 0, injected, 0)]);
    faults.take(armed(vec![pod("pod:a/x", 1), pod("pod:b/x", 2), pod("pod:c/x", 3)]), 1);
    let other = "_other_|_other_|_other_|_other_";
    assert_eq!(told(&faults), [row(other, 5, 0), row("a||drop|", 1, 0)]);
    assert_eq!(faults.times_folded(), 2);
    // There is room again, but these stay where they are.
    faults.take(closed(vec![ended(pod("pod:a/x", 1))]), 2);
    faults.take(armed(vec![pod("pod:b/x", 2), pod("pod:c/x", 4)]), KEPT + 2);
    assert_eq!(told(&faults), [row(other, 6, 0)]);
    faults.take(
        Ledgers { closed: vec![ended(pod("pod:b/x", 2))], ..armed(vec![pod("pod:c/x", 4)]) },
        KEPT + 3,
    );
    assert_eq!(told(&faults), [row(other, 6, 0)]);
}
