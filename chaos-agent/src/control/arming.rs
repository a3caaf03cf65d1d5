//! Arming a target as a client asks for.

use std::sync::{Arc, atomic::Ordering};

use chaos_api::{ArmedId, Outcome, TargetReport, TargetSpec};
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::{Target, resolve, resolve_with_pods},
};
use chaos_fault::Fault;
use chaos_plan::Scope;

use super::{
    Agent,
    protocol::{Refusal, RefusalKind},
};

/// The owner of what clients have asked for: the part of an id before the colon.
pub const OWNER: &str = "cli";

/// Arms `spec` under a new id; with `force` also where it holds pods.
pub(super) async fn arm(
    agent: &Arc<Agent>,
    spec: &TargetSpec,
    text: &str,
    force: bool,
) -> Result<TargetReport, Refusal> {
    let faults = read(text)?;
    let root = agent.root.clone();
    let spec = spec.clone();
    // Looking for a target walks directories: not a thing for the keeper, nor for this thread.
    let find = move || if force { resolve_with_pods(&spec, &root) } else { resolve(&spec, &root) };
    let target = tokio::task::spawn_blocking(find)
        .await
        .map_err(|error| Refusal::new(RefusalKind::Failed, error))?
        .map_err(|error| Refusal::new(RefusalKind::Target, error))?;
    let serving = agent.clone();
    agent.handle.with(move |armory| arm_in(armory, &serving, target, &faults)).await?
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
) -> Result<TargetReport, Refusal> {
    let armed = armory.ids().count();
    agent.policy.admit(armed).map_err(|error| Refusal::new(RefusalKind::Policy, error))?;
    // Only the keeper's thread comes here, so nobody else takes this number meanwhile.
    let number = agent.armed_so_far.load(Ordering::Relaxed) + 1;
    let id = ArmedId(format!("{OWNER}:{number}"));
    let terms = agent.policy.terms(any_seed()?, Scope::Whole);
    let outcome =
        armory.arm(Request { id: id.clone(), target, faults, terms, began: &|_| None })?;
    let refusals = match outcome {
        Outcome::Armed(_) => Vec::new(),
        Outcome::Refused(plan) => plan.refused,
        Outcome::Occupied(occupied) => occupied.refusals,
    };
    if !refusals.is_empty() {
        let refusals: Vec<String> = refusals.iter().map(|refusal| format!("{refusal:#}")).collect();
        return Err(Refusal::new(RefusalKind::Plan, refusals.join("\n")));
    }
    agent.armed_so_far.store(number, Ordering::Relaxed);
    let gone = || Refusal::new(RefusalKind::Failed, "it was disarmed at once");
    let mut report = armory.report(&id).ok_or_else(gone)??;
    let beside: Vec<String> = armory.beside(&id).iter().map(ToString::to_string).collect();
    if !beside.is_empty() {
        let beside = beside.join(", ");
        report
            .notes
            .push(format!("armed on this cgroup are also {beside}: the kernel asks all of them"));
    }
    Ok(report)
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
