//! Arms again what follows its target: a unit that is started again has another cgroup.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chaos_api::{ArmedId, Ended, Epoch, HaltedSince, Notice, Outcome, TargetSpec, clock::boot_now};
use chaos_arm::KeeperGone;
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::{Target, resolve, resolve_with_pods},
};
use chaos_fault::Fault;
use chaos_plan::Scope;
use tokio::{
    sync::{broadcast::error::RecvError, watch},
    time::sleep,
};

use super::{Agent, connection::is_over};
use crate::successor::{Clocks, PAUSE};

/// What is armed again where it comes back.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub spec: TargetSpec,
    /// Also where it holds pods.
    pub force: bool,
    pub faults: Vec<Fault>,
    pub seed: u64,
    /// When it was asked for.
    pub asked: Epoch,
}

/// What follows its target, armed or waiting, by its id.
#[derive(Debug, Default)]
pub(super) struct Followed(Mutex<BTreeMap<ArmedId, Kept>>);

impl Followed {
    /// Follows this, or what it has become.
    pub fn keep(&self, id: ArmedId, kept: Kept) {
        self.kept().insert(id, kept);
    }

    /// Whether it was followed; it is not any more.
    pub fn forget(&self, id: &ArmedId) -> bool {
        self.kept().remove(id).is_some()
    }

    /// Nothing is followed any more, also of what waits.
    pub fn forget_all(&self) {
        self.kept().clear();
    }

    fn get(&self, id: &ArmedId) -> Option<Kept> {
        self.kept().get(id).cloned()
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<ArmedId, Kept>> {
        // Whoever panicked has changed one entry, whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks after what follows its target until `shutdown` becomes true.
pub(super) async fn arm_again(agent: Arc<Agent>, mut shutdown: watch::Receiver<bool>) {
    let mut endings = agent.handle.subscribe_to_endings();
    let mut over = std::pin::pin!(is_over(&mut shutdown));
    loop {
        let notice = tokio::select! {
            () = &mut over => return,
            notice = endings.recv() => notice,
        };
        match notice {
            Ok(Notice::Ended(ended)) if ended.is_gone => {
                if agent.followed.get(&ended.id).is_some() {
                    tokio::spawn(wait_for_successor(agent.clone(), ended));
                }
            }
            Ok(Notice::Ended(ended) | Notice::Disarmed(ended)) => {
                agent.followed.forget(&ended.id);
            }
            Ok(Notice::Injected(_) | Notice::Lost(..)) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn wait_for_successor(agent: Arc<Agent>, ended: Ended) {
    let clocks = ended.report.as_ref().map(Clocks::of).unwrap_or_default();
    let id = ended.id;
    tracing::info!(%id, "waits for its target to come back");
    loop {
        let Some(kept) = agent.followed.get(&id) else { return };
        if boot_now() >= clocks.until {
            tracing::info!(%id, "its target did not come back before its time was up");
            agent.followed.forget(&id);
            return;
        }
        if let Some(target) = find(&agent, &kept).await
            && let Some(is_armed) = arm(&agent, &id, kept, target, clocks.clone()).await
        {
            if !is_armed {
                agent.followed.forget(&id);
            }
            return;
        }
        sleep(PAUSE).await;
    }
}

async fn find(agent: &Agent, kept: &Kept) -> Option<Target> {
    let (root, spec, force) = (agent.root.clone(), kept.spec.clone(), kept.force);
    let find = move || if force { resolve_with_pods(&spec, &root) } else { resolve(&spec, &root) };
    tokio::task::spawn_blocking(find).await.ok()?.ok()
}

/// Whether it was armed again; `None` to look once more.
async fn arm(
    agent: &Arc<Agent>,
    id: &ArmedId,
    kept: Kept,
    target: Target,
    clocks: Clocks,
) -> Option<bool> {
    let (agent, id) = (agent.clone(), id.clone());
    let (handle, asked) = (agent.handle.clone(), kept.asked);
    let armed = move |armory: &mut Armory| {
        // Somebody may have disarmed everything meanwhile.
        agent.followed.get(&id)?;
        agent.policy.admit(armory.ids().count()).ok()?;
        let Kept { faults, seed, .. } = kept;
        let terms = agent.policy.terms(seed, Scope::Whole);
        let clock = |fault: &Fault| clocks.clock(fault);
        let request = Request { id: id.clone(), target, faults: &faults, terms, clock: &clock };
        match armory.arm(request) {
            Ok(Outcome::Armed(_)) => {
                tracing::info!(%id, "armed again, as its target has come back");
                Some(true)
            }
            Ok(Outcome::Refused(plan)) => {
                let refusal = &plan.refused[0];
                tracing::warn!(%id, %refusal, "not armed again");
                Some(false)
            }
            // Another one is in the way, or the target is gone again.
            Ok(Outcome::Occupied(_)) | Err(_) => None,
        }
    };
    match handle.with_since(asked, armed).await {
        Ok(Ok(is_armed)) => is_armed,
        Ok(Err(HaltedSince)) => Some(false),
        Err(KeeperGone) => None,
    }
}
