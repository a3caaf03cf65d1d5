//! Reads the ledgers of armed pods when that is due.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use chaos_api::{ArmedId, Engine};
use chaos_arm::KeeperGone;

use super::{
    super::{
        cadence::{Load, next_look, sooner},
        names::PodName,
        pod::PodState,
    },
    Reconciler,
};

impl<E: Engine> Reconciler<'_, E> {
    /// The pods that have something in the kernel.
    pub(super) fn armed(&self) -> impl Iterator<Item = &PodState> {
        self.known.values().filter(|known| !known.armed.is_empty())
    }

    /// Reads the ledgers that are due.
    pub(super) async fn refresh(&mut self) -> Result<(), KeeperGone> {
        let now = self.clocks.now();
        let is_due = |known: &&PodState| known.next_look.is_some_and(|at| at <= now.instant);
        let due: Vec<(PodName, BTreeSet<ArmedId>)> = self
            .armed()
            .filter(is_due)
            .map(|known| (known.facts.name.clone(), known.armed_ids()))
            .collect();
        let ids: Vec<ArmedId> = due.iter().flat_map(|(_, ids)| ids).cloned().collect();
        let read = move |engine: &mut E| -> Vec<_> {
            ids.into_iter().map(|id| (engine.report(&id), id)).collect()
        };
        let mut reports = BTreeMap::new();
        for (report, id) in self.handle.with(read).await? {
            match report {
                Some(Ok(report)) => drop(reports.insert(id, report)),
                Some(Err(error)) => tracing::warn!(%id, %error, "the ledger was not read"),
                // A notice of that is on its way.
                None => {}
            }
        }
        for (name, ids) in due {
            let Some(known) = self.known.get_mut(&name) else { continue };
            let now = self.clocks.now();
            for id in ids {
                if let Some(report) = reports.remove(&id) {
                    known.count(&report, false, &now);
                }
            }
            self.look_later(&name);
            self.answer(&name);
        }
        Ok(())
    }

    /// Has the ledgers of a pod read again in time.
    pub(super) fn look_later(&mut self, name: &PodName) {
        let load = self.load();
        let Some(known) = self.known.get_mut(name) else { return };
        let now = self.clocks.now();
        let change = known.next_change(&now);
        known.next_look = Some(next_look(now.instant, load, dice(), change));
    }

    /// Has ledgers read as often as may be while fewer pods of the cluster are armed. The number may have been wrong
    /// before, and whoever has gone by it waits for a quarter of an hour.
    pub(super) fn look_sooner(&mut self, now: Instant) {
        let load = self.load();
        for known in self.known.values_mut() {
            known.next_look = known.next_look.map(|next| sooner(next, now, load, dice()));
        }
    }

    fn load(&self) -> Load {
        Load {
            on_node: self.armed().count(),
            in_cluster: self.guard.armed_pods(),
            latency: self.latency.get(),
        }
    }
}

/// From 0 to 1. Without random numbers all nodes have the same interval, and no pod is forgotten.
fn dice() -> f64 {
    getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX))
}
