//! Does what one pod asks for, and answers.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chaos_api::{ArmedId, ContainerId, Engine, HaltedSince, RefusalCause, TargetReport};
use chaos_arm::KeeperGone;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource as _, ResourceExt as _};

use super::{
    super::{
        arming::{self, ArmResult, Arming, Obstacle, Verdict},
        desired::{Asked, Desired, wanted},
        events::event,
        kills::{self, Deed, Kill},
        names::{PodName, STATUS},
        observed::Observed,
        pod::PodState,
        queue::Answer,
        status::{PodPhase, Status},
        status_writer::Message,
    },
    GONE, Reconciler,
};

impl<E: Engine> Reconciler<'_, E> {
    pub(super) async fn reconcile_pod(
        &mut self,
        pod: &Arc<Pod>,
        facts: Observed,
    ) -> Result<(), KeeperGone> {
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
    pub(super) async fn act(&mut self, name: &PodName) -> Result<(), KeeperGone> {
        let now = self.clocks.now();
        let Some(known) = self.known.get_mut(name) else { return Ok(()) };
        let orders = known.facts.orders.clone();
        if orders.lever.is_some() {
            known.obey(&orders, &now);
        }
        match wanted(&known.facts, &self.options.policy, &self.options.node_ips) {
            Desired::Faults(asked) => self.arm(name, asked).await?,
            Desired::Nothing => {
                self.close(name, PodPhase::Ended, vec![GONE.to_owned()]).await?;
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
        let results = match verdict {
            Verdict::Done(results, last) => {
                known.count_stopped(&last);
                results
            }
            Verdict::Refused(_, messages) => {
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
        for (ask, result) in asked.asks.into_iter().zip(results) {
            match result {
                ArmResult::Armed { report, indices, is_fresh } => {
                    known.armed.insert(ask.id.clone(), indices);
                    known.count(&report, is_fresh, &now);
                }
                ArmResult::Waiting(Obstacle { reason, .. }) => {
                    is_waiting = true;
                    messages.push(reason);
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
            Verdict::Done(results, _) => {
                if results.iter().any(|result| matches!(result, ArmResult::Armed { .. })) {
                    observer.armed(took);
                }
                for result in results {
                    if let ArmResult::Waiting(Obstacle { cause: Some(cause), .. }) = result {
                        observer.refused(*cause);
                    }
                }
            }
            Verdict::Refused(cause, _) => observer.refused(*cause),
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
    pub(super) async fn close(
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

    pub(super) async fn disarm(
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
    pub(super) fn answer(&mut self, name: &PodName) {
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

    pub(super) fn tell(&self, message: Message) {
        if self.answers.send(message).is_err() {
            tracing::debug!("nobody writes answers any more");
        }
    }
}
