//! Keeps what the guard's Lease says: whether somebody watches over guarded faults, whether the whole cluster is halted,
//! and which Runs are. Pure.
//!
//! The controller renews the Lease from the loop that watches over its Runs. An agent compares no clocks with it: it
//! measures by its own clock how long the Lease has stood still.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use chaos_api::RunName;
use chaos_plan::nanoseconds;
use k8s_openapi::{api::coordination::v1::Lease, apimachinery::pkg::apis::meta::v1::MicroTime};
use kube::ResourceExt as _;

use super::{
    clock::{Now, Why},
    names::{HALT, HALTED_RUNS},
    texts::Text,
};

/// A Lease that has stood still for so long guards nothing.
pub const PATIENCE: Duration = Duration::from_secs(45);

/// What an agent knows of the Lease.
#[derive(Debug, Default)]
pub(super) struct Guard {
    lease: Option<Seen>,
    /// It outlives the Lease.
    lever: Option<Lever>,
    halted: BTreeSet<RunName>,
}

/// A Lease that is there.
#[derive(Debug)]
struct Seen {
    renewed: Option<MicroTime>,
    /// When it was found, or was renewed last while it was watched; boot clock, ns.
    at: u64,
    has_moved: bool,
}

/// Everything that annotations ask for is halted.
#[derive(Debug)]
struct Lever {
    reason: Arc<str>,
    /// Of the Lease that says so.
    lease: String,
}

/// Whether somebody watches over guarded faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watched {
    /// The Lease moves.
    Yes,
    /// It has not moved yet since it was found.
    NotYet,
    /// It is not there, or stands still.
    No,
}

/// What the guard says of one pod's faults. Two pods with equal orders are told the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Orders {
    /// Why nothing is armed at all.
    pub lever: Option<Arc<str>>,
    /// The faults of the text that are over, by their indices.
    pub stopped: BTreeMap<usize, Why>,
    /// It is not known yet whether somebody watches over its guarded faults.
    pub is_awaited: bool,
}

impl Guard {
    /// Takes in the Lease as it is, or that there is none.
    pub fn see(&mut self, lease: Option<&Lease>, now: &Now) {
        let Some(lease) = lease else {
            self.lease = None;
            return;
        };
        let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        self.lease = Some(match self.lease.take() {
            Some(seen) if seen.renewed == renewed => seen,
            Some(_) => Seen { renewed, at: now.boot, has_moved: true },
            None => Seen { renewed, at: now.boot, has_moved: false },
        });
        self.see_lever(lease);
        let halted = lease.annotations().get(HALTED_RUNS);
        self.halted = halted.map(|list| RunName::read_list(list)).unwrap_or_default();
    }

    /// The lever is lifted where it was pulled, or by an empty value. A Lease that was made anew says nothing.
    fn see_lever(&mut self, lease: &Lease) {
        let uid = lease.uid().unwrap_or_default();
        match lease.annotations().get(HALT).map(|reason| reason.trim()) {
            Some("") => self.lever = None,
            Some(reason) => self.lever = Some(Lever { reason: reason.into(), lease: uid }),
            None => drop(self.lever.take_if(|lever| lever.lease == uid)),
        }
    }

    fn watched(&self, now: &Now) -> Watched {
        match &self.lease {
            Some(seen) if now.boot.saturating_sub(seen.at) < nanoseconds(PATIENCE) => {
                if seen.has_moved { Watched::Yes } else { Watched::NotYet }
            }
            Some(_) | None => Watched::No,
        }
    }

    /// When the Lease was found, or moved last (boot clock, ns), if there is one.
    pub fn moved_at(&self) -> Option<u64> {
        self.lease.as_ref().map(|seen| seen.at)
    }

    /// How long it is until a Lease that stands still guards nothing any more.
    pub fn next_change(&self, now: &Now) -> Option<Duration> {
        let ends = self.lease.as_ref()?.at.saturating_add(nanoseconds(PATIENCE));
        (ends > now.boot).then(|| Duration::from_nanos(ends - now.boot))
    }

    /// What it says of the faults of a pod in this namespace.
    pub fn orders(&self, text: Option<&Text>, namespace: &str, now: &Now) -> Orders {
        let Some(text) = text else { return Orders::default() };
        let lever = self.lever.as_ref().map(|lever| lever.reason.clone());
        let watched = self.watched(now);
        let mut orders = Orders { lever, ..Orders::default() };
        for (index, fault) in text.faults.iter().flatten().enumerate() {
            let is_halted = || {
                let run = RunName::of(fault, namespace);
                run.is_some_and(|run| self.halted.contains(&run))
            };
            if fault.guarded && watched == Watched::No {
                orders.stopped.insert(index, Why::Unguarded);
            } else if !self.halted.is_empty() && is_halted() {
                orders.stopped.insert(index, Why::Halted);
            }
            orders.is_awaited |= fault.guarded && watched == Watched::NotYet;
        }
        orders
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use k8s_openapi::jiff::Timestamp;
    use proptest::{option, prelude::*, sample::select};
    use serde_json::json;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const TEXT: &str =
        "drop guarded as run/a; corrupt as other/a; drop 1%; delay 5ms as bank/run/a";

    fn at(second: u64) -> Now {
        Now {
            wall: Timestamp::UNIX_EPOCH,
            boot: second * SECOND,
            boot_id: None,
            instant: Instant::now(),
        }
    }

    fn lease(uid: &str, renewed: i64, annotations: serde_json::Value) -> Lease {
        let renewed = MicroTime(Timestamp::from_second(renewed).unwrap());
        serde_json::from_value(json!({
            "metadata": { "name": "chaos-controller", "uid": uid, "annotations": annotations },
            "spec": { "renewTime": renewed, "holderIdentity": "a" },
        }))
        .unwrap()
    }

    fn orders(guard: &Guard, second: u64) -> Orders {
        guard.orders(Some(&Text::read(TEXT)), "shop", &at(second))
    }

    fn stopped(guard: &Guard, second: u64) -> Vec<(usize, Why)> {
        orders(guard, second).stopped.into_iter().collect()
    }

    const GONE: [(usize, Why); 1] = [(0, Why::Unguarded)];

    #[test]
    fn a_lease_guards_once_it_moves_and_until_it_has_stood_still() {
        let mut guard = Guard::default();
        assert_eq!(stopped(&guard, 100), GONE, "there is none");
        assert_eq!(guard.next_change(&at(100)), None);
        guard.see(Some(&lease("1", 0, json!({}))), &at(100));
        assert!(orders(&guard, 100).is_awaited && stopped(&guard, 144).is_empty());
        assert_eq!(stopped(&guard, 145), GONE, "it was found as somebody left it");

        guard.see(Some(&lease("1", 5, json!({}))), &at(110));
        assert_eq!(orders(&guard, 110), Orders::default());
        // What else happens to it is no move.
        guard.see(Some(&lease("1", 5, json!({ "a": "b" }))), &at(130));
        assert_eq!(guard.next_change(&at(130)), Some(Duration::from_secs(25)));
        assert_eq!((stopped(&guard, 154), stopped(&guard, 155)), (vec![], GONE.to_vec()));
        assert_eq!(guard.next_change(&at(155)), None);

        // Even back, by clocks of others.
        guard.see(Some(&lease("1", -5, json!({}))), &at(160));
        assert_eq!(orders(&guard, 160), Orders::default());
        guard.see(None, &at(161));
        assert_eq!(stopped(&guard, 161), GONE);
    }

    #[test]
    fn the_lever_is_lifted_where_it_was_pulled() {
        let mut guard = Guard::default();
        let lever = |guard: &Guard| orders(guard, 100).lever.map(|reason| reason.to_string());
        let halted = |uid: &str| lease(uid, 0, json!({ HALT: " INC-4711 " }));
        guard.see(Some(&halted("1")), &at(100));
        assert_eq!(lever(&guard).as_deref(), Some("INC-4711"));
        guard.see(Some(&lease("1", 0, json!({}))), &at(100));
        assert_eq!(lever(&guard), None);

        guard.see(Some(&halted("1")), &at(100));
        // Neither deleting the Lease lifts it, nor making it anew.
        guard.see(None, &at(100));
        assert!(lever(&guard).is_some());
        guard.see(Some(&lease("2", 0, json!({}))), &at(100));
        assert!(lever(&guard).is_some());
        guard.see(Some(&lease("2", 0, json!({ HALT: "" }))), &at(100));
        assert_eq!(lever(&guard), None);
        guard.see(Some(&lease("2", 0, json!({}))), &at(100));
        assert_eq!(lever(&guard), None);
        // A pod that asks for nothing is told nothing.
        guard.see(Some(&halted("2")), &at(100));
        assert_eq!(guard.orders(None, "shop", &at(100)), Orders::default());
    }

    #[test]
    fn of_halted_runs_the_faults_are_over() {
        let mut guard = Guard::default();
        let list = |list: &str| lease("1", 0, json!({ HALTED_RUNS: list }));
        guard.see(Some(&list("")), &at(90));
        for (halted, expected) in [
            ("shop/run", vec![(0, Why::Halted)]),
            ("shop/other, bank/run", vec![(1, Why::Halted), (3, Why::Halted)]),
            ("bank/other, shop/x", vec![]),
            ("nonsense,,", vec![]),
        ] {
            guard.see(Some(&list(halted)), &at(100));
            assert_eq!(stopped(&guard, 100), expected, "{halted}");
        }
        let of_text = guard.orders(Some(&Text::read("drop everything")), "shop", &at(100));
        assert_eq!(of_text, Orders::default());
    }

    proptest! {
        /// Whatever is seen: between two moves there is no time in which a guarded fault goes on for longer.
        #[test]
        fn no_fault_is_guarded_for_longer_than_the_patience(
            steps in prop::collection::vec(
                (0_u64..60, option::weighted(0.9, (select(vec!["1", "2"]), 0_i64..4))), 1..20,
            ),
        ) {
            let mut guard = Guard::default();
            let (mut now, mut moved, mut last) = (1_000, None, None);
            for (passed, found) in steps {
                now += passed;
                let found = found.map(|(uid, renewed)| lease(uid, renewed, json!({})));
                guard.see(found.as_ref(), &at(now));
                let renewed = found.and_then(|lease| lease.spec?.renew_time);
                if renewed.is_none() || renewed != last {
                    moved = renewed.as_ref().map(|_| now);
                }
                last = renewed;
                let orders = orders(&guard, now);
                let is_guarded = orders.stopped.is_empty() && !orders.is_awaited;
                prop_assert!(!is_guarded || moved.is_some_and(|moved| now - moved < 45));
            }
        }
    }
}
