//! Every armed target of this process, and the one loop that keeps them armed.

use std::{collections::BTreeMap, fmt, sync::Arc, thread, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ArmError, Armed, Ended, Injection, Notice, TargetReport,
    armed::Drained,
    filtered::{Filtered, FilteredContainer},
    line::Departing,
};
use crate::{
    fault::Fault,
    plan::{KernelFeatures, Plan, Terms, plan},
    seccomp::Board,
    target::{CgroupRoot, Target},
};

/// What an armed target is called by whoever asked for it: `pod:shop/web-0`, `cli:1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmedId(pub String);

impl fmt::Display for ArmedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked of the armory.
pub struct Request<'a> {
    pub id: ArmedId,
    pub target: Target,
    pub faults: &'a [Fault],
    pub terms: Terms,
    /// The boot-clock moment (ns) at which a fault was first armed, for one that is resumed.
    pub began: &'a dyn Fn(&Fault) -> Option<u64>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Armed(Plan),
    /// At least one fault was refused: none is armed. A text is armed whole or not at all.
    Refused(Plan),
}

/// The armed targets. Everything happens in the calls: whoever does not call [`Armory::tick`]
/// lets the leases lapse, and that is the point.
pub struct Armory {
    root: CgroupRoot,
    features: KernelFeatures,
    lease: Duration,
    armed: BTreeMap<ArmedId, Armed>,
    filtered: Filtered,
    /// Delay lines of targets that are disarmed, with frames to send on.
    departing: Vec<Departing>,
    notices: Vec<Notice>,
}

impl Armory {
    /// `lease` is how long faults go on when this process stops working.
    pub fn new(root: CgroupRoot, features: KernelFeatures, lease: Duration) -> Self {
        Self {
            root,
            features,
            lease,
            armed: BTreeMap::new(),
            filtered: Filtered::default(),
            departing: Vec::new(),
            notices: Vec::new(),
        }
    }

    pub fn features(&self) -> &KernelFeatures {
        &self.features
    }

    pub fn root(&self) -> &CgroupRoot {
        &self.root
    }

    /// Arms a target, or changes the faults of one that is armed. On an error or a refusal what
    /// was armed before stays as it was.
    pub fn arm(&mut self, request: Request<'_>) -> Result<Outcome, ArmError> {
        let Request { id, target, faults, terms, began } = request;
        self.filtered.forget_ended();
        let features = self.filtered.features(&self.features, &self.root, &target);
        let plan = self.filtered.check(plan(faults, &features, &terms), &target);
        if !plan.refused.is_empty() {
            return Ok(Outcome::Refused(plan));
        }
        let same_cgroup = |armed: &Armed| armed.target().cgroup.id() == target.cgroup.id();
        let has_board = |armed: &Armed| same_cgroup(armed) && armed.board().is_some();
        let board = if plan.needs_wardens() && !self.armed.get(&id).is_some_and(has_board) {
            self.filtered.board(&target)?
        } else {
            None
        };
        let can_replace = |armed: &&mut Armed| same_cgroup(armed) && board.is_none();
        match self.armed.get_mut(&id).filter(can_replace) {
            Some(armed) => {
                armed.replace(&plan, began)?;
                armed.renew(self.lease)?;
            }
            None => {
                let mut armed = Armed::arm(&self.root, target, &plan, board, began)?;
                armed.renew(self.lease)?;
                if let Some(before) = self.armed.insert(id, armed) {
                    self.departing.extend(before.disarm());
                }
            }
        }
        Ok(Outcome::Armed(plan))
    }

    /// Says that the child of `run`, alone in the cgroup of this target, is going to be started with
    /// a filter whose warden judges by this board.
    pub fn expect_child(&mut self, target: &Target, board: Arc<Board>) {
        self.filtered.expect_child(target, board);
    }

    /// Takes in a container that is starting under a filter.
    pub fn add_container(&mut self, container: FilteredContainer) -> Result<(), ArmError> {
        self.filtered.add(container, self.armed.values())
    }

    /// Disarms one target, as somebody asked for.
    pub fn disarm(&mut self, id: &ArmedId, why: &str) -> Option<Ended> {
        let ended = self.take_out(id, why)?;
        self.notices.push(Notice::Disarmed(ended.clone()));
        Some(ended)
    }

    /// Disarms one target, which nobody asked for.
    pub(super) fn end(&mut self, id: &ArmedId, why: &str) -> Option<Ended> {
        let ended = self.take_out(id, why)?;
        self.notices.push(Notice::Ended(ended.clone()));
        Some(ended)
    }

    fn take_out(&mut self, id: &ArmedId, why: &str) -> Option<Ended> {
        let mut armed = self.armed.remove(id)?;
        // Stop first, so that the report is final.
        if let Err(error) = armed.suspend() {
            tracing::warn!(%id, %error, "the lease could not be withdrawn; detaching");
        }
        let drained = armed.drain_at_last();
        note(&mut self.notices, id, &armed, drained);
        let report = report(id, &armed).ok();
        self.departing.extend(armed.disarm());
        Some(Ended { id: id.clone(), why: why.to_owned(), report })
    }

    /// Disarms everything.
    pub fn halt(&mut self, why: &str) -> Vec<Ended> {
        let ids: Vec<ArmedId> = self.armed.keys().cloned().collect();
        ids.iter().filter_map(|id| self.disarm(id, why)).collect()
    }

    /// Renews the leases, and disarms what has ended or has lost its target. Call it several
    /// times per lease.
    pub fn tick(&mut self) -> Vec<Ended> {
        self.filtered.forget_ended();
        self.departing.retain_mut(|line| !line.is_over());
        let mut over: Vec<(ArmedId, String)> = Vec::new();
        for (id, armed) in &mut self.armed {
            if !armed.target().is_alive() {
                over.push((id.clone(), "its cgroup is gone".to_owned()));
            } else if armed.has_ended() {
                over.push((id.clone(), "its time is up".to_owned()));
            } else if let Some(reason) = armed.intruder() {
                over.push((id.clone(), format!("it is protected now: {reason}")));
            } else if let Err(error) = armed.renew(self.lease) {
                over.push((id.clone(), format!("its lease could not be renewed: {error}")));
            }
        }
        over.iter().filter_map(|(id, why)| self.end(id, why)).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    pub fn ids(&self) -> impl Iterator<Item = &ArmedId> {
        self.armed.keys()
    }

    /// The ledger of one target.
    pub fn report(&self, id: &ArmedId) -> Option<Result<TargetReport, ArmError>> {
        self.armed.get(id).map(|armed| report(id, armed))
    }

    /// The ledgers of all targets.
    pub fn reports(&self) -> Result<Vec<TargetReport>, ArmError> {
        self.armed.iter().map(|(id, armed)| report(id, armed)).collect()
    }

    /// Notes what the rings of the armed targets hold.
    pub(super) fn sample(&mut self) {
        for (id, armed) in &mut self.armed {
            let drained = armed.drain();
            note(&mut self.notices, id, armed, drained);
        }
    }

    /// What was noted since the last call, in the order of its happening as far as each target is
    /// concerned.
    pub(super) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }
}

impl Drop for Armory {
    /// Waits for the frames that are still on their way, which is a matter of seconds at most.
    fn drop(&mut self) {
        for (_, armed) in std::mem::take(&mut self.armed) {
            self.departing.extend(armed.disarm());
        }
        while !self.departing.is_empty() {
            thread::sleep(Duration::from_millis(1));
            self.departing.retain_mut(|line| !line.is_over());
        }
    }
}

fn note(
    notices: &mut Vec<Notice>,
    id: &ArmedId,
    armed: &Armed,
    drained: Result<Drained, ArmError>,
) {
    let Drained { records, lost } = match drained {
        Ok(drained) => drained,
        Err(error) => {
            tracing::warn!(%id, %error, "the sample of injections could not be read");
            return;
        }
    };
    let target: Arc<str> = armed.target().name.as_str().into();
    notices.extend(records.into_iter().map(|(fault, record)| {
        Notice::Injected(Injection { id: id.clone(), target: target.clone(), fault, record })
    }));
    if lost > 0 {
        notices.push(Notice::Lost(id.clone(), lost));
    }
}

fn report(id: &ArmedId, armed: &Armed) -> Result<TargetReport, ArmError> {
    let target = armed.target();
    Ok(TargetReport {
        id: id.0.clone(),
        target: target.name.clone(),
        cgroup: target.cgroup.path().display().to_string(),
        notes: target.notes.clone(),
        faults: armed.ledger()?,
    })
}
