//! Every armed target of this process, and the one loop that keeps them armed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::fd::BorrowedFd,
    sync::Arc,
    thread,
    time::Duration,
};

use chaos_api::{
    ArmedId, Ended, FaultClock, Injection, Leases, Notice, Occupied, Outcome, Policy, TargetReport,
    clock::{boot_moment, boot_now},
};
use chaos_fault::Fault;
use chaos_plan::{KernelFeatures, Plan, PlannedRule, nanoseconds, plan};

use super::{
    ArmError, Armed,
    armed::{Drained, Gone, OfAll, ends},
    claim::Claim,
    claims::{Claims, Held},
    filtered::{Filtered, FilteredContainer},
    frames::SharedFrames,
    line::Leaving,
    retired::Retired,
    shared_programs::SharedPrograms,
    turn::Turn,
};
use crate::{
    cgroup::{CgroupRoot, Target},
    kernel::Room,
    seccomp::SharedRules,
};

/// How long the armory goes on with what can wait, in one call.
const TURN: Duration = Duration::from_millis(100);

/// How long it goes on with one target while others wait.
const PIECE: Duration = Duration::from_millis(25);

/// How long arming attaches to interfaces, and disarming detaches and sends on, before the rest has to
/// wait; see [`Armory::patience`].
const PATIENCE: Duration = Duration::from_secs(1);
const PART_OF_LEASE: u32 = 4;

/// What is asked of the armory.
pub type Request<'a> = chaos_api::Request<'a, Target>;

/// The armed targets. Everything happens in the calls: whoever does not call [`Armory::tick`]
/// lets the leases lapse, and that is the point.
pub struct Armory {
    root: CgroupRoot,
    features: KernelFeatures,
    lease: Duration,
    armed: BTreeMap<ArmedId, Armed>,
    claims: Claims,
    leases: Leases,
    programs: SharedPrograms,
    frames: SharedFrames,
    /// Those whose interfaces are to be looked at.
    to_look: VecDeque<ArmedId>,
    /// Programs of targets that are disarmed.
    retired: VecDeque<Retired>,
    filtered: Filtered,
    /// Delay lines of targets that are disarmed.
    leaving: Leaving,
    notices: Vec<Notice>,
    /// Last ledgers of faults that others have replaced.
    replaced: Vec<TargetReport>,
}

impl Armory {
    /// `lease` is how long faults go on when this process stops working.
    pub fn new(root: CgroupRoot, features: KernelFeatures, lease: Duration) -> Self {
        Self {
            root,
            features,
            lease,
            armed: BTreeMap::new(),
            claims: Claims::default(),
            leases: Leases::default(),
            programs: SharedPrograms::default(),
            frames: SharedFrames::new(Policy::default().held_memory()),
            to_look: VecDeque::new(),
            retired: VecDeque::new(),
            filtered: Filtered::default(),
            leaving: Leaving::default(),
            notices: Vec::new(),
            replaced: Vec::new(),
        }
    }

    pub fn features(&self) -> &KernelFeatures {
        &self.features
    }

    pub fn root(&self) -> &CgroupRoot {
        &self.root
    }

    /// The same, with so many bytes for the frames that all targets hold together, instead of those of
    /// [`Policy::default`].
    #[must_use]
    pub fn with_held_memory(mut self, bytes: u64) -> Self {
        self.frames = SharedFrames::new(bytes);
        self
    }

    /// The same, with room for so much.
    #[must_use]
    pub fn with_room(mut self, room: Room) -> Self {
        self.programs = SharedPrograms::with_room(room);
        self
    }

    /// How much of its [`Room`] is taken.
    pub fn taken(&self) -> Room {
        self.programs.taken()
    }

    /// The leases of all targets, for whoever has to stop everything at once.
    pub fn leases(&self) -> Leases {
        self.leases.clone()
    }

    /// Arms a target, or changes the faults of one that is armed. On an error or a refusal what
    /// was armed before stays as it was.
    pub fn arm(&mut self, request: Request<'_>) -> Result<Outcome, ArmError> {
        let Request { id, target, faults, terms, clock } = request;
        self.filtered.forget_ended();
        let seed = terms.seed;
        let features = self.filtered.features(&self.features, &self.root, &target);
        let mut plan = self.filtered.check(plan(faults, &features, &terms), &target);
        if !plan.refused.is_empty() {
            return Ok(Outcome::Refused(plan));
        }
        self.end_in_time(&id, &target, &mut plan, clock);
        let claim = match self.claim(&id, &target, &plan, faults, clock)? {
            Ok(claim) => claim,
            Err(occupied) => return Ok(Outcome::Occupied(occupied)),
        };
        let same_cgroup = |armed: &Armed| armed.is_on(&target);
        let has_shared_rules = |armed: &Armed| same_cgroup(armed) && armed.shared_rules().is_some();
        let programs = self.programs.load(&self.leases)?;
        let shared =
            if plan.needs_supervisors() && !self.armed.get(&id).is_some_and(has_shared_rules) {
                self.filtered.shared_rules(&target)?
            } else {
                None
            };
        let can_replace = |armed: &&mut Armed| same_cgroup(armed) && shared.is_none();
        let turn = self.patience();
        match self.armed.get_mut(&id).filter(can_replace) {
            Some(armed) => {
                let before = report(&id, armed, false).ok();
                let gone = armed.replace(&plan, clock, turn)?;
                self.replaced.extend(before.and_then(|before| replaced(before, gone)));
                armed.set_seed(seed);
                armed.renew(self.lease)?;
            }
            None => {
                let of_all =
                    OfAll { programs, frames: self.frames.clone(), leases: self.leases.clone() };
                let armed =
                    Armed::arm(&self.root, target, &plan, shared.clone(), clock, of_all, turn);
                let mut armed = armed.inspect_err(|_| {
                    shared.iter().for_each(|shared| self.filtered.give_up(shared))
                })?;
                armed.set_seed(seed);
                armed.renew(self.lease)?;
                if let Some(mut before) = self.armed.insert(id.clone(), armed) {
                    if let Err(error) = before.suspend() {
                        tracing::warn!(%id, %error, "the lease could not be withdrawn; detaching");
                    }
                    self.replaced.extend(report(&id, &before, true));
                    self.retire(before, turn);
                }
            }
        }
        // If it has lapsed, others may have armed meanwhile what does not go together with what is armed here: the next
        // tick looks for that first.
        if self.armed.len() == 1 || self.programs.is_leased() {
            self.programs.renew(self.leased_until());
        }
        if let Err(occupied) = self.claims.settle(id.clone(), claim, self.leased_until()) {
            self.end_all(&[(id, occupied.since_it_lapsed())]);
            return Ok(Outcome::Occupied(occupied));
        }
        self.look_at(id);
        Ok(Outcome::Armed(plan))
    }

    /// Has rules end by their `until`, where that comes before they have lasted their time. What was computed for a
    /// fault when it was first armed holds, wherever the wall clock is now.
    fn end_in_time(
        &self,
        id: &ArmedId,
        target: &Target,
        plan: &mut Plan,
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
    ) {
        let now = boot_now();
        let before = self.armed.get(id).filter(|armed| armed.is_on(target));
        for rule in &mut plan.rules {
            let Some(until) = rule.fault.until else { continue };
            let kept = before.and_then(|armed| armed.clock(&rule.fault));
            let known = kept.or_else(|| clock(&rule.fault)).unwrap_or(FaultClock::since(now));
            rule.end_by(known.began, known.ends.unwrap_or_else(|| boot_moment(until)));
        }
    }

    /// Who has armed what does not go together with this plan, if it were armed at this moment, and `gone`
    /// were not.
    pub fn occupied(
        &self,
        id: &ArmedId,
        target: &Target,
        plan: &Plan,
        faults: &[Fault],
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
        gone: &BTreeSet<ArmedId>,
    ) -> Result<Option<Occupied>, ArmError> {
        let claim = self.new_claim(id, target, plan, clock)?;
        Ok(self.claims.occupied(gone, &claim, faults))
    }

    /// Tells other processes what is about to be armed, and compares it with what is.
    fn claim(
        &mut self,
        id: &ArmedId,
        target: &Target,
        plan: &Plan,
        faults: &[Fault],
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
    ) -> Result<Result<Held, Occupied>, ArmError> {
        let claim = self.new_claim(id, target, plan, clock)?;
        let turn = Turn::of(self.lease / PART_OF_LEASE);
        Ok(self.claims.ask(id, claim, faults, self.leased_until(), turn))
    }

    /// The boot-clock moment (ns) at which a lease ends that is renewed now.
    fn leased_until(&self) -> u64 {
        boot_now().saturating_add(nanoseconds(self.lease))
    }

    fn new_claim(
        &self,
        id: &ArmedId,
        target: &Target,
        plan: &Plan,
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
    ) -> Result<Claim, ArmError> {
        let now = boot_now();
        let times = |rule: &PlannedRule| {
            let began = clock(&rule.fault).map_or(now, |clock| clock.began);
            (began, ends(rule, began))
        };
        Claim::new(id, target, &self.root, plan, times).map_err(|error| {
            let path = target.cgroup.path().display().to_string();
            if target.is_alive() { error.into() } else { ArmError::TargetGone { path } }
        })
    }

    /// Says that the child of `run`, alone in the cgroup of this target, is going to be started with
    /// a filter whose supervisor judges by these shared rules.
    pub fn expect_child(&mut self, target: &Target, shared: Arc<SharedRules>) {
        self.filtered.expect_child(target, shared);
    }

    /// Takes in a container that is starting under a filter.
    pub fn add_container(&mut self, container: FilteredContainer) -> Result<(), ArmError> {
        self.filtered.add(container, self.armed.values())
    }

    /// Disarms one target, as somebody asked for.
    pub fn disarm(&mut self, id: &ArmedId, why: &str) -> Option<Ended> {
        self.disarm_within(id, why, self.patience())
    }

    /// Disarms several targets, in no more time than one.
    pub fn disarm_all<'a>(
        &mut self,
        ids: impl IntoIterator<Item = &'a ArmedId>,
        why: &str,
    ) -> Vec<Ended> {
        let ids: Vec<&ArmedId> = ids.into_iter().collect();
        self.suspend_all(&ids);
        let turn = self.patience();
        ids.into_iter().filter_map(|id| self.disarm_within(id, why, turn)).collect()
    }

    /// Stops targets for good, before any of them is cleaned up, which takes its time.
    fn suspend_all(&mut self, ids: &[&ArmedId]) {
        for id in ids {
            if let Some(Err(error)) = self.armed.get_mut(*id).map(Armed::suspend) {
                tracing::warn!(%id, %error, "the lease could not be withdrawn");
            }
        }
    }

    fn disarm_within(&mut self, id: &ArmedId, why: &str, turn: Turn) -> Option<Ended> {
        let ended = self.take_out(id, why, turn)?;
        self.notices.push(Notice::Disarmed(ended.clone()));
        Some(ended)
    }

    /// Disarms targets, each for its reason, which nobody asked for.
    pub(super) fn end_all(&mut self, over: &[(ArmedId, String)]) -> Vec<Ended> {
        self.suspend_all(&over.iter().map(|(id, _)| id).collect::<Vec<_>>());
        let turn = self.patience();
        let ended: Vec<Ended> =
            over.iter().filter_map(|(id, why)| self.take_out(id, why, turn)).collect();
        self.notices.extend(ended.iter().cloned().map(Notice::Ended));
        ended
    }

    /// What one call may take: no more than a part of the lease, so that those of others do not lapse.
    fn patience(&self) -> Turn {
        Turn::of((self.lease / PART_OF_LEASE).min(PATIENCE))
    }

    fn take_out(&mut self, id: &ArmedId, why: &str, turn: Turn) -> Option<Ended> {
        let mut armed = self.armed.remove(id)?;
        let is_gone = !armed.target().is_alive();
        let claim = self.claims.take(id);
        // Stop first, so that the report is final.
        if let Err(error) = armed.suspend() {
            tracing::warn!(%id, %error, "the lease could not be withdrawn; detaching");
        }
        let drained = armed.drain_at_last();
        note(&mut self.notices, id, &armed, drained);
        armed.look_for_nat_anew();
        let report = report(id, &armed, true).ok();
        self.retire(armed, turn);
        // Until then nobody else arms what does not go together with it.
        drop(claim);
        Some(Ended { id: id.clone(), why: why.to_owned(), is_gone, report })
    }

    /// Disarms a target as far as a turn goes, and leaves the rest for the turns to come: nothing of it
    /// acts any more.
    fn retire(&mut self, armed: Armed, turn: Turn) {
        let (mut retired, mut leaving) = armed.disarm();
        while !turn.is_over() && leaving.is_read() {
            thread::sleep(Duration::from_millis(1));
        }
        leaving.see_off();
        if retired.detach(turn) {
            leaving.drop_ends(turn);
        } else {
            self.retired.push_back(retired);
        }
        self.leaving.join(leaving);
    }

    /// Disarms everything: first takes all leases away, so that nothing acts any more, then cleans up.
    pub fn halt(&mut self, why: &str) -> Vec<Ended> {
        let _withheld = self.leases.withhold();
        let ids: Vec<ArmedId> = self.armed.keys().cloned().collect();
        self.disarm_all(&ids, why)
    }

    /// Renews the leases, disarms what has ended or has lost its target, and begins to look at the
    /// interfaces of the others. Call it several times per lease, and [`Armory::work`] in between.
    pub fn tick(&mut self) -> Vec<Ended> {
        self.filtered.forget_ended();
        self.leaving.see_off();
        // Before a lease is renewed that lapsed.
        let occupied = self.claims.revive(self.leased_until());
        for id in occupied.keys() {
            if let Some(Err(error)) = self.armed.get_mut(id).map(Armed::suspend) {
                tracing::warn!(%id, %error, "the lease could not be withdrawn");
            }
        }
        // What each target needs may take a while.
        self.programs.renew(self.leased_until());
        // A process can be moved at any time.
        let own = self.root.own().ok();
        let mut over: Vec<(ArmedId, String)> = Vec::new();
        for (id, armed) in &mut self.armed {
            if let Some(occupied) = occupied.get(id) {
                over.push((id.clone(), occupied.since_it_lapsed()));
            } else if !armed.target().is_alive() {
                over.push((id.clone(), "its cgroup is gone".to_owned()));
            } else if armed.has_ended() {
                over.push((id.clone(), "its time is up".to_owned()));
            } else if let Some(reason) = armed.intruder(own.as_ref()) {
                over.push((id.clone(), format!("it is protected now: {reason}")));
            } else if let Some(failure) = armed.line_failure() {
                over.push((id.clone(), format!("its delay line has ended: {failure}")));
            } else if let Err(error) = armed.renew(self.lease) {
                over.push((id.clone(), format!("its lease could not be renewed: {error}")));
            } else if let Err(error) = armed.follow_links() {
                // What was in force goes on.
                tracing::warn!(%id, %error, "links in paths were not followed");
            } else {
                armed.look_for_nat();
            }
        }
        self.claims.renew(self.leased_until());
        let ended = self.end_all(&over);
        self.programs.tend();
        let ids: Vec<ArmedId> = self.armed.keys().cloned().collect();
        ids.into_iter().for_each(|id| self.look_at(id));
        self.work();
        ended
    }

    /// Becomes readable when there is news for [`Armory::work`]; `None` where it waits for the next tick.
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        self.frames.news().descriptor()
    }

    /// Has the interfaces looked at of targets that have got new ones.
    fn take_news(&mut self) {
        let heard = self.frames.news().take();
        if heard.is_empty() {
            return;
        }
        let is_concerned = |armed: &Armed| heard.contains(&armed.target().cgroup.id());
        let concerned = self.armed.iter().filter(|(_, armed)| is_concerned(armed));
        let concerned = concerned.inspect(|(_, armed)| armed.hear());
        let concerned: Vec<ArmedId> = concerned.map(|(id, _)| id.clone()).collect();
        concerned.into_iter().for_each(|id| self.look_at(id));
    }

    /// Has the interfaces of a target looked at when its turn comes.
    fn look_at(&mut self, id: ArmedId) {
        if !self.to_look.contains(&id) {
            self.to_look.push_back(id);
        }
    }

    /// Whether something is left to be done for which nobody waits.
    pub fn has_work(&self) -> bool {
        !self.to_look.is_empty()
            || !self.retired.is_empty()
            || self.leaving.has_ends()
            || self.programs.has_idle()
    }

    /// Goes on with that for a tenth of a second: attaches to interfaces and detaches from them, for one
    /// target after the other. The leases must be renewed meanwhile.
    pub fn work(&mut self) {
        self.take_news();
        let turn = Turn::of(TURN);
        while self.has_work() && !turn.is_over() {
            if let Some(id) = self.to_look.pop_front()
                && let Some(armed) = self.armed.get_mut(&id)
                && armed.look(turn.part(PIECE))
            {
                self.to_look.push_back(id);
            }
            if let Some(mut retired) = self.retired.pop_front()
                && !retired.detach(turn.part(PIECE))
            {
                self.retired.push_back(retired);
            }
            self.leaving.drop_ends(turn.part(PIECE));
            self.programs.detach_idle();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    pub fn ids(&self) -> impl Iterator<Item = &ArmedId> {
        self.armed.keys()
    }

    /// What is armed under this name: under it as an id, or as the name of a target. The latter may be
    /// several.
    pub fn named(&self, name: &str) -> Vec<ArmedId> {
        let id = ArmedId(name.to_owned());
        if self.armed.contains_key(&id) {
            return vec![id];
        }
        let named = self.armed.iter().filter(|(_, armed)| armed.target().name == name);
        named.map(|(id, _)| id.clone()).collect()
    }

    /// What is armed on the cgroup of this target.
    pub fn on(&self, target: &Target) -> Vec<&ArmedId> {
        let cgroup = target.cgroup.id();
        let on = self.armed.iter().filter(|(_, armed)| armed.target().cgroup.id() == cgroup);
        on.map(|(id, _)| id).collect()
    }

    /// The seed of the faults of a target that have none of their own.
    pub fn seed(&self, id: &ArmedId) -> Option<u64> {
        self.armed.get(id).map(Armed::seed)
    }

    /// What else is armed on the cgroup of this one.
    pub fn beside(&self, id: &ArmedId) -> Vec<ArmedId> {
        let Some(armed) = self.armed.get(id) else { return Vec::new() };
        self.on(armed.target()).into_iter().filter(|other| *other != id).cloned().collect()
    }

    /// The ledger of one target.
    pub fn report(&self, id: &ArmedId) -> Option<Result<TargetReport, ArmError>> {
        self.armed.get(id).map(|armed| report(id, armed, false))
    }

    /// The ledgers of all targets.
    pub fn reports(&self) -> Result<Vec<TargetReport>, ArmError> {
        self.armed.iter().map(|(id, armed)| report(id, armed, false)).collect()
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

    /// The last ledgers, since the last call, of faults that others have replaced.
    pub(super) fn take_replaced(&mut self) -> Vec<TargetReport> {
        std::mem::take(&mut self.replaced)
    }
}

impl Drop for Armory {
    /// Waits for the frames that are still on their way, which is a matter of seconds at most.
    fn drop(&mut self) {
        let _withheld = self.leases.withhold();
        for (_, armed) in std::mem::take(&mut self.armed) {
            let (retired, leaving) = armed.disarm();
            self.retired.push_back(retired);
            self.leaving.join(leaving);
        }
        self.retired.clear();
        while self.leaving.has_lines() {
            thread::sleep(Duration::from_millis(1));
            self.leaving.see_off();
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

/// Of a report those faults that are gone, with what they have counted since, if there are any.
fn replaced(before: TargetReport, gone: Vec<Gone>) -> Option<TargetReport> {
    let mut before = before;
    before.faults.retain_mut(|fault| {
        let Some(gone) = gone.iter().find(|gone| gone.is(fault)) else { return false };
        if let Some(counts) = &gone.counts {
            fault.counts = counts.clone();
        }
        true
    });
    (!before.faults.is_empty()).then_some(before)
}

/// `is_last` where nothing more is to come.
fn report(id: &ArmedId, armed: &Armed, is_last: bool) -> Result<TargetReport, ArmError> {
    let target = armed.target();
    Ok(TargetReport {
        id: id.0.clone(),
        target: target.name.clone(),
        cgroup: target.cgroup.path().display().to_string(),
        missed: armed.missed(),
        notes: armed.notes(),
        faults: armed.ledger(is_last)?,
    })
}
