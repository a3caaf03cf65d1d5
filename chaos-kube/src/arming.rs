//! One pod's faults into the kernel, whole or not at all. Runs on the keeper's thread.

use std::collections::{BTreeMap, BTreeSet};

use chaos_api::{
    ArmedId, Engine, FaultClock, ForeignClocks, Found, Occupied, Outcome, Policy, RefusalCause,
    Request, TargetReport,
};
use chaos_fault::Fault;
use chaos_plan::{Plan, Refusal, Scope, clash, nanoseconds, plan};

use super::{
    clock::{Clock, Now, TimeSource},
    desired::{Assignment, Place},
};

/// The clocks of faults that were armed before, by their canonical sentences.
pub(super) type Clocks = BTreeMap<String, Clock>;

/// What is to be armed for one pod, and what may be armed for it already.
pub(super) struct Arming {
    pub asks: Vec<Assignment>,
    pub clocks: Clocks,
    pub armed: BTreeSet<ArmedId>,
    pub policy: Policy,
    pub clock: TimeSource,
}

/// What became of it.
pub(super) enum Verdict {
    /// Nothing is armed.
    Refused(RefusalCause, Vec<String>),
    /// Nothing is armed, as somebody else has armed what does not go together with it.
    Occupied(Vec<String>),
    /// What became of each ask, and the ledgers of what was armed before, as far as they were read.
    Done(Vec<ArmResult>, Vec<TargetReport>),
}

/// What became of one ask.
pub(super) enum ArmResult {
    Armed {
        report: TargetReport,
        /// For each fault in the kernel its index in the full text.
        indices: Vec<usize>,
        /// Its ledger began just now.
        is_fresh: bool,
    },
    /// It may work later.
    Waiting(Obstacle),
    /// Another agent of the node has it armed, with these clocks, and is about to end.
    HandedOver(String, ForeignClocks),
    /// Somebody else has armed what does not go together with it.
    Occupied(String),
    /// The time of all of its faults is up.
    Over,
}

impl Arming {
    pub fn run<E: Engine>(self, engine: &mut E) -> Verdict {
        let plans: Vec<Plan> =
            self.asks.iter().map(|ask| plan(&ask.faults, engine.features(), &ask.terms)).collect();
        let mut refusals: Vec<String> =
            plans.iter().flat_map(|plan| &plan.refused).map(ToString::to_string).collect();
        let mut cause = RefusalCause::Plan;
        let mut targets = Vec::new();
        for ask in &self.asks {
            match resolve(&ask.target, engine) {
                Resolved::Never(reason) => {
                    cause = RefusalCause::Target;
                    refusals.push(reason);
                }
                Resolved::Awaited(reason) => targets.push(Err(Obstacle { cause: None, reason })),
                Resolved::Target(target) => targets.push(Ok(target)),
            }
        }
        refusals.extend(self.clashes());
        if !refusals.is_empty() {
            disarm(engine, &self.armed, "its faults were refused");
            return Verdict::Refused(cause, refusals);
        }
        let occupied = self.occupied(engine, &plans, &targets);
        if !occupied.is_empty() {
            disarm(engine, &self.armed, "its faults were refused");
            return Verdict::Occupied(occupied);
        }
        let mut stale = self.armed;
        for ask in &self.asks {
            stale.remove(&ask.id);
        }
        let mut last = disarm(engine, &stale, "its faults were taken back");
        let mut results = Vec::new();
        for ((ask, plan), target) in self.asks.iter().zip(&plans).zip(targets) {
            let is_armed = engine.ids().any(|id| *id == ask.id);
            let admitted = target.and_then(|target| match is_armed {
                true => Ok(target),
                false => admit(&self.policy, engine).map(|()| target),
            });
            let armed = admitted.and_then(|target| {
                let now = self.clock.now();
                let before = engine.report(&ask.id).transpose().map_err(Obstacle::failed)?;
                last.extend(before.clone());
                let armed = arm(engine, ask, plan, &self.clocks, &now, target, before);
                armed.map_err(Obstacle::failed)
            });
            let result = armed.unwrap_or_else(ArmResult::Waiting);
            if !matches!(result, ArmResult::Armed { .. }) {
                // What is read after its end comes first: it is the whole ledger.
                last.splice(0..0, disarm(engine, [&ask.id], "it cannot go on"));
            }
            results.push(result);
        }
        let occupied = |result: &ArmResult| match result {
            ArmResult::Occupied(reason) => Some(reason.clone()),
            ArmResult::Armed { .. }
            | ArmResult::Waiting(_)
            | ArmResult::HandedOver(..)
            | ArmResult::Over => None,
        };
        let occupied: Vec<String> = results.iter().filter_map(occupied).collect();
        if !occupied.is_empty() {
            disarm(engine, self.asks.iter().map(|ask| &ask.id), "its faults were refused");
            return Verdict::Occupied(occupied);
        }
        Verdict::Done(results, last)
    }
}

impl Arming {
    /// What the whole pod and one of its containers cannot both do: they are targets of their own.
    fn clashes(&self) -> Vec<String> {
        let is_whole = |ask: &&Assignment| ask.terms.scope == Scope::Pod;
        let (whole, containers): (Vec<&Assignment>, Vec<&Assignment>) =
            self.asks.iter().partition(is_whole);
        let pairs = whole.iter().flat_map(|whole| containers.iter().map(move |one| (whole, one)));
        let clashes = pairs.filter_map(|(whole, one)| {
            let (there, here) = clash(&whole.faults, &one.faults)?;
            let refusal = Refusal {
                index: one.indices[here],
                fault: one.faults[here].clone(),
                reason: format!(
                    "what leaves can be held back or copied for a container or for its whole pod, and \
                     `{}` does that already",
                    whole.faults[there]
                ),
                remedy: Some("write `in container` for both, or for none".to_owned()),
            };
            Some(refusal.to_string())
        });
        clashes.collect()
    }

    /// What others have armed that does not go together with these faults. All are compared before the first
    /// is armed.
    fn occupied<E: Engine, T>(
        &self,
        engine: &E,
        plans: &[Plan],
        targets: &[Result<E::Target, T>],
    ) -> Vec<String> {
        if self.asks.len() < 2 {
            // Arming it tells.
            return Vec::new();
        }
        let gone: BTreeSet<ArmedId> =
            self.armed.iter().cloned().chain(self.asks.iter().map(|ask| ask.id.clone())).collect();
        let mut reasons = Vec::new();
        for ((ask, plan), target) in self.asks.iter().zip(plans).zip(targets) {
            // What cannot be compared cannot be armed either, and says why.
            if let Ok(target) = target
                && let Ok(before) = engine.report(&ask.id).transpose()
                && let Some((_, faults)) =
                    left(ask, plan, &self.clocks, before.as_ref(), &self.clock.now())
                && let Ok(Some(occupied)) = engine.occupied(
                    &ask.id,
                    target,
                    plan,
                    &faults,
                    &|fault| clock(&self.clocks, fault),
                    &gone,
                )
                && occupied.handed_over.is_none()
            {
                reasons.extend(occupied.refusals.iter().map(ToString::to_string));
            }
        }
        reasons
    }
}

/// Why nothing is armed for now.
pub(super) struct Obstacle {
    /// Nothing where something is waited for.
    pub cause: Option<RefusalCause>,
    pub reason: String,
}

impl Obstacle {
    fn refused(cause: RefusalCause, why: impl ToString) -> Self {
        Self { cause: Some(cause), reason: why.to_string() }
    }

    fn failed(why: impl ToString) -> Self {
        Self::refused(RefusalCause::Failed, why)
    }
}

/// Whether the node takes one target more.
fn admit(policy: &Policy, engine: &impl Engine) -> Result<(), Obstacle> {
    let admitted = policy.admit(engine.ids().count());
    admitted.map_err(|error| Obstacle::refused(RefusalCause::Policy, error))
}

/// Disarms what is armed of `ids` and returns the last ledgers.
pub(super) fn disarm<'a>(
    engine: &mut impl Engine,
    ids: impl IntoIterator<Item = &'a ArmedId>,
    why: &str,
) -> Vec<TargetReport> {
    engine.disarm_all(ids, why).into_iter().filter_map(|ended| ended.report).collect()
}

/// Where an ask goes.
enum Resolved<T> {
    Target(T),
    Awaited(String),
    /// It is never a target.
    Never(String),
}

fn resolve<E: Engine>(place: &Place, engine: &E) -> Resolved<E::Target> {
    let (spec, name, confirmed_by) = match place {
        Place::At { spec, name, confirmed_by } => (spec, name, confirmed_by),
        Place::Awaited(reason) => return Resolved::Awaited(reason.clone()),
    };
    match engine.find(spec, name, confirmed_by) {
        Found::Target(target) => Resolved::Target(target),
        Found::Awaited(reason) => Resolved::Awaited(reason),
        Found::Refused(reason) => Resolved::Never(reason),
    }
}

/// The clock of a fault that was armed before.
fn clock(clocks: &Clocks, fault: &Fault) -> Option<FaultClock> {
    match clocks.get(&fault.to_string())? {
        Clock::Since(clock) => Some(*clock),
        Clock::Over(_) => None,
    }
}

/// What of an ask is to be in the kernel at this moment, where `before` is what is there: the faults, and their indices in the full text. `None` where the time of all is up.
fn left(
    ask: &Assignment,
    plan: &Plan,
    clocks: &Clocks,
    before: Option<&TargetReport>,
    now: &Now,
) -> Option<(Vec<usize>, Vec<Fault>)> {
    let is_over = |index: usize, fault: &Fault| match clocks.get(&fault.to_string()) {
        None => fault.until.is_some_and(|until| until <= now.wall),
        Some(Clock::Over(_)) => true,
        Some(Clock::Since(FaultClock { began, ends })) => {
            let rule = plan.rules.iter().find(|rule| rule.index == index);
            let span = fault.after.unwrap_or_default()
                + rule.map(|rule| rule.duration).unwrap_or_default();
            let computed = ends.filter(|_| fault.until.is_some()).unwrap_or(u64::MAX);
            began.saturating_add(nanoseconds(span)).min(computed) <= now.boot
        }
    };
    // What is in the kernel already keeps its ledger there after its end, unless it would go on there.
    let is_there = |sentence: &str| {
        let is_order = matches!(clocks.get(sentence), Some(Clock::Over(why)) if why.is_order());
        !is_order
            && before
                .iter()
                .flat_map(|report| &report.faults)
                .any(|report| report.fault == sentence)
    };
    let left = (0..)
        .zip(&ask.faults)
        .filter(|(index, fault)| !is_over(*index, fault) || is_there(&fault.to_string()))
        .map(|(index, fault)| (ask.indices[index], fault.clone()));
    let (indices, faults): (Vec<usize>, Vec<Fault>) = left.unzip();
    (!faults.is_empty()).then_some((indices, faults))
}

fn arm<E: Engine>(
    engine: &mut E,
    ask: &Assignment,
    plan: &Plan,
    clocks: &Clocks,
    now: &Now,
    target: E::Target,
    before: Option<TargetReport>,
) -> Result<ArmResult, E::Error> {
    let Some((indices, faults)) = left(ask, plan, clocks, before.as_ref(), now) else {
        return Ok(ArmResult::Over);
    };
    let request = Request {
        id: ask.id.clone(),
        target,
        faults: &faults,
        terms: ask.terms.clone(),
        clock: &|fault| clock(clocks, fault),
    };
    let reasons = |refusals: &[Refusal]| {
        let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        reasons.join("; ")
    };
    match engine.arm(request)? {
        Outcome::Armed(_) => {}
        Outcome::Refused(refused) => {
            let obstacle = Obstacle::refused(RefusalCause::Plan, reasons(&refused.refused));
            return Ok(ArmResult::Waiting(obstacle));
        }
        Outcome::Occupied(Occupied { refusals, handed_over: Some(clocks) }) => {
            return Ok(ArmResult::HandedOver(reasons(&refusals), clocks));
        }
        Outcome::Occupied(Occupied { refusals, handed_over: None }) => {
            return Ok(ArmResult::Occupied(reasons(&refusals)));
        }
    }
    match engine.report(&ask.id).transpose()? {
        Some(report) => {
            let is_fresh = before.is_none_or(|before| before.cgroup != report.cgroup);
            Ok(ArmResult::Armed { report, indices, is_fresh })
        }
        None => Ok(ArmResult::Over),
    }
}

#[cfg(test)]
mod tests {
    use chaos_api::TargetSpec;
    use chaos_arm::fake::{FakeEngine, Shared};
    use chaos_plan::{KernelFeatures, Terms};

    use super::*;
    use crate::clock::Why;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_fault_whose_time_is_up_is_not_left() {
        let text =
            "delay 5ms egress for 40s; drop for 40s after 20s; corrupt until 2026-11-28T10:14:00Z";
        let faults: Vec<Fault> =
            chaos_fault::parse(text).unwrap().into_iter().map(|sentence| sentence.fault).collect();
        let sentences: Vec<String> = faults.iter().map(Fault::to_string).collect();
        let ask = Assignment {
            id: ArmedId("pod:shop/web-0".to_owned()),
            target: Place::Awaited(String::new()),
            faults,
            // One of another target comes first.
            indices: vec![1, 2, 3],
            terms: Terms::default(),
        };
        let plan = plan(&ask.faults, &KernelFeatures::everything("6.12.0"), &ask.terms);
        let since = |index: usize| {
            let clock = FaultClock { began: 10 * SECOND, ends: Some(45 * SECOND) };
            (sentences[index].clone(), Clock::Since(clock))
        };
        let before_its_end = Now { wall: "2026-11-28T10:13:59Z".parse().unwrap(), ..Now::read() };
        let mut clocks: Clocks = [since(0), since(1)].into();
        let left_at = |clocks: &Clocks, second: u64| {
            let now = Now { boot: second * SECOND, ..before_its_end };
            left(&ask, &plan, clocks, None, &now).map(|(indices, faults)| {
                assert_eq!(indices.len(), faults.len());
                indices
            })
        };
        assert_eq!(left_at(&clocks, 49), Some(vec![1, 2, 3]));
        assert_eq!(left_at(&clocks, 50), Some(vec![2, 3]));
        assert_eq!(left_at(&clocks, 70), Some(vec![3]));
        // Its end, once computed, is where it was, wherever the wall clock is.
        clocks.extend([since(2)]);
        assert_eq!(left_at(&clocks, 44), Some(vec![1, 2, 3]));
        assert_eq!(left_at(&clocks, 45), Some(vec![1, 2]));
        clocks.remove(&sentences[2]);
        let past = Now { wall: "2026-11-28T10:14:00Z".parse().unwrap(), ..before_its_end };
        let past = Now { boot: 70 * SECOND, ..past };
        assert_eq!(left(&ask, &plan, &clocks, None, &past), None);
        clocks.insert(sentences[2].clone(), Clock::Over(Why::Ended));
        assert_eq!(left_at(&clocks, 70), None);
    }

    /// Why a fault is not armed on a pod, when the node has room for so many targets, and the pod is there or not.
    fn refusal(text: &str, most_targets: usize, is_there: bool) -> Option<RefusalCause> {
        let uid = "0e5a1b7c-0000-4000-8000-000000000000";
        let world = Shared::default();
        if is_there {
            world.lock().pods.insert(uid.to_owned(), BTreeSet::new());
        }
        let faults = chaos_fault::parse(text).unwrap().into_iter().map(|sentence| sentence.fault);
        let spec = TargetSpec::Pod { uid: uid.parse().unwrap(), container: None };
        let place = Place::At { spec, name: "shop/web-0".to_owned(), confirmed_by: Vec::new() };
        let ask = Assignment {
            id: ArmedId("pod:shop/web-0".to_owned()),
            target: place,
            faults: faults.collect(),
            indices: vec![0],
            terms: Terms::default(),
        };
        let arming = Arming {
            asks: vec![ask],
            clocks: Clocks::new(),
            armed: BTreeSet::new(),
            policy: Policy::default().most_targets(most_targets),
            clock: TimeSource::machine(),
        };
        match arming.run(&mut FakeEngine::new(world)) {
            Verdict::Refused(cause, _) => Some(cause),
            Verdict::Occupied(_) => Some(RefusalCause::Occupied),
            Verdict::Done(results, _) => match results.into_iter().next() {
                Some(ArmResult::Waiting(obstacle)) => obstacle.cause,
                Some(
                    ArmResult::Armed { .. }
                    | ArmResult::HandedOver(..)
                    | ArmResult::Occupied(_)
                    | ArmResult::Over,
                )
                | None => None,
            },
        }
    }

    #[test]
    fn each_refusal_has_its_cause() {
        assert_eq!(refusal("drop", 1, true), None);
        assert_eq!(refusal("drop", 1, false), None, "it is waited for");
        assert_eq!(refusal("drop", 0, true), Some(RefusalCause::Policy));
    }
}
