//! One target with its rules in the kernel. Dropping it disarms.

mod in_force;
mod rule;
mod told;

use std::{collections::BTreeMap, io, sync::Arc, time::Duration};

use chaos_api::{FaultClock, Lease, Leases, Phase, Policy, clock::boot_now};
use chaos_ebpf_common::{SLOTS, latencies::MAX_TABLES, ledger::Count};
use chaos_fault::Fault;
use chaos_plan::{
    OutOfSlots, Plan, PlannedRule, Slot, assign, attachments, latency_table, nanoseconds,
};
use thiserror::Error;

use self::{
    in_force::Switched,
    rule::{ArmedRule, is_in_text},
};
pub(super) use self::{
    rule::ends,
    told::{Drained, Gone},
};
use super::{
    frames::{Place, SharedFrames, SharedLink, TextFrames},
    lease::InForce,
    line::Leaving,
    open_files::OpenFiles,
    retired::Retired,
    sample::Sample,
    symlinks,
    symlinks::Symlinks,
    translations,
    translations::Translations,
    turn::Turn,
};
use crate::{
    cgroup::{Cgroup, CgroupRoot, Owner, Patrol, ProtectedReason, Target, TargetError},
    descriptors::{Descriptors, TooFew},
    kernel::{Holding, KernelError, Programs, Room, Text, wait_for_running_programs},
    seccomp::{SharedRules, SharedRulesError, SpawnError, Under},
};

/// Why a plan could not be put into the kernel. Nothing of it is in force then.
#[derive(Debug, Error)]
pub enum ArmError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Lease(#[from] chaos_api::LeaseError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Slots(#[from] OutOfSlots),
    #[error(transparent)]
    SharedRules(#[from] SharedRulesError),
    #[error(transparent)]
    Supervisor(#[from] SpawnError),
    #[error("more faults with several latencies than a text takes")]
    OutOfTables,
    #[error("no room for another target: {0}")]
    TooFewDescriptors(#[from] TooFew),
    #[error("count the open file descriptors: {0}")]
    Count(io::Error),
    #[error("cgroup {path} is gone")]
    TargetGone { path: String },
}

/// A target whose rules are in the kernel, acting as long as the lease is renewed.
pub struct Armed {
    /// The rules that programs decide.
    text: Text,
    /// Where there is, or was, a rule on frames.
    frames: Option<TextFrames>,
    /// Of the rules that supervisors decide.
    lease: Arc<Lease>,
    of_all: OfAll,
    /// What the supervisors of the target judge by, where it has some and a rule that needs them.
    shared: Option<Arc<SharedRules>>,
    /// Up to where their ring was read.
    drained: u64,
    rules: Vec<ArmedRule>,
    /// Where it has a rule with a path.
    symlinks: Option<Symlinks>,
    /// A search that is not finished, and the paths of the rules by their bits.
    open_files: Option<(OpenFiles, Vec<(usize, Under)>)>,
    /// Of the addresses that rules name.
    translations: Translations,
    samples: BTreeMap<u32, Sample>,
    /// Of faults that have none of their own.
    seed: u64,
    target: Target,
    patrol: Patrol,
    root: CgroupRoot,
    /// This process, for whoever finds what it leaves.
    owner: Owner,
}

/// What all targets of a process share.
#[derive(Clone)]
pub(super) struct OfAll {
    pub programs: Programs,
    pub frames: SharedFrames,
    pub leases: Leases,
}

impl Armed {
    /// Attaches what the plan needs, to interfaces as far as a turn goes. No rule that supervisors decide
    /// acts before the first [`Armed::renew`], and no other one before the lease of the programs. `clock` is
    /// of faults that were armed before (by an agent that has been restarted); others begin now. `shared` is for a plan with rules that
    /// supervisors decide.
    pub(super) fn arm(
        root: &CgroupRoot,
        target: Target,
        plan: &Plan,
        shared: Option<Arc<SharedRules>>,
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
        of_all: OfAll,
        turn: Turn,
    ) -> Result<Self, ArmError> {
        let needed = descriptors_for(plan);
        Descriptors::count().map_err(ArmError::Count)?.admit(needed)?;
        let text = of_all.programs.open(target.cgroup.id(), target.cgroup.level())?;
        let lease = of_all.leases.open(InForce { map: None, shared: shared.clone() });
        let mut armed = Self {
            text,
            frames: None,
            lease,
            of_all,
            shared,
            drained: 0,
            rules: Vec::new(),
            symlinks: None,
            open_files: None,
            translations: Translations::default(),
            samples: BTreeMap::new(),
            seed: 0,
            target,
            patrol: Patrol::default(),
            root: root.clone(),
            owner: Owner::current(root)?,
        };
        armed.replace(plan, clock, turn)?;
        Ok(armed)
    }

    /// Arms a target apart from every armory, without asking whether it goes together with what is armed.
    /// For tests of what processes make of each other's frames. Nothing acts before the first [`Armed::renew_apart`].
    pub fn apart(root: &CgroupRoot, target: Target, plan: &Plan) -> Result<Self, ArmError> {
        let turn = Turn::of(Duration::from_secs(1));
        let (programs, leases) = (Programs::load(Room::default())?, Leases::default());
        let frames = SharedFrames::new(Policy::default().held_memory());
        let of_all = OfAll { programs, frames, leases };
        Self::arm(root, target, plan, None, &|_| None, of_all, turn)
    }

    /// Lets the rules of a target that is armed apart act for another `lease`.
    pub fn renew_apart(&mut self, lease: Duration) -> Result<(), ArmError> {
        let until = boot_now().saturating_add(nanoseconds(lease));
        Ok(self.of_all.programs.lease().set(until)?)
    }

    /// Puts another plan in force, whole. Faults that stay keep their clock and their counts; those that are gone are
    /// given back with their last counts.
    pub(super) fn replace(
        &mut self,
        plan: &Plan,
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
        turn: Turn,
    ) -> Result<Vec<Gone>, ArmError> {
        let made = self.make_rules(plan, clock);
        let mut rules = made.inspect_err(|_| self.keep_slots())?;
        let sights = self.look_for_paths(&rules, symlinks::PATIENCE);
        for rule in &mut rules {
            rule.lead(&sights);
        }
        let mut switched = Switched::default();
        let done = self.put_in_force(plan, &rules, turn, &mut switched);
        let done = match done {
            Ok(()) => {
                let before = std::mem::replace(&mut self.rules, rules);
                self.look_for_nat_anew();
                // Before their slots are given back.
                Ok(self.gone(&before))
            }
            Err(error) => {
                self.go_back(switched);
                Err(error)
            }
        };
        self.take_off_unneeded();
        done
    }

    /// The rules of a plan, with what they remember and count made ready.
    fn make_rules(
        &mut self,
        plan: &Plan,
        clock: &dyn Fn(&Fault) -> Option<FaultClock>,
    ) -> Result<Vec<ArmedRule>, ArmError> {
        let previous: Vec<(Fault, u32)> =
            self.rules.iter().map(|rule| (rule.planned.fault.as_written(), rule.slot)).collect();
        // A fault goes on where the pods that it names have other addresses.
        let faults: Vec<Fault> = plan.rules.iter().map(|rule| rule.fault.as_written()).collect();
        let slots = assign(&previous, &faults, SLOTS as u32)?;
        if plan.rules.iter().filter(|rule| rule.latencies().is_some()).count() > MAX_TABLES {
            return Err(ArmError::OutOfTables);
        }
        let now = boot_now();
        let mut rules = Vec::with_capacity(slots.len());
        for (planned, Slot { number: slot, fresh }) in plan.rules.iter().zip(slots) {
            let kept = self.rules.iter().find(|rule| !fresh && rule.slot == slot);
            let kept = kept.map(|rule| (rule.began, rule.counted_since));
            if is_in_text(planned) && (fresh || self.text.slot(slot).is_none()) {
                self.text.renew_slot(slot)?;
                self.hold(planned, slot)?;
            }
            if fresh {
                if let Some(shared) = &self.shared {
                    shared.reset_slot(slot);
                }
                self.samples.remove(&slot);
            }
            let resumed = || clock(&planned.fault).map(|clock| clock.began);
            let began = kept.map(|(began, _)| began).or_else(resumed);
            rules.push(ArmedRule {
                planned: planned.clone(),
                slot,
                sentence: planned.fault.to_string().into(),
                began: began.unwrap_or(now),
                counted_since: kept.map_or(now, |(_, counted_since)| counted_since),
            });
        }
        Ok(rules)
    }

    /// Says how a new rule holds frames, if it does.
    fn hold(&mut self, rule: &PlannedRule, slot: u32) -> Result<(), ArmError> {
        if let (Some(frames), Some(own)) = (&self.frames, self.text.slot(slot)) {
            frames.forget_lost(own);
        }
        let Some(hold) = rule.hold() else { return Ok(()) };
        let latencies = rule.latencies().map(latency_table).map(Box::new);
        let holding = Holding { hold, latencies, is_per_flow: rule.is_per_flow() };
        Ok(self.text.hold(slot, &holding)?)
    }

    /// Looks, now and then, for NAT that hides packets from rules that have matched nothing.
    pub(super) fn look_for_nat(&mut self) {
        if !self.translations.is_due() {
            return;
        }
        let is_unmatched = |rule: &&ArmedRule| {
            let counts = self.counts(rule).unwrap_or_default();
            counts.get(&Count::Matched).is_none_or(|matched| *matched == 0)
        };
        let can_be_hidden = |rule: &&ArmedRule| translations::can_hide(&rule.planned.fault);
        // Counts are summed over the processors: only for those that it is about.
        let rules = self.rules.iter().filter(can_be_hidden).filter(is_unmatched);
        let faults: Vec<(u32, &Fault)> =
            rules.map(|rule| (rule.slot, &rule.planned.fault)).collect();
        self.translations.look(&self.target.cgroup, &faults);
    }

    /// The same, however short a time ago it was looked: other rules are in force, or nothing more is to come.
    pub(super) fn look_for_nat_anew(&mut self) {
        self.translations.forget();
        self.look_for_nat();
    }

    /// Lets the rules act that supervisors decide for another `lease` from now on, unless all leases are withheld.
    pub fn renew(&mut self, lease: Duration) -> Result<(), ArmError> {
        let until = boot_now().saturating_add(nanoseconds(lease));
        Ok(self.lease.extend(until)?)
    }

    /// Goes on for a turn with looking for files that the target has open, and for network namespaces and interfaces
    /// that it has got since, or lost; whether something is left to be done.
    pub(super) fn look(&mut self, turn: Turn) -> bool {
        let is_left = self.look_at_open_files(turn);
        let Self { frames, target, root, owner, .. } = self;
        let Some(frames) = frames else { return is_left };
        let looked = frames.look(Place { target, root, owner }, turn).unwrap_or_else(|error| {
            // Interfaces come and go while we look; what is attached already goes on.
            tracing::warn!(target = %self.target.name, %error, "new interfaces were not served");
            false
        });
        looked || is_left
    }

    /// Something was heard of the target's network namespaces.
    pub(super) fn hear(&self) {
        if let Some(frames) = &self.frames {
            frames.wake();
        }
    }

    /// Stops every rule at once, for good.
    pub fn suspend(&mut self) -> Result<(), ArmError> {
        self.lease.withdraw()?;
        Ok(self.text.suspend()?)
    }

    /// What the supervisors of the target judge by, where a rule needs them.
    pub fn shared_rules(&self) -> Option<&Arc<SharedRules>> {
        self.shared.as_ref()
    }

    /// Disarms. What is given back has programs to be detached, and frames to send on; dropped, it
    /// loses them.
    pub(super) fn disarm(mut self) -> (Retired, Leaving) {
        let (links, leaving) = self.end();
        if let Err(error) = self.text.end() {
            tracing::warn!(%error, "a text was not taken out");
        }
        (Retired::new(links, self), leaving)
    }

    fn end(&mut self) -> (Vec<SharedLink>, Leaving) {
        if let Some(shared) = &self.shared {
            shared.close();
        }
        let Some(frames) = self.frames.take() else { return (Vec::new(), Leaving::default()) };
        let left = frames.leave(|| {
            // So that nothing comes after what is sent on now.
            if let Err(error) = self.suspend().and_then(|()| Ok(wait_for_running_programs()?)) {
                tracing::warn!(%error, "frames may get lost in the delay line");
            }
        });
        // Until its links are gone.
        self.frames = Some(frames);
        left
    }

    /// Why the delay line has ended, if it did so by itself.
    pub(super) fn line_failure(&self) -> Option<String> {
        self.frames.as_ref().and_then(TextFrames::line_failure)
    }

    /// Whether every rule's deadline has passed.
    pub fn has_ended(&self) -> bool {
        let now = boot_now();
        self.rules.iter().all(|rule| rule.phase(now) == Phase::Ended)
    }

    /// Why the target must not stay one, if something has moved in that is never one. Looks at a part
    /// of it, now and then; cheap. `own` is the cgroup of this process.
    pub(super) fn intruder(&mut self, own: Option<&Cgroup>) -> Option<ProtectedReason> {
        self.patrol.look(&self.root, own, &self.target.cgroup)
    }

    /// Notes the seed of the faults that have none of their own.
    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Whether it is the cgroup of this target.
    pub(super) fn is_on(&self, target: &Target) -> bool {
        self.target.cgroup.id() == target.cgroup.id()
    }

    /// The clock of a fault that is among its rules.
    pub(super) fn clock(&self, fault: &Fault) -> Option<FaultClock> {
        let written = fault.as_written();
        let rule = self.rules.iter().find(|rule| rule.planned.fault.as_written() == written)?;
        Some(FaultClock { began: rule.began, ends: Some(rule.ends()) })
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        drop(self.end());
    }
}

/// How many file descriptors a target takes at most whose frames pass few interfaces. A test of the
/// agent counts them.
fn descriptors_for(plan: &Plan) -> u64 {
    /// Its cgroup, its supervisors.
    const TARGET: u64 = 8;
    /// A program and its links.
    const HOOK: u64 = 4;
    /// The maps of a tracer, and its type information.
    const TRACER: u64 = 32;
    /// A device, its programs and their links.
    const LINE: u64 = 16;
    let hooks = plan.hooks();
    let functions = attachments(&plan.calls()).len() as u64;
    let line = if plan.line().or(plan.answer_line()).is_some() { LINE } else { 0 };
    let traced = if functions > 0 { TRACER + functions } else { 0 };
    TARGET + HOOK * hooks.len() as u64 + line + traced
}
