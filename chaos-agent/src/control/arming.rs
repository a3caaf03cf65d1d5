//! Arming a target as a client asks for.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use chaos_api::{ArmedId, Outcome, RefusalCause, TargetReport, TargetSpec};
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::{Target, resolve, resolve_with_pods},
};
use chaos_fault::Fault;
use chaos_plan::{Scope, Terms};
use jiff::Timestamp;

use super::{
    Agent,
    following::Kept,
    protocol::{Refusal, RefusalKind, Replaced},
};
use crate::successor::can_be_followed;

/// The owner of what clients have asked for: the part of an id before the colon.
pub const OWNER: &str = "cli";

/// How a target is armed.
#[derive(Debug, Clone)]
pub(super) struct Way {
    /// Also where it holds pods.
    pub force: bool,
    /// In place of this.
    pub replaced: Option<Replaced>,
    /// And again where it comes back.
    pub follow: bool,
}

/// Arms `spec` under a new id, or in place of what is to be replaced, and tells whoever measures.
pub(super) async fn arm(
    agent: &Arc<Agent>,
    spec: &TargetSpec,
    text: &str,
    way: Way,
) -> Result<TargetReport, Refusal> {
    let armed = arm_unobserved(agent, spec, text, way).await;
    if let Some(cause) = armed.as_ref().err().and_then(|refusal| cause(refusal.kind)) {
        agent.observer.refused(cause);
    }
    armed
}

/// Why faults were not armed; `None` where none were read.
fn cause(kind: RefusalKind) -> Option<RefusalCause> {
    match kind {
        RefusalKind::Faults => Some(RefusalCause::Text),
        RefusalKind::Policy => Some(RefusalCause::Policy),
        RefusalKind::Target | RefusalKind::UnknownId => Some(RefusalCause::Target),
        RefusalKind::Plan => Some(RefusalCause::Plan),
        RefusalKind::Failed => Some(RefusalCause::Failed),
        RefusalKind::Malformed
        | RefusalKind::Version
        | RefusalKind::Forbidden
        | RefusalKind::Busy => None,
    }
}

async fn arm_unobserved(
    agent: &Arc<Agent>,
    spec: &TargetSpec,
    text: &str,
    way: Way,
) -> Result<TargetReport, Refusal> {
    let faults = read(text)?;
    if way.follow {
        can_be_followed(spec).map_err(|message| Refusal::new(RefusalKind::Target, message))?;
    }
    let (force, followed) = (way.force, way.follow.then(|| spec.clone()));
    let root = agent.root.clone();
    let spec = spec.clone();
    // Looking for a target walks directories: not a thing for the keeper, nor for this thread.
    let find = move || if force { resolve_with_pods(&spec, &root) } else { resolve(&spec, &root) };
    let target = tokio::task::spawn_blocking(find)
        .await
        .map_err(|error| Refusal::new(RefusalKind::Failed, error))?
        .map_err(|error| Refusal::new(RefusalKind::Target, error))?;
    let serving = agent.clone();
    let armed = move |armory: &mut Armory| {
        let (report, seed) = arm_in(armory, &serving, target, &faults, way.replaced.as_ref())?;
        let id = ArmedId(report.id.clone());
        match followed {
            Some(spec) => serving.followed.keep(id, Kept { spec, force, faults, seed }),
            None => drop(serving.followed.forget(&id)),
        }
        Ok(report)
    };
    let asked_at = Instant::now();
    let armed = agent.handle.with(armed).await?;
    if armed.is_ok() {
        agent.observer.armed(asked_at.elapsed());
    }
    armed
}

fn read(text: &str) -> Result<Vec<Fault>, Refusal> {
    let refused = |message: String| Refusal::new(RefusalKind::Faults, message);
    let sentences = chaos_fault::read(text).map_err(|errors| refused(errors.to_string()))?;
    if sentences.is_empty() {
        return Err(refused("the text has no fault; write one, such as `drop 10%`".to_owned()));
    }
    Ok(sentences.into_iter().map(|sentence| sentence.fault).collect())
}

fn arm_in(
    armory: &mut Armory,
    agent: &Agent,
    target: Target,
    faults: &[Fault],
    replaced: Option<&Replaced>,
) -> Result<(TargetReport, u64), Refusal> {
    let before = match replaced {
        Some(replaced) => to_replace(armory, &target, replaced)?,
        None => None,
    };
    // Only the keeper's thread comes here, so nobody else takes this number meanwhile.
    let number = agent.armed_so_far.load(Ordering::Relaxed) + 1;
    let (id, seed) = match before {
        // With the seed of what goes on, or its dice would be others.
        Some(id) => (id.clone(), armory.seed(&id)),
        None => {
            let armed = armory.ids().count();
            agent.policy.admit(armed).map_err(|error| Refusal::new(RefusalKind::Policy, error))?;
            (ArmedId(format!("{OWNER}:{number}")), None)
        }
    };
    let seed = seed.map_or_else(any_seed, Ok)?;
    let terms = Terms { now: Some(Timestamp::now()), ..agent.policy.terms(seed, Scope::Whole) };
    let outcome =
        armory.arm(Request { id: id.clone(), target, faults, terms, clock: &|_| None })?;
    let refusals = match outcome {
        Outcome::Armed(_) => Vec::new(),
        Outcome::Refused(plan) => plan.refused,
        Outcome::Occupied(occupied) => occupied.refusals,
    };
    if !refusals.is_empty() {
        let refusals: Vec<String> = refusals.iter().map(|refusal| format!("{refusal:#}")).collect();
        return Err(Refusal::new(RefusalKind::Plan, refusals.join("\n")));
    }
    agent.armed_so_far.fetch_max(number, Ordering::Relaxed);
    let gone = || Refusal::new(RefusalKind::Failed, "it was disarmed at once");
    let mut report = armory.report(&id).ok_or_else(gone)??;
    report.notes.extend(note_beside(armory, &id));
    Ok((report, seed))
}

/// Which of what clients have armed is replaced; `None` where nothing is there to be replaced.
fn to_replace(
    armory: &Armory,
    target: &Target,
    replaced: &Replaced,
) -> Result<Option<ArmedId>, Refusal> {
    let on_target: Vec<ArmedId> = armory.on(target).into_iter().cloned().collect();
    let is_ours = |id: &&ArmedId| id.0.starts_with(&format!("{OWNER}:"));
    let refused = |message: String| Refusal::new(RefusalKind::Target, message);
    match replaced {
        Replaced::Id(id) if !on_target.contains(id) => {
            let known = armory.ids().any(|armed| armed == id);
            let what = if known { "is armed on another cgroup" } else { "is not armed" };
            Err(refused(format!("{id} {what}; armed here: {}", listed(&on_target))))
        }
        Replaced::Id(id) if !is_ours(&id) => Err(refused(format!(
            "{id} was not armed by `arm`: whoever armed it changes it, such as the pod's annotation"
        ))),
        Replaced::Id(id) => Ok(Some(id.clone())),
        Replaced::Only => {
            let ours: Vec<ArmedId> = on_target.iter().filter(is_ours).cloned().collect();
            match ours.as_slice() {
                [] => Ok(None),
                [only] => Ok(Some(only.clone())),
                several => Err(refused(format!(
                    "{} are armed here; say which one to replace: `--replace={}`",
                    listed(several),
                    several[0]
                ))),
            }
        }
    }
}

fn listed(ids: &[ArmedId]) -> String {
    if ids.is_empty() {
        return "nothing".to_owned();
    }
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What else is armed on the cgroup of this one.
fn note_beside(armory: &Armory, id: &ArmedId) -> Option<String> {
    let of_one = |other: &ArmedId| {
        let faults = armory.report(other)?.ok()?.faults;
        let faults: Vec<String> = faults.iter().map(|fault| format!("`{}`", fault.fault)).collect();
        Some(format!("{other} ({})", faults.join(", ")))
    };
    let others: Vec<String> = armory.beside(id).iter().filter_map(of_one).collect();
    (!others.is_empty()).then(|| {
        format!(
            "this cgroup also has {}: each is asked what those armed before it let pass; `--replace` changes \
             what is armed instead",
            others.join("; ")
        )
    })
}

/// For faults that name none: another one each time.
fn any_seed() -> Result<u64, Refusal> {
    // 32 bits: short to type, and exact in every reader of JSON.
    let seed = getrandom::u32().map_err(|error| {
        Refusal::new(RefusalKind::Failed, format!("cannot pick a random seed: {error}"))
    })?;
    Ok(seed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_without_a_fault_are_refused() {
        for text in ["", "# nothing\n", "explode", "drop 200%"] {
            assert_eq!(read(text).unwrap_err().kind, RefusalKind::Faults, "{text:?}");
        }
        assert_eq!(read("drop 1%; drop 2%").unwrap().len(), 2);
    }
}
