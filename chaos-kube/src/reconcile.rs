//! The loop: what the API server says, what the kernel does, what is answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::ready,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_api::{
    AllowedVerbs, ArmedId, ContainerId, Ended, Engine, HaltedSince, RefusalCause, TargetReport,
};
use chaos_arm::{Handle, KeeperGone};
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::{Resource as _, ResourceExt as _, core::PartialObjectMeta, runtime::reflector::Store};
use tokio::{
    sync::{mpsc, watch},
    time::sleep_until,
};

use super::{
    Options,
    arming::{self, ArmResult, Arming, Verdict},
    cadence::{self, next_look},
    clock::TimeSource,
    desired::{Asked, Desired, wanted},
    events::event,
    guard::Guard,
    kills::{self, Deed, Kill},
    latency::Latency,
    liveness::Liveness,
    names::{ALLOW_VERBS, PodName, STATUS},
    notices::Change,
    observed::{Neighbours, Observed, name_of, neighbours},
    pass::{self, End, FoundPod},
    pod::PodState,
    queue::Answer,
    status::{PodPhase, Status},
    status_writer::Message,
    texts::{Look, Texts},
};

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
            Desired::Nothing | Desired::Over(_) | Desired::Refused(..) => End::All,
        }
    }

    /// Disarms the pods of which nothing goes on, in no more time than one of them takes.
    async fn disarm_what_ends(&mut self, found: &[FoundPod]) -> Result<(), KeeperGone> {
        let over = found.iter().filter(|one| one.end == End::All).map(|one| &one.facts.name);
        let over: Vec<PodName> = over.cloned().collect();
        let ids = over.iter().filter_map(|name| self.known.get(name)).flat_map(PodState::armed_ids);
        let ids: BTreeSet<ArmedId> = ids.collect();
        let reports = self.disarm(ids, "its faults were taken back").await?;
        for name in over {
            if let Some(known) = self.known.get_mut(&name) {
                known.count_all(&reports, &self.clocks.now());
            }
        }
        Ok(())
    }

    /// Ends what the guard has stopped: of all pods at once, in no more time than one of them takes. Where something
    /// of a pod goes on, that is armed without the rest when the pod is looked at.
    async fn obey_guard(&mut self) -> Result<(), KeeperGone> {
        let now = self.clocks.now();
        self.guard.see(self.leases.state().first().map(AsRef::as_ref), &now);
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

    async fn reconcile_pod(&mut self, pod: &Arc<Pod>, facts: Observed) -> Result<(), KeeperGone> {
        let name = facts.name.clone();
        let now = self.clocks.now();
        match self.known.get_mut(&name) {
            Some(known) => {
                if known.facts != facts {
                    known.retry = None;
                    if known.facts.text.is_none() {
                        // Asking again is a new fault, with a clock of its own.
                        known.faults.clear();
                    }
                    let same_text = known.facts.text == facts.text;
                    known.update(facts);
                    if known.is_finished() && same_text {
                        return Ok(());
                    }
                } else if !known.is_due(&now) {
                    return Ok(());
                }
            }
            None => {
                let answered = pod.annotations().get(STATUS).and_then(|text| Status::read(text));
                let was_asked = answered.as_ref().is_some_and(|status| status.observed.is_some());
                if facts.text.is_none() && !was_asked {
                    return Ok(());
                }
                let reference = pod.object_ref(&());
                let known = PodState::new(facts, reference, answered, &now);
                let is_finished = known.is_finished();
                self.known.insert(name.clone(), known);
                if is_finished {
                    return Ok(());
                }
            }
        }
        self.act(&name).await
    }

    /// Does what a pod asks for, and answers.
    async fn act(&mut self, name: &PodName) -> Result<(), KeeperGone> {
        let now = self.clocks.now();
        let Some(known) = self.known.get_mut(name) else { return Ok(()) };
        let orders = known.facts.orders.clone();
        if orders.lever.is_some() {
            known.obey(&orders, &now);
        }
        match wanted(&known.facts, &self.options.policy, &self.options.node_ips) {
            Desired::Faults(asked) => self.arm(name, asked).await?,
            Desired::Nothing => {
                self.close(name, PodPhase::Ended, vec!["the annotation is gone".into()]).await?;
            }
            Desired::Over(why) => self.close(name, PodPhase::Ended, vec![why]).await?,
            Desired::Refused(cause, messages) => {
                self.liveness.observer.refused(cause);
                self.close(name, PodPhase::Refused, messages).await?;
            }
        }
        self.answer(name);
        Ok(())
    }

    async fn arm(&mut self, name: &PodName, asked: Asked) -> Result<(), KeeperGone> {
        let now = self.clocks.now();
        let Some(known) = self.known.get_mut(name) else { return Ok(()) };
        let (armed, epoch) = (known.armed_ids(), known.facts.asked);
        known.adopt(&asked.faults, &now);
        let orders = known.facts.orders.clone();
        known.obey(&orders, &now);
        let arming = Arming {
            asks: asked.asks.clone(),
            clocks: known.clocks(),
            armed,
            policy: self.options.policy.clone(),
            clock: self.clocks.clone(),
        };
        let asked_at = Instant::now();
        let verdict = match self.handle.with_since(epoch, move |engine| arming.run(engine)).await? {
            Ok(verdict) => verdict,
            Err(halted) => return self.halted(name, halted).await,
        };
        self.measure(&verdict, asked_at.elapsed());
        let now = self.clocks.now();
        let Some(known) = self.known.get_mut(name) else { return Ok(()) };
        let fates = match verdict {
            Verdict::Done(fates, last) => {
                known.count_stopped(&last);
                fates
            }
            Verdict::Refused(messages) => {
                known.close(PodPhase::Refused, messages);
                return Ok(());
            }
            Verdict::Occupied(messages) => {
                known.refuse_for_now(messages, &now);
                return Ok(());
            }
        };
        let mut messages: Vec<String> = known.over().collect();
        let (mut is_waiting, mut is_handed_over) = (false, false);
        for (ask, fate) in asked.asks.into_iter().zip(fates) {
            match fate {
                ArmResult::Armed { report, indices, is_fresh } => {
                    messages.extend(report.notes.iter().cloned());
                    known.armed.insert(ask.id.clone(), indices);
                    known.count(&report, is_fresh, &now);
                }
                ArmResult::Waiting(message) => {
                    is_waiting = true;
                    messages.push(message);
                }
                ArmResult::HandedOver(message, clocks) => {
                    known.learn(&ask.indices, &clocks, &now);
                    is_handed_over = true;
                    messages.push(message);
                }
                ArmResult::Occupied(message) => {
                    is_handed_over = true;
                    messages.push(message);
                }
                ArmResult::Over => known.end(&ask.indices),
            }
        }
        if is_handed_over {
            known.retry_shortly(&now);
        } else if is_waiting {
            known.retry_later(&now);
        } else {
            known.retry = None;
        }
        match self.kill(name, &asked.kills).await? {
            Ok(more) => messages.extend(more),
            Err(halted) => return self.halted(name, halted).await,
        }
        if let Some(known) = self.known.get_mut(name) {
            known.settle(messages);
        }
        self.look_later(name);
        Ok(())
    }

    /// Tells whoever measures what became of what was to be armed.
    fn measure(&self, verdict: &Verdict, took: Duration) {
        let observer = &self.liveness.observer;
        match verdict {
            Verdict::Done(fates, _) => {
                if fates.iter().any(|fate| matches!(fate, ArmResult::Armed { .. })) {
                    observer.armed(took);
                }
            }
            Verdict::Refused(_) => observer.refused(RefusalCause::Plan),
            Verdict::Occupied(_) => observer.refused(RefusalCause::Occupied),
        }
    }

    /// Kills the containers that are to be killed and are noted. What is to be said of that.
    async fn kill(
        &mut self,
        name: &PodName,
        kills: &[Kill],
    ) -> Result<Result<Vec<String>, HaltedSince>, KeeperGone> {
        let mut messages = Vec::new();
        for kill in kills {
            let now = self.clocks.now();
            let Some(known) = self.known.get_mut(name) else { break };
            let containers = match (known.next_of(kill, &now), &known.facts.cgroup) {
                (Deed::Nothing, _) | (Deed::Kill(_), None) => continue,
                (Deed::Await(reason), _) => {
                    messages.push(reason);
                    continue;
                }
                (Deed::Kill(containers), Some(pod)) => {
                    let place = |id: ContainerId| (kills::place(pod, &id), id);
                    containers.into_iter().map(place).collect::<Vec<_>>()
                }
            };
            let shadow = kill.shadow;
            let killed = move |engine: &mut E| -> Vec<Result<(), String>> {
                let all = containers.iter().map(|(spec, id)| match shadow {
                    true => Ok(()),
                    false => engine.kill(spec).map_err(|why| format!("container {id}: {why}")),
                });
                all.collect()
            };
            let results = match self.handle.with_since(known.facts.asked, killed).await? {
                Ok(results) => results,
                Err(halted) => return Ok(Err(halted)),
            };
            messages.extend(results.iter().filter_map(|result| result.clone().err()));
            let now = self.clocks.now();
            if let Some(known) = self.known.get_mut(name) {
                known.killed(kill, &results, &now);
            }
        }
        Ok(Ok(messages))
    }

    /// Everything was halted after a pod had asked for what it asks for: that is over.
    async fn halted(&mut self, name: &PodName, halted: HaltedSince) -> Result<(), KeeperGone> {
        self.close(name, PodPhase::Ended, vec![halted.to_string()]).await
    }

    /// Disarms a pod for as long as its facts stay what they are.
    async fn close(
        &mut self,
        name: &PodName,
        phase: PodPhase,
        messages: Vec<String>,
    ) -> Result<(), KeeperGone> {
        let Some(known) = self.known.get(name) else { return Ok(()) };
        let reports = self.disarm(known.armed_ids(), &messages.join("; ")).await?;
        let now = self.clocks.now();
        let Some(known) = self.known.get_mut(name) else { return Ok(()) };
        known.count_all(&reports, &now);
        known.close(phase, messages);
        Ok(())
    }

    /// The keeper ended something by itself.
    async fn ended(&mut self, ended: Ended) -> Result<(), KeeperGone> {
        if let Some(name) = self.owner_of_lost(&ended.id).await?
            && let Some(known) = self.known.get_mut(&name)
        {
            let now = self.clocks.now();
            known.count_all(ended.report.as_slice(), &now);
            known.lose(&ended.id, ended.why, &now);
            self.answer(&name);
        }
        Ok(())
    }

    /// Somebody else had a target disarmed. All of the pod's faults end then, for good.
    async fn disarmed(&mut self, ended: Ended) -> Result<(), KeeperGone> {
        if let Some(name) = self.owner_of_lost(&ended.id).await? {
            if let Some(known) = self.known.get_mut(&name) {
                known.count_all(ended.report.as_slice(), &self.clocks.now());
            }
            self.close(&name, PodPhase::Ended, vec![ended.why]).await?;
            self.answer(&name);
        }
        Ok(())
    }

    /// Finds what is not armed any more after notices were missed.
    async fn look_for_lost(&mut self) -> Result<(), KeeperGone> {
        let ids: Vec<ArmedId> = self.known.values().flat_map(PodState::armed_ids).collect();
        for id in ids {
            if let Some(name) = self.owner_of_lost(&id).await?
                && let Some(known) = self.known.get_mut(&name)
            {
                known.lose(&id, "it is not armed any more".to_owned(), &self.clocks.now());
                self.answer(&name);
            }
        }
        Ok(())
    }

    /// The pod for which this was armed, unless it is armed still: a notice may speak of an
    /// earlier arming under the same id.
    async fn owner_of_lost(&self, id: &ArmedId) -> Result<Option<PodName>, KeeperGone> {
        let owner = self.known.values().find(|known| known.armed.contains_key(id));
        let Some(name) = owner.map(|known| known.facts.name.clone()) else { return Ok(None) };
        let id = id.clone();
        let is_armed =
            self.handle.with(move |engine| engine.ids().any(|armed| *armed == id)).await?;
        Ok((!is_armed).then_some(name))
    }

    /// The pods that have something in the kernel.
    fn armed(&self) -> impl Iterator<Item = &PodState> {
        self.known.values().filter(|known| !known.armed.is_empty())
    }

    /// Reads the ledgers that are due.
    async fn refresh(&mut self) -> Result<(), KeeperGone> {
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
    fn look_later(&mut self, name: &PodName) {
        let load = cadence::Load {
            on_node: self.armed().count(),
            in_cluster: self.guard.armed_pods(),
            latency: self.latency.get(),
        };
        let Some(known) = self.known.get_mut(name) else { return };
        // Without random numbers all nodes have the same interval, and no pod is forgotten.
        let dice = getrandom::u32().map_or(0.0, |number| f64::from(number) / f64::from(u32::MAX));
        let now = self.clocks.now();
        let change = known.next_change(&now);
        known.next_look = Some(next_look(now.instant, load, dice, change));
    }

    /// Takes everything back as the agent stops; the next one goes on with the clocks.
    async fn withdraw(mut self) -> Result<(), KeeperGone> {
        let message = format!("the agent of node {} has stopped", self.options.node_name);
        let open = || self.known.iter().filter(|(_, known)| known.is_open());
        let ids = open().flat_map(|(_, known)| known.armed_ids()).collect();
        let names: Vec<PodName> = open().map(|(name, _)| name.clone()).collect();
        // In no more time than one of them.
        let reports = self.disarm(ids, &message).await?;
        for name in names {
            if let Some(known) = self.known.get_mut(&name) {
                known.count_all(&reports, &self.clocks.now());
                known.close(PodPhase::Waiting, vec![message.clone()]);
            }
            self.answer(&name);
        }
        Ok(())
    }

    async fn disarm(
        &self,
        ids: BTreeSet<ArmedId>,
        why: &str,
    ) -> Result<Vec<TargetReport>, KeeperGone> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let why = why.to_owned();
        self.handle.with(move |engine| arming::disarm(engine, &ids, &why)).await
    }

    /// Has the pod's status written, if it is not what is written already.
    fn answer(&mut self, name: &PodName) {
        let Some(known) = self.known.get_mut(name) else { return };
        let status = known.status();
        let before = known.answered.replace(status.clone());
        if before.as_ref() == Some(&status) {
            return;
        }
        let answer = Answer {
            pod: name.clone(),
            reference: known.reference.clone(),
            event: event(before.as_ref(), &status),
            status,
        };
        self.tell(Message::Answer(Box::new(answer)));
    }

    fn tell(&self, message: Message) {
        if self.answers.send(message).is_err() {
            tracing::debug!("nobody writes answers any more");
        }
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
