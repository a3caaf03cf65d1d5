//! The loop: what the API server says, what the kernel does, what is answered.

mod counts;
mod endings;
mod pods;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::Arc,
    time::Instant,
};

use chaos_api::{AllowedVerbs, ArmedId, Engine};
use chaos_arm::{Handle, KeeperGone};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::{ResourceExt as _, core::PartialObjectMeta, runtime::reflector::Store};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{
    Options,
    clock::TimeSource,
    desired::{Desired, wanted},
    guard::Guard,
    latency::Latency,
    liveness::Liveness,
    names::{ALLOW_VERBS, PodName},
    notices::Change,
    observed::{Neighbours, Observed, name_of, neighbours},
    pass::{self, End, FoundPod},
    pod::PodState,
    status::PodPhase,
    status_writer::Message,
    texts::{Look, Texts},
};

/// Why the faults of a pod without an annotation end.
const GONE: &str = "the annotation is gone";

/// The one who arms pods.
pub(super) struct Reconciler<'a, E: Engine> {
    pub handle: Handle<E>,
    pub clocks: TimeSource,
    pub options: &'a Options,
    pub liveness: &'a Liveness<E>,
    pub pods: Store<Pod>,
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    pub leases: Store<Lease>,
    pub guard: Guard,
    pub answers: mpsc::UnboundedSender<Message>,
    /// Of what is written of them.
    pub latency: Latency,
    pub texts: Texts,
    pub known: BTreeMap<PodName, PodState>,
    /// The API server was not heard when something was to be done.
    pub is_deaf: bool,
    /// The last pass ended before it had looked at every pod.
    pub is_unfinished: bool,
    /// The last pod that it armed, or looked at for that.
    pub passed: Option<PodName>,
}

impl<E: Engine> Reconciler<'_, E> {
    /// Works until `shutdown` says so, then takes back what it armed.
    pub async fn run(
        mut self,
        mut notices: mpsc::UnboundedReceiver<Change>,
        mut shutdown: watch::Receiver<bool>,
    ) -> Result<(), KeeperGone> {
        loop {
            let retry =
                self.known.values().filter_map(|known| known.retry).map(|retry| retry.at).min();
            let look = self.armed().filter_map(|known| known.next_look).min();
            let now = self.clocks.now();
            let guard = self.guard.next_change(&now).map(|left| now.instant + left);
            tokio::select! {
                () = told_to_stop(&mut shutdown) => break,
                () = self.liveness.changed.notified() => self.reconcile().await?,
                () = sleep_or_wait(retry) => self.reconcile().await?,
                () = sleep_or_wait(guard) => self.reconcile().await?,
                () = self.texts.read_next() => self.reconcile().await?,
                () = ready(()), if self.is_unfinished => self.reconcile().await?,
                () = sleep_or_wait(look) => self.refresh().await?,
                notice = notices.recv() => match notice {
                    Some(Change::Ended(ended)) => self.ended(ended).await?,
                    Some(Change::Disarmed(ended)) => self.disarmed(ended).await?,
                    Some(Change::Unknown) => self.look_for_lost().await?,
                    None => return Err(KeeperGone),
                },
            }
        }
        self.withdraw().await
    }

    /// Brings every pod to what it asks for now. Pods that ask for the same as before cost no
    /// more than a comparison. Where that takes long, it is not finished when this returns: what others want ended
    /// does not wait for that.
    async fn reconcile(&mut self) -> Result<(), KeeperGone> {
        self.is_unfinished = false;
        // Also while the server is not heard: then nobody knows whether somebody watches.
        self.obey_guard().await?;
        if !self.liveness.may_arm() {
            self.is_deaf = true;
            let now = self.clocks.now();
            self.known.values_mut().for_each(|known| known.put_off(&now));
            return Ok(());
        }
        if std::mem::take(&mut self.is_deaf) {
            let now = self.clocks.now();
            self.known.values_mut().for_each(|known| known.hurry(&now));
        }
        let enabled: BTreeMap<String, AllowedVerbs> =
            self.namespaces.state().iter().map(|one| (one.name_any(), allowed_by(one))).collect();
        // First: whoever halts from here on means what is found now.
        self.texts.epoch = self.liveness.epoch_of_changes();
        let pods = self.pods.state();
        self.forget_gone(&pods).await?;
        self.texts.retain(&pods);
        let neighbours = neighbours(pods.iter().map(AsRef::as_ref));
        let found = pods.into_iter().filter_map(|pod| self.observe(pod, &enabled, &neighbours));
        let mut found: Vec<FoundPod> = found.collect();
        pass::sort(&mut found, self.passed.as_ref());
        self.disarm_what_ends(&found).await?;
        let began = self.clocks.now().instant;
        let mut had_other = false;
        for FoundPod { pod, facts, end } in found {
            let is_over =
                self.clocks.now().instant.saturating_duration_since(began) >= pass::LONGEST;
            // Of those of which nothing ends one has its turn in each pass, however many end in part again and again.
            if is_over && had_other {
                self.is_unfinished = true;
                return Ok(());
            }
            if is_over && end != End::Nothing {
                self.is_unfinished = true;
                continue;
            }
            if end == End::Nothing {
                had_other = true;
                self.passed = Some(facts.name.clone());
            }
            self.reconcile_pod(&pod, facts).await?;
        }
        if !self.is_unfinished {
            self.passed = None;
        }
        Ok(())
    }

    /// What is known of a pod; nothing where its first text is still to be read.
    fn observe(
        &mut self,
        pod: Arc<Pod>,
        enabled: &BTreeMap<String, AllowedVerbs>,
        neighbours: &Neighbours,
    ) -> Option<FoundPod> {
        let name = name_of(&pod);
        let (text, asked) = match self.texts.look(&pod) {
            Look::None => (None, self.texts.asked(&pod)),
            Look::Read(text) => (Some(text), self.texts.asked(&pod)),
            // Until then it is the one before that holds, as far as everything else lets it.
            Look::Soon => {
                let known = self.known.get(&name)?;
                (known.facts.text.clone(), known.facts.asked)
            }
        };
        let orders = self.guard.orders(text.as_deref(), &name.namespace, &self.clocks.now());
        let allows = enabled.get(&name.namespace).cloned();
        let facts = Observed::of(&pod, text, asked, allows, neighbours, orders);
        let end = self.end_of(&facts);
        Some(FoundPod { pod, facts, end })
    }

    /// What ends of what is armed for a pod, by what is known of it now.
    fn end_of(&self, facts: &Observed) -> End {
        let known = self.known.get(&facts.name);
        let Some(known) = known.filter(|known| !known.armed.is_empty() && known.facts != *facts)
        else {
            return End::Nothing;
        };
        match wanted(facts, &self.options.policy, &self.options.node_ips) {
            Desired::Faults(_) if known.keeps_all(facts) => End::Nothing,
            Desired::Faults(_) => End::Part,
            Desired::Nothing => End::All(GONE.to_owned()),
            Desired::Over(why) => End::All(why),
            // Of each pod something else is wrong, and its status says what.
            Desired::Refused(..) => End::All("it is refused now".to_owned()),
        }
    }

    /// Disarms the pods of which nothing goes on. All that end for one reason take no more time than one of them.
    async fn disarm_what_ends(&mut self, found: &[FoundPod]) -> Result<(), KeeperGone> {
        let mut over: BTreeMap<&str, Vec<&PodName>> = BTreeMap::new();
        for FoundPod { facts, end, .. } in found {
            match end {
                End::All(why) => over.entry(why).or_default().push(&facts.name),
                End::Part | End::Nothing => {}
            }
        }
        for (why, names) in over {
            let known = names.iter().filter_map(|name| self.known.get(*name));
            let ids: BTreeSet<ArmedId> = known.flat_map(PodState::armed_ids).collect();
            let reports = self.disarm(ids, why).await?;
            for name in names {
                if let Some(known) = self.known.get_mut(name) {
                    known.count_all(&reports, &self.clocks.now());
                }
            }
        }
        Ok(())
    }

    /// Ends what the guard has stopped: of all pods at once, in no more time than one of them takes. Where something
    /// of a pod goes on, that is armed without the rest when the pod is looked at.
    async fn obey_guard(&mut self) -> Result<(), KeeperGone> {
        let now = self.clocks.now();
        let armed_before = self.guard.armed_pods();
        self.guard.see(self.leases.state().first().map(AsRef::as_ref), &now);
        if self.guard.armed_pods() < armed_before {
            self.look_sooner(now.instant);
        }
        self.liveness.observer.guard_moved(self.guard.moved_at());
        let (mut ids, mut over) = (BTreeSet::new(), Vec::new());
        for (name, known) in &mut self.known {
            let text = known.facts.text.as_deref();
            let orders = self.guard.orders(text, &name.namespace, &now);
            if known.is_finished() || orders == known.facts.orders {
                continue;
            }
            let is_over = known.obey(&orders, &now);
            if is_over && !known.armed.is_empty() {
                ids.extend(known.armed_ids());
                known.facts.orders = orders;
                over.push(name.clone());
            }
        }
        let reports = self.disarm(ids, "the guard of the cluster ended it").await?;
        for name in over {
            let Some(known) = self.known.get_mut(&name) else { continue };
            known.count_all(&reports, &self.clocks.now());
            if known.facts.orders.lever.is_some() {
                self.act(&name).await?;
            } else {
                let messages = known.over().collect();
                self.close(&name, PodPhase::Ended, messages).await?;
                self.answer(&name);
            }
        }
        Ok(())
    }

    /// Takes back what was armed for pods that are gone, or were replaced by one of the same name.
    async fn forget_gone(&mut self, pods: &[Arc<Pod>]) -> Result<(), KeeperGone> {
        let there: BTreeSet<(PodName, String)> =
            pods.iter().map(|pod| (name_of(pod), pod.uid().unwrap_or_default())).collect();
        let is_gone = |name: &PodName, known: &mut PodState| {
            !there.contains(&(name.clone(), known.facts.uid.clone()))
        };
        let gone: Vec<(PodName, PodState)> = self.known.extract_if(.., is_gone).collect();
        let mut ids = BTreeSet::new();
        for (name, known) in gone {
            ids.extend(known.armed.into_keys());
            self.tell(Message::Gone(name));
        }
        self.disarm(ids, "the pod is gone").await?;
        Ok(())
    }
}

/// The verbs that a namespace allows.
fn allowed_by(namespace: &PartialObjectMeta<Namespace>) -> AllowedVerbs {
    let list = namespace.annotations().get(ALLOW_VERBS);
    list.map(|list| AllowedVerbs::read_known(list)).unwrap_or_default()
}

async fn sleep_or_wait(until: Option<Instant>) {
    match until {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Whoever can no longer tell us to stop has stopped.
async fn told_to_stop(shutdown: &mut watch::Receiver<bool>) {
    drop(shutdown.wait_for(|stop| *stop).await);
}

#[cfg(test)]
mod tests;
