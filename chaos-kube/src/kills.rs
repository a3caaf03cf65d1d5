//! Kills containers for faults that say so, each once. First the pod's status says which; they are killed when the API
//! server has that. So an agent that is started again knows what may be done already, and does not do it again.

use std::collections::BTreeMap;

use chaos_api::{ContainerId, FaultClock, Phase, PodUid, TargetSpec};
use chaos_fault::{Fault, Verb};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::{
    clock::{Clock, Now},
    pod::PodState,
    status::{FaultStatus, Status},
};

/// A fault that kills containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kill {
    /// Of the fault in the text.
    pub index: usize,
    pub shadow: bool,
    /// Those that run now, or what is waited for.
    pub running: Result<Vec<ContainerId>, String>,
}

/// What is to be done for such a fault now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Deed {
    Nothing,
    Await(String),
    Kill(Vec<ContainerId>),
}

/// Whether a fault is not for the kernel, but for this file.
pub(super) fn kills(fault: &Fault) -> bool {
    fault.verb == Verb::KillContainer
}

/// What the server's copy of the status says of containers that are to be killed, by the sentences of the text with this
/// digest.
pub(super) fn recorded(status: Option<&Status>, digest: &str) -> BTreeMap<String, Vec<String>> {
    let status = status.filter(|status| status.observed.as_deref() == Some(digest));
    let faults = status.into_iter().flat_map(|status| &status.faults);
    let named = faults.filter(|fault| !fault.killed.is_empty());
    named.map(|fault| (fault.fault.clone(), fault.killed.clone())).collect()
}

/// Where a container of this pod is.
pub(super) fn place(pod: &PodUid, container: &ContainerId) -> TargetSpec {
    TargetSpec::Pod { uid: pod.clone(), container: Some(container.clone()) }
}

impl PodState {
    /// What is to be done for a fault that kills. Which containers it kills is noted before: the answer that follows has
    /// the server told of it.
    pub fn next_of(&mut self, kill: &Kill, now: &Now) -> Deed {
        let Some(tracked) = self.faults.get_mut(kill.index) else { return Deed::Nothing };
        let status = &mut tracked.status;
        if status.phase == Phase::Ended {
            return Deed::Nothing;
        }
        if let Some(Clock::Over(_)) = tracked.clock {
            status.phase = Phase::Ended;
            return Deed::Nothing;
        }
        if !tracked.is_recorded_here && tracked.clock.is_some() {
            // An earlier agent has said that it kills them. Whether it did, nobody knows.
            give_up(status);
            return Deed::Nothing;
        }
        if !tracked.is_recorded_here {
            return match &kill.running {
                Err(reason) => Deed::Await(reason.clone()),
                Ok(running) => {
                    status.killed = running.iter().map(ToString::to_string).collect();
                    status.since = Some(MicroTime(now.wall));
                    status.began = Some(now.boot);
                    tracked.clock = Some(Clock::Since(FaultClock::since(now.boot)));
                    tracked.is_recorded_here = true;
                    Deed::Nothing
                }
            };
        }
        if self.facts.recorded.get(&status.fault) != Some(&status.killed) {
            return Deed::Await(format!("`{}`: it is noted first", status.fault));
        }
        Deed::Kill(status.killed.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Notes what became of containers that were to be killed.
    pub fn killed(&mut self, kill: &Kill, results: &[Result<(), String>], now: &Now) {
        let Some(tracked) = self.faults.get_mut(kill.index) else { return };
        let status = &mut tracked.status;
        let done = results.iter().filter(|result| result.is_ok()).count() as u64;
        status.counts.matched = results.len() as u64;
        let counted = match kill.shadow {
            true => &mut status.counts.shadowed,
            false => &mut status.counts.injected,
        };
        *counted = done;
        status.counts.lost = results.len() as u64 - done;
        status.phase = Phase::Ended;
        status.until = Some(MicroTime(now.wall));
    }
}

/// Ends a fault of which only the record is known.
fn give_up(status: &mut FaultStatus) {
    status.counts.matched = status.killed.len() as u64;
    status.counts.lost = status.counts.matched;
    status.phase = Phase::Ended;
}
