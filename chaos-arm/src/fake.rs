//! Arms the targets of a small world of its own: what the keeper and the cluster's loop do with an engine is
//! tested on it, without a kernel and by a clock that the test moves.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{PipeReader, Read},
    mem,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chaos_api::{
    ArmedId, ContainerId, Counts, Ended, Engine, FaultClock, FaultReport, Found, Leases, Notice,
    Occupied, Outcome, Phase, Request, TargetReport, TargetSpec, clock::moment_at,
};
use chaos_fault::Fault;
use chaos_plan::{KernelFeatures, Plan, nanoseconds, plan};
use jiff::Timestamp;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

/// The cgroup of a target is not there any more.
#[derive(Debug, Error)]
#[error("cgroup {0} is gone")]
pub struct TargetGone(String);

/// What there is beside the engine.
#[derive(Default)]
pub struct World {
    /// Boot clock, ns.
    pub now: u64,
    /// Wall clock.
    pub wall: Timestamp,
    /// The pods that have a cgroup, by UID, with the containers that run.
    pub pods: BTreeMap<String, BTreeSet<ContainerId>>,
    /// How often leases were renewed.
    pub renewals: u64,
    /// The containers that were killed, each time.
    pub kills: Vec<ContainerId>,
    /// How many bytes of news were worked on.
    pub news: usize,
}

/// A world that several look at.
#[derive(Clone, Default)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cgroup of a pod or of one of its containers.
#[derive(Clone)]
pub struct Cgroup {
    uid: String,
    container: Option<ContainerId>,
    name: String,
}

impl Cgroup {
    fn path(&self) -> String {
        match &self.container {
            None => format!("/{}", self.uid),
            Some(container) => format!("/{}/{container}", self.uid),
        }
    }

    fn is_there(&self, world: &World) -> bool {
        let pod = world.pods.get(&self.uid);
        pod.is_some_and(|running| self.container.as_ref().is_none_or(|one| running.contains(one)))
    }
}

struct Rule {
    sentence: String,
    index: usize,
    seed: u64,
    began: u64,
    starts: u64,
    ends: u64,
}

struct Armed {
    cgroup: Cgroup,
    rules: Vec<Rule>,
}

/// An engine that keeps what is armed in a map.
pub struct FakeEngine {
    world: Shared,
    features: KernelFeatures,
    armed: BTreeMap<ArmedId, Armed>,
    notices: Vec<Notice>,
    replaced: Vec<TargetReport>,
    leases: Leases,
    /// Each byte is news.
    news: Option<PipeReader>,
}

impl FakeEngine {
    pub fn new(world: Shared) -> Self {
        Self {
            world,
            features: KernelFeatures::everything("6.12.0"),
            armed: BTreeMap::new(),
            notices: Vec::new(),
            replaced: Vec::new(),
            leases: Leases::default(),
            news: None,
        }
    }

    /// The same, with news from this pipe.
    #[must_use]
    pub fn with_news(self, news: PipeReader) -> Self {
        Self { news: Some(news), ..self }
    }

    fn take_out(&mut self, id: &ArmedId, why: &str) -> Option<Ended> {
        let armed = self.armed.remove(id)?;
        let report = Some(report(id, &armed, self.world.lock().now));
        Some(Ended { id: id.clone(), why: why.to_owned(), is_gone: false, report })
    }
}

fn report(id: &ArmedId, armed: &Armed, now: u64) -> TargetReport {
    let faults = armed.rules.iter().map(|rule| FaultReport {
        fault: rule.sentence.clone(),
        index: rule.index,
        hooks: Vec::new(),
        calls: Vec::new(),
        seed: rule.seed,
        phase: if now >= rule.ends {
            Phase::Ended
        } else if now < rule.starts {
            Phase::Waiting
        } else {
            Phase::Active
        },
        began: rule.began,
        ends: rule.ends,
        slot: 0,
        notes: Vec::new(),
        unmatched: None,
        counts: Counts::default(),
    });
    TargetReport {
        id: id.0.clone(),
        target: armed.cgroup.name.clone(),
        cgroup: armed.cgroup.path(),
        missed: 0,
        notes: Vec::new(),
        faults: faults.collect(),
    }
}

impl Engine for FakeEngine {
    type Target = Cgroup;
    type Error = TargetGone;

    fn features(&self) -> &KernelFeatures {
        &self.features
    }

    fn find(&self, spec: &TargetSpec, name: &str, confirmed_by: &[ContainerId]) -> Found<Cgroup> {
        let TargetSpec::Pod { uid, container } = spec else {
            panic!("{spec:?}: only pods are looked for here");
        };
        let cgroup =
            Cgroup { uid: uid.to_string(), container: container.clone(), name: name.to_owned() };
        let world = self.world.lock();
        if !cgroup.is_there(&world) {
            return Found::Awaited(format!("no cgroup {} below /sys/fs/cgroup", cgroup.path()));
        }
        let running = &world.pods[&cgroup.uid];
        let is_confirmed =
            confirmed_by.is_empty() || confirmed_by.iter().any(|one| running.contains(one));
        match is_confirmed {
            true => Found::Target(cgroup),
            false => Found::unconfirmed(cgroup.path()),
        }
    }

    fn arm(&mut self, request: Request<'_, Cgroup>) -> Result<Outcome, TargetGone> {
        let Request { id, target: cgroup, faults, terms, clock } = request;
        let mut plan = plan(faults, &self.features, &terms);
        if !plan.refused.is_empty() {
            return Ok(Outcome::Refused(plan));
        }
        let world = self.world.lock();
        if !cgroup.is_there(&world) {
            return Err(TargetGone(cgroup.path()));
        }
        let rules = plan.rules.iter_mut().map(|rule| {
            let FaultClock { began, ends } =
                clock(&rule.fault).unwrap_or(FaultClock::since(world.now));
            if let Some(until) = rule.fault.until {
                let computed = || moment_at(until, world.wall, world.now);
                rule.end_by(began, ends.unwrap_or_else(computed));
            }
            let starts = began + nanoseconds(rule.fault.after.unwrap_or_default());
            Rule {
                sentence: rule.fault.to_string(),
                index: rule.index,
                seed: rule.seed,
                began,
                starts,
                ends: starts + nanoseconds(rule.duration),
            }
        });
        let armed = Armed { cgroup, rules: rules.collect() };
        let now = world.now;
        drop(world);
        if let Some(mut before) = self.armed.insert(id.clone(), armed) {
            let is_kept =
                |rule: &Rule| self.armed[&id].rules.iter().any(|now| now.sentence == rule.sentence);
            before.rules.retain(|rule| !is_kept(rule));
            self.replaced.push(report(&id, &before, now));
        }
        Ok(Outcome::Armed(plan))
    }

    fn occupied(
        &self,
        _: &ArmedId,
        _: &Cgroup,
        _: &Plan,
        _: &[Fault],
        _: &dyn Fn(&Fault) -> Option<FaultClock>,
        _: &BTreeSet<ArmedId>,
    ) -> Result<Option<Occupied>, TargetGone> {
        // There is no other agent in its world.
        Ok(None)
    }

    fn disarm_all<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a ArmedId>,
        why: &str,
    ) -> Vec<Ended> {
        let ended: Vec<Ended> = ids.into_iter().filter_map(|id| self.take_out(id, why)).collect();
        self.notices.extend(ended.iter().cloned().map(Notice::Disarmed));
        ended
    }

    fn end_all(&mut self, over: &[(ArmedId, String)]) -> Vec<Ended> {
        let ended: Vec<Ended> =
            over.iter().filter_map(|(id, why)| self.take_out(id, why)).collect();
        self.notices.extend(ended.iter().cloned().map(Notice::Ended));
        ended
    }

    fn halt(&mut self, why: &str) -> Vec<Ended> {
        let ids: Vec<ArmedId> = self.armed.keys().cloned().collect();
        self.disarm_all(&ids, why)
    }

    fn kill(&mut self, container: &TargetSpec) -> Result<(), String> {
        let TargetSpec::Pod { uid, container: Some(id) } = container else {
            panic!("{container:?}: only containers are killed");
        };
        let mut world = self.world.lock();
        let is_there = world.pods.get(&uid.to_string()).is_some_and(|there| there.contains(id));
        world.kills.push(id.clone());
        is_there.then_some(()).ok_or_else(|| format!("no cgroup of {id}"))
    }

    fn ids(&self) -> impl Iterator<Item = &ArmedId> {
        self.armed.keys()
    }

    fn report(&self, id: &ArmedId) -> Option<Result<TargetReport, TargetGone>> {
        let now = self.world.lock().now;
        self.armed.get(id).map(|armed| Ok(report(id, armed, now)))
    }

    fn tick(&mut self) {
        let mut world = self.world.lock();
        world.renewals += 1;
        let over = self.armed.iter().filter_map(|(id, armed)| {
            let is_over = armed.rules.iter().all(|rule| rule.ends <= world.now);
            let why = match armed.cgroup.is_there(&world) {
                false => "its cgroup is gone",
                true if is_over => "its time is up",
                true => return None,
            };
            Some((id.clone(), why.to_owned()))
        });
        let over: Vec<(ArmedId, String)> = over.collect();
        drop(world);
        self.end_all(&over);
    }

    fn has_work(&self) -> bool {
        false
    }

    fn work(&mut self) {
        let Some(news) = &mut self.news else { return };
        let mut ready = [PollFd::new(news.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::ZERO) == Ok(1) {
            self.world.lock().news += news.read(&mut [0; 64]).unwrap_or_default();
        }
    }

    fn news(&self) -> Option<BorrowedFd<'_>> {
        self.news.as_ref().map(AsFd::as_fd)
    }

    fn sample(&mut self) {}

    fn take_notices(&mut self) -> Vec<Notice> {
        mem::take(&mut self.notices)
    }

    fn take_replaced(&mut self) -> Vec<TargetReport> {
        mem::take(&mut self.replaced)
    }

    fn leases(&self) -> Leases {
        self.leases.clone()
    }
}
