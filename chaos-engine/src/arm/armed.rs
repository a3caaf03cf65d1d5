//! One target with its rules in the kernel. Dropping it disarms.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use chaos_api::{Counts, FaultReport, Lease, Leases, Phase, Policy, SlotCounts, clock::boot_now};
use chaos_ebpf_common::{
    SETS, SLOTS, hold::Hold, latencies::MAX_TABLES, ledger::Count, record::Record,
};
use chaos_fault::Fault;
use chaos_plan::{
    CompiledSet, OutOfSlots, Plan, PlannedRule, Position, Slot, assign, attachments, compile,
    latency_table, nanoseconds,
};
use thiserror::Error;

use super::{
    frames::{Frames, Place},
    lease::InForce,
    line::{HeldMemory, Leaving},
    open_files::{OpenFile, open_files},
    retired::Retired,
    sample::Sample,
    symlinks,
    symlinks::{Eyes, Sights, Symlinks},
    translations,
    translations::Translations,
    turn::Turn,
    unmatched,
    unmatched::About,
};
use crate::{
    cgroup::{CgroupRoot, Owner, Patrol, ProtectedReason, Target, TargetError, TargetKind},
    descriptors::{Descriptors, TooFew},
    kernel::{Instance, KernelError, Programs, Room, Text, Wants, wait_for_running_programs},
    seccomp::{SharedRules, SharedRulesError, SpawnError, SupervisorRules, Under},
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
    #[error("more faults with several latencies than a target takes")]
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
    /// The rules that programs at cgroups and functions of the kernel decide.
    text: Text,
    // Links before the instance: fields are dropped in order, so packets meet no program whose
    // maps are on their way out.
    frames: Frames,
    /// Where there is a rule on frames.
    instance: Option<Instance>,
    /// Of the rules that are not in the text.
    lease: Arc<Lease>,
    leases: Leases,
    /// For the frames that it holds.
    memory: HeldMemory,
    /// What the supervisors of the target judge by, where it has some and a rule that needs them.
    shared: Option<Arc<SharedRules>>,
    /// Up to where their ring was read.
    drained: u64,
    rules: Vec<ArmedRule>,
    /// Where it has a rule with a path.
    symlinks: Option<Symlinks>,
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

/// What came out of the ring.
pub(super) struct Drained {
    /// With the canonical sentence of the fault that each belongs to.
    pub records: Vec<(Arc<str>, Record)>,
    /// How many the ring could not keep.
    pub lost: u64,
}

/// What has been put in force of a plan.
#[derive(Default)]
struct Switched {
    frames: bool,
    text: bool,
}

/// A rule in force, and where it counts.
struct ArmedRule {
    planned: PlannedRule,
    slot: u32,
    /// Where its latencies are, if it has several.
    table: Option<u32>,
    sentence: Arc<str>,
    /// Boot-clock moment at which the fault's own clock began.
    began: u64,
    /// And at which this process began to count what matches it.
    counted_since: u64,
}

impl Armed {
    /// Attaches what the plan needs, to interfaces as far as a turn goes. No rule on frames or decided by supervisors
    /// acts before the first [`Armed::renew`], and no other one before the lease of `programs`. `began` tells when a fault began that was armed before (by an
    /// agent that has been restarted); others begin now. `shared` is for a plan with rules that
    /// supervisors decide.
    pub(super) fn arm(
        root: &CgroupRoot,
        target: Target,
        plan: &Plan,
        shared: Option<Arc<SharedRules>>,
        began: &dyn Fn(&Fault) -> Option<u64>,
        (programs, leases, memory): (&Programs, &Leases, &HeldMemory),
        turn: Turn,
    ) -> Result<Self, ArmError> {
        let needed = descriptors_for(plan);
        Descriptors::count().map_err(ArmError::Count)?.admit(needed)?;
        let text = programs.open(target.cgroup.id(), target.cgroup.level())?;
        let lease = leases.open(InForce { map: None, shared: shared.clone() });
        let mut armed = Self {
            text,
            frames: Frames::default(),
            instance: None,
            lease,
            leases: leases.clone(),
            memory: memory.clone(),
            shared,
            drained: 0,
            rules: Vec::new(),
            symlinks: None,
            translations: Translations::default(),
            samples: BTreeMap::new(),
            seed: 0,
            target,
            patrol: Patrol::default(),
            root: root.clone(),
            owner: Owner::current(root)?,
        };
        armed.replace(plan, began, turn)?;
        Ok(armed)
    }

    /// Arms a target apart from every armory, without asking whether it goes together with what is armed.
    /// For tests of what instances make of each other's frames.
    pub fn apart(root: &CgroupRoot, target: Target, plan: &Plan) -> Result<Self, ArmError> {
        let memory = HeldMemory::new(Policy::default().held_memory());
        let turn = Turn::of(Duration::from_secs(1));
        let of_all = (&Programs::load(Room::default())?, &Leases::default(), &memory);
        Self::arm(root, target, plan, None, &|_| None, of_all, turn)
    }

    /// Puts another plan in force, whole. Faults that stay keep their clock and their counts.
    pub(super) fn replace(
        &mut self,
        plan: &Plan,
        began: &dyn Fn(&Fault) -> Option<u64>,
        turn: Turn,
    ) -> Result<(), ArmError> {
        let made = self.make_rules(plan, began);
        let mut rules = made.inspect_err(|_| self.keep_slots())?;
        let sights = self.look_for_paths(&rules, symlinks::PATIENCE);
        for rule in &mut rules {
            rule.lead(&sights);
        }
        let wanted = self.frames.wanted();
        let mut switched = Switched::default();
        let done = self.put_in_force(plan, &rules, turn, &mut switched);
        match done {
            Ok(()) => {
                self.rules = rules;
                self.look_for_nat_anew();
            }
            Err(_) => {
                // Looks attach again what has been taken off meanwhile.
                self.frames.want(&wanted.0, wanted.1);
                self.go_back(switched);
            }
        }
        self.take_off_unneeded();
        done
    }

    /// The rules of a plan, with what they remember and count made ready.
    fn make_rules(
        &mut self,
        plan: &Plan,
        began: &dyn Fn(&Fault) -> Option<u64>,
    ) -> Result<Vec<ArmedRule>, ArmError> {
        let previous: Vec<(Fault, u32)> =
            self.rules.iter().map(|rule| (rule.planned.fault.as_written(), rule.slot)).collect();
        // A fault goes on where the pods that it names have other addresses.
        let faults: Vec<Fault> = plan.rules.iter().map(|rule| rule.fault.as_written()).collect();
        let slots = assign(&previous, &faults, SLOTS as u32)?;
        // The rules in force use theirs until they are replaced.
        let in_use: BTreeSet<u32> = self.rules.iter().filter_map(|rule| rule.table).collect();
        let mut tables = (0..(SETS * MAX_TABLES) as u32).filter(|table| !in_use.contains(table));
        let kept = slots.iter().filter(|slot| !slot.fresh).map(|slot| slot.number).collect();
        if plan.rules.iter().any(is_on_frames) {
            self.instance()?;
        }
        if let Some(instance) = &mut self.instance {
            instance.maps.keep_numbers_of(&kept)?;
        }
        let now = boot_now();
        let mut rules = Vec::with_capacity(slots.len());
        for (planned, Slot { number: slot, fresh }) in plan.rules.iter().zip(slots) {
            let kept = self.rules.iter().find(|rule| !fresh && rule.slot == slot);
            let mut table = kept.and_then(|rule| rule.table);
            if is_in_text(planned) && (fresh || self.text.slot(slot).is_none()) {
                self.text.renew_slot(slot)?;
            }
            if fresh {
                if let Some(lost) = self.frames.lost() {
                    lost.reset(slot);
                }
                if let Some(shared) = &self.shared {
                    shared.reset_slot(slot);
                }
                self.samples.remove(&slot);
            }
            if fresh && let Some(instance) = &mut self.instance {
                instance.maps.reset_slot(slot)?;
                if let Some(hold) = planned.hold() {
                    if let Some(latencies) = planned.latencies() {
                        let free = tables.next().ok_or(ArmError::OutOfTables)?;
                        instance.maps.set_table(free, &latency_table(latencies))?;
                        table = Some(free);
                    }
                    let number = table.map_or(0, |table| table + 1);
                    instance.maps.set_hold(slot, &Hold { table: number, ..hold })?;
                }
            }
            let began = kept.map(|rule| rule.began).or_else(|| began(&planned.fault));
            rules.push(ArmedRule {
                planned: planned.clone(),
                slot,
                table,
                sentence: planned.fault.to_string().into(),
                began: began.unwrap_or(now),
                counted_since: kept.map_or(now, |rule| rule.counted_since),
            });
        }
        Ok(rules)
    }

    /// The object for the frames of the target.
    fn instance(&mut self) -> Result<&mut Instance, ArmError> {
        match &mut self.instance {
            Some(instance) => Ok(instance),
            empty => {
                let cgroup = &self.target.cgroup;
                let instance = Instance::load(cgroup.id(), cgroup.level())?;
                let map = Some(instance.maps.lease());
                self.lease = self.leases.open(InForce { map, shared: self.shared.clone() });
                Ok(empty.insert(instance))
            }
        }
    }

    /// Attaches what the rules need, and has the programs and the supervisors judge by them.
    fn put_in_force(
        &mut self,
        plan: &Plan,
        rules: &[ArmedRule],
        turn: Turn,
        switched: &mut Switched,
    ) -> Result<(), ArmError> {
        self.put_frames_in_force(plan, rules, turn)?;
        switched.frames = true;
        self.put_text_in_force(rules)?;
        switched.text = true;
        if let Some(shared) = &self.shared {
            let own = |rule: &ArmedRule| Some(rule.slot);
            let (compiled, planned) = compile_part(rules, SHARED_SET, is_by_seccomp, own);
            shared.publish(&SupervisorRules::new(&compiled, &planned))?;
        }
        Ok(())
    }

    /// As far as they are on frames.
    fn put_frames_in_force(
        &mut self,
        plan: &Plan,
        rules: &[ArmedRule],
        turn: Turn,
    ) -> Result<(), ArmError> {
        let Some(instance) = &mut self.instance else { return Ok(()) };
        if let Some(line) = plan.line() {
            self.frames.start_line(line, instance, &self.memory)?;
        }
        self.frames.want_answer_line(plan.answer_line(), &self.memory);
        let position = Position::of(plan.rules.iter().map(|rule| &rule.fault));
        // First, as a process that is killed gives up its newest files first, and the kernel waits
        // for a grace period (10 ms) for each link to an interface (`tcx_link_release`): what a
        // cgroup's links do must not outlast those.
        let Self { target, root, owner, .. } = self;
        let place = Place { target, root, owner };
        self.frames.attach(&plan.hooks(), position, instance, place, turn)?;
        let own = |rule: &ArmedRule| Some(rule.slot);
        let (compiled, _) = compile_part(rules, instance.maps.next_set(), is_on_frames, own);
        Ok(instance.maps.replace(&compiled)?)
    }

    /// As far as programs at cgroups and functions of the kernel decide them.
    fn put_text_in_force(&mut self, rules: &[ArmedRule]) -> Result<(), ArmError> {
        let part = rules.iter().map(|rule| &rule.planned).filter(|planned| is_in_text(planned));
        let part = Plan { rules: part.cloned().collect(), ..Plan::default() };
        let cgroup = &self.target.cgroup;
        let path = cgroup.path().display().to_string();
        let (hooks, functions) = (part.hooks(), attachments(&part.calls()));
        let wants =
            Wants { cgroup: cgroup.as_fd(), path: &path, hooks: &hooks, functions: &functions };
        let slots: BTreeMap<u32, u32> =
            rules.iter().filter_map(|rule| Some((rule.slot, self.text.slot(rule.slot)?))).collect();
        let count = u32::try_from(part.rules.len()).unwrap_or(u32::MAX);
        if count == 0 && !self.rules.iter().any(|rule| is_in_text(&rule.planned)) {
            return Ok(());
        }
        let replaced = self.text.replace(count, &wants, |set| {
            compile_part(rules, set, is_in_text, |rule| slots.get(&rule.slot).copied()).0
        });
        if replaced.is_err() && !cgroup.is_alive() {
            return Err(ArmError::TargetGone { path });
        }
        replaced?;
        // From here on programs remember what is opened.
        if part.rules.iter().any(|rule| rule.fault.under.is_some()) {
            self.remember_open_files(&part.rules)?;
        }
        Ok(())
    }

    /// Has the paths of rules looked for; what was found, if that comes so soon.
    fn look_for_paths(&mut self, rules: &[ArmedRule], patience: Duration) -> Sights {
        let paths: BTreeSet<String> =
            rules.iter().filter_map(|rule| rule.planned.fault.under.clone()).collect();
        if paths.is_empty() {
            self.symlinks = None;
            return Sights::new();
        }
        if self.symlinks.is_none() {
            self.symlinks = Symlinks::start()
                .inspect_err(|error| {
                    let target = &self.target.name;
                    tracing::warn!(%target, %error, "links in paths are not followed");
                })
                .ok();
        }
        let Some(symlinks) = &self.symlinks else { return Sights::new() };
        // A target that has gone is noticed elsewhere.
        let processes = self.target.cgroup.processes().unwrap_or_default();
        let eyes = if self.target.kind == TargetKind::Child && processes.is_empty() {
            Eyes::Own
        } else {
            Eyes::Processes(processes)
        };
        symlinks.ask(paths, eyes);
        symlinks.sights(patience)
    }

    /// Looks for links in the paths of rules that have appeared or changed, and tells the programs in the
    /// kernel. Supervisors see for themselves.
    pub(super) fn follow_links(&mut self) -> Result<(), ArmError> {
        if self.symlinks.is_none() {
            return Ok(());
        }
        let mut rules = std::mem::take(&mut self.rules);
        let before: Vec<PlannedRule> = rules.iter().map(|rule| rule.planned.clone()).collect();
        let sights = self.look_for_paths(&rules, Duration::ZERO);
        let mut is_news = false;
        for rule in &mut rules {
            is_news |= rule.lead(&sights);
        }
        self.rules = rules;
        if !is_news {
            return Ok(());
        }
        let rules = std::mem::take(&mut self.rules);
        let followed = self.put_text_in_force(&rules);
        self.rules = rules;
        if followed.is_err() {
            // It is news at the next look, too.
            for (rule, before) in self.rules.iter_mut().zip(before) {
                rule.planned = before;
            }
        }
        followed
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

    /// Puts the rules in force again that were so before others, as far as those were.
    fn go_back(&mut self, switched: Switched) {
        let rules = std::mem::take(&mut self.rules);
        let told = |target: &str, error: &ArmError| {
            tracing::warn!(%target, %error, "the faults before do not go on");
        };
        if switched.frames
            && let Some(instance) = &mut self.instance
        {
            let own = |rule: &ArmedRule| Some(rule.slot);
            let (compiled, _) = compile_part(&rules, instance.maps.next_set(), is_on_frames, own);
            if let Err(error) = instance.maps.replace(&compiled) {
                told(&self.target.name, &error.into());
            }
        }
        if switched.text
            && let Err(error) = self.put_text_in_force(&rules)
        {
            told(&self.target.name, &error);
        }
        self.rules = rules;
    }

    /// Gives back the slots of rules that are not in force.
    fn keep_slots(&mut self) {
        let in_text = self.rules.iter().filter(|rule| is_in_text(&rule.planned));
        self.text.keep_slots(&in_text.map(|rule| rule.slot).collect());
    }

    /// Takes off what the rules in force do not need.
    fn take_off_unneeded(&mut self) {
        let rules = self.rules.iter().map(|rule| rule.planned.clone()).collect();
        let plan = Plan { rules, ..Plan::default() };
        if let Some(instance) = &mut self.instance
            && plan.line().or(plan.answer_line()).is_none()
        {
            self.frames.stop_line(instance);
        }
        self.frames.retain(&plan.hooks());
        self.keep_slots();
    }

    /// Tells the programs which rules the files meet that the target has open.
    fn remember_open_files(&mut self, rules: &[PlannedRule]) -> Result<(), ArmError> {
        let of_rule = |(bit, rule): (usize, &PlannedRule)| {
            let written = rule.fault.under.as_deref().map(Under::new);
            let leads = rule.leads_to.iter().map(|real| Under::behind(real, ""));
            written.into_iter().chain(leads).map(move |under| (bit, under)).collect::<Vec<_>>()
        };
        let paths: Vec<(usize, Under)> = rules.iter().enumerate().flat_map(of_rule).collect();
        for OpenFile { id, path } in open_files(&self.target.cgroup)? {
            let met = paths.iter().filter(|(_, under)| under.covers(&path));
            let met = met.fold(0, |met, (bit, _)| met | 1 << bit);
            if met != 0 {
                self.text.remember_file(id, met)?;
            }
        }
        Ok(())
    }

    /// Lets the rules act that are on frames or decided by supervisors for another `lease` from now on, unless all
    /// leases are withheld.
    pub fn renew(&mut self, lease: Duration) -> Result<(), ArmError> {
        if let Some(instance) = &mut self.instance {
            instance.flush_log();
        }
        let until = boot_now().saturating_add(nanoseconds(lease));
        Ok(self.lease.extend(until)?)
    }

    /// Goes on for a turn with looking for network namespaces and interfaces that the target has got
    /// since, or lost; whether something is left to be done.
    pub(super) fn look(&mut self, turn: Turn) -> bool {
        let Self { frames, instance, target, root, owner, .. } = self;
        let Some(instance) = instance else { return false };
        frames.look(instance, Place { target, root, owner }, turn).unwrap_or_else(|error| {
            // Interfaces come and go while we look; what is attached already goes on.
            tracing::warn!(target = %self.target.name, %error, "new interfaces were not served");
            false
        })
    }

    /// Stops every rule at once, for good.
    pub fn suspend(&mut self) -> Result<(), ArmError> {
        self.lease.withdraw()?;
        Ok(self.text.suspend()?)
    }

    /// What people should know of the target: what was noted when it was found, and where it is not
    /// served.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = self.target.notes.clone();
        notes.extend(self.frames.notes());
        notes.extend(self.translations.all().map(str::to_owned));
        // What cannot be asked for is not known to be missed.
        let missed = self.text.missed_at_most().unwrap_or_default();
        if missed > 0 {
            notes.push(format!(
                "of this target's calls up to {missed} may have been missed, neither failed nor counted: while a task \
                 is preempted in the program that decides, the kernel asks it about no other call on that processor"
            ));
        }
        if let Some(symlinks) = &self.symlinks {
            let sights = symlinks.sights(Duration::ZERO);
            notes
                .extend(sights.iter().filter_map(|(path, sight)| symlinks::path_note(path, sight)));
        }
        notes
    }

    /// What the supervisors of the target judge by, where a rule needs them.
    pub fn shared_rules(&self) -> Option<&Arc<SharedRules>> {
        self.shared.as_ref()
    }

    /// What was counted for a rule, wherever it is decided.
    fn counts(&self, rule: &ArmedRule) -> Result<SlotCounts, ArmError> {
        match &self.shared {
            Some(shared) if rule.planned.is_by_seccomp() => Ok(shared.counts(rule.slot)),
            _ if is_in_text(&rule.planned) => Ok(self.text.counts(rule.slot)?),
            _ => {
                let Some(instance) = &self.instance else { return Ok(SlotCounts::default()) };
                // First, as each has been counted as injected before.
                let lost = self.frames.lost().map_or(0, |lost| lost.of(rule.slot));
                let mut counts = instance.maps.counts(rule.slot)?;
                *counts.entry(Count::Injected).or_default() -= lost;
                *counts.entry(Count::Overflow).or_default() += lost;
                Ok(counts)
            }
        }
    }

    /// Disarms. What is given back has programs to be detached, and frames to send on; dropped, it
    /// loses them.
    pub(super) fn disarm(mut self) -> (Retired, Leaving) {
        self.end();
        let leaving = self.frames.take_leaving();
        let links = self.frames.take_links();
        if let Err(error) = self.text.end() {
            tracing::warn!(%error, "a text was not taken out");
        }
        (Retired::new(links, self), leaving)
    }

    fn end(&mut self) {
        if let Some(shared) = &self.shared {
            shared.close();
        }
        if self.frames.has_line() {
            // So that nothing comes after what is sent on now.
            if let Err(error) = self.suspend().and_then(|()| Ok(wait_for_running_programs()?)) {
                tracing::warn!(%error, "frames may get lost in the delay line");
            }
            self.frames.retire_line();
        }
    }

    /// Why the delay line has ended, if it did so by itself.
    pub(super) fn line_failure(&self) -> Option<&str> {
        self.frames.line_failure()
    }

    /// Whether every rule's deadline has passed.
    pub fn has_ended(&self) -> bool {
        let now = boot_now();
        self.rules.iter().all(|rule| rule.phase(now) == Phase::Ended)
    }

    /// Why the target must not stay one, if something has moved in that is never one. Looks at a part
    /// of it, now and then; cheap.
    pub fn intruder(&mut self) -> Option<ProtectedReason> {
        self.patrol.look(&self.root, &self.target.cgroup)
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

    /// What was counted, rule by rule; `is_last` where nothing more is to come.
    pub(super) fn ledger(&self, is_last: bool) -> Result<Vec<FaultReport>, ArmError> {
        let now = boot_now();
        let patience = if is_last { 0 } else { nanoseconds(unmatched::PATIENCE) };
        let mut reports: Vec<FaultReport> = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let counts = Counts::from(self.counts(rule)?);
            let ends = rule.ends();
            let in_force = unmatched::in_force(rule.starts(), ends, rule.counted_since, now);
            let is_over = in_force > 0 && now >= ends;
            let is_unmatched =
                counts.matched == 0 && (is_over || in_force > 0 && in_force >= patience);
            let before = || {
                let hits = |report: &FaultReport| report.counts.injected > 0;
                let before = self.rules.iter().zip(&reports).filter(|(_, report)| hits(report));
                before
                    .map(|(before, _)| &before.planned)
                    .find(|before| unmatched::is_behind(&rule.planned, before))
            };
            let unmatched = is_unmatched.then(|| {
                let about = self.about(rule);
                unmatched::reasons(&rule.planned, before().map(|before| &before.fault), about)
            });
            reports.push(FaultReport {
                fault: rule.sentence.to_string(),
                index: rule.planned.index,
                hooks: rule.planned.hooks.clone(),
                calls: rule.planned.calls.iter().map(ToString::to_string).collect(),
                seed: rule.planned.seed,
                phase: rule.phase(now),
                began: rule.began,
                ends,
                slot: rule.slot,
                notes: rule.planned.notes.clone(),
                unmatched,
                counts,
            });
        }
        Ok(reports)
    }

    /// What may be why nothing has matched a rule.
    fn about(&self, rule: &ArmedRule) -> About<'_> {
        let Target { cgroup, kind, .. } = &self.target;
        About {
            nat: self.translations.of(rule.slot),
            is_empty: *kind != TargetKind::Child
                && cgroup.processes().is_ok_and(|processes| processes.is_empty()),
            may_have_been_moved: matches!(kind, TargetKind::Pid(_) | TargetKind::Cgroup),
        }
    }

    /// Injections since the last call, as far as the ring kept them.
    pub(super) fn drain(&mut self) -> Result<Drained, ArmError> {
        self.drain_by(Sample::lost)
    }

    /// The same after [`Armed::suspend`], when nothing more is to come.
    pub(super) fn drain_at_last(&mut self) -> Result<Drained, ArmError> {
        self.drain_by(Sample::lost_at_last)
    }

    fn drain_by(&mut self, lost: fn(&mut Sample, u64) -> u64) -> Result<Drained, ArmError> {
        let mut acts = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let counts = Counts::from(self.counts(rule)?);
            acts.push((rule.slot, counts.injected + counts.shadowed));
        }
        let mut drained = Drained { records: Vec::new(), lost: 0 };
        let mut records = self.text.drain_records();
        if let Some(instance) = &mut self.instance {
            records.extend(instance.maps.drain_records());
        }
        if let Some(shared) = &self.shared {
            records.extend(shared.drain(&mut self.drained));
        }
        for record in records {
            self.samples.entry(record.slot).or_default().drained();
            // A record of a rule that has just been replaced is nobody's.
            if let Some(rule) = self.rules.iter().find(|rule| rule.slot == record.slot) {
                drained.records.push((rule.sentence.clone(), record));
            }
        }
        for (slot, acts) in acts {
            drained.lost += lost(self.samples.entry(slot).or_default(), acts);
        }
        Ok(drained)
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many file descriptors a target takes at most whose frames pass few interfaces. A test of the
/// agent counts them.
fn descriptors_for(plan: &Plan) -> u64 {
    /// Its cgroup, its supervisors.
    const TARGET: u64 = 8;
    /// A program and its links.
    const HOOK: u64 = 4;
    /// The maps of an object, and its type information.
    const OBJECT: u64 = 32;
    /// A device, its programs and their links, its maps.
    const LINE: u64 = 16;
    let hooks = plan.hooks();
    let functions = attachments(&plan.calls()).len() as u64;
    let line = if plan.line().or(plan.answer_line()).is_some() { LINE } else { 0 };
    let frames = if hooks.iter().any(|hook| hook.is_of_interfaces()) { OBJECT } else { 0 };
    // A tracer has the maps, too.
    let traced = if functions > 0 { OBJECT + functions } else { 0 };
    TARGET + HOOK * hooks.len() as u64 + frames + line + traced
}

/// The id of the set that supervisors read.
const SHARED_SET: u32 = 1;

/// Whether programs at interfaces decide a rule.
fn is_on_frames(rule: &PlannedRule) -> bool {
    rule.hooks.iter().any(|hook| hook.is_of_interfaces())
}

/// Whether programs at cgroups and functions of the kernel do.
fn is_in_text(rule: &PlannedRule) -> bool {
    !is_on_frames(rule) && !is_by_seccomp(rule)
}

/// Whether supervisors do.
fn is_by_seccomp(rule: &PlannedRule) -> bool {
    rule.is_by_seccomp()
}

/// Compiles those of the rules that are `wanted`, which are given back, with these slots.
fn compile_part(
    rules: &[ArmedRule],
    set: u32,
    wanted: impl Fn(&PlannedRule) -> bool,
    slot: impl Fn(&ArmedRule) -> Option<u32>,
) -> (CompiledSet, Vec<PlannedRule>) {
    let part = || rules.iter().filter(|rule| wanted(&rule.planned));
    let planned: Vec<PlannedRule> = part().map(|rule| rule.planned.clone()).collect();
    // A slot beyond all counts nothing.
    let slots: Vec<u32> = part().map(|rule| slot(rule).unwrap_or(u32::MAX)).collect();
    let starts: Vec<u64> = part().map(|rule| rule.began).collect();
    (compile(&planned, &slots, set, &starts), planned)
}

/// When a rule begins to act whose fault's clock began at this moment (boot clock, ns).
fn starts(rule: &PlannedRule, began: u64) -> u64 {
    began.saturating_add(nanoseconds(rule.fault.after.unwrap_or_default()))
}

/// When it has acted for the last time.
pub(super) fn ends(rule: &PlannedRule, began: u64) -> u64 {
    starts(rule, began).saturating_add(nanoseconds(rule.duration))
}

impl ArmedRule {
    /// Takes in where its path leads, for programs in the kernel; whether that is news.
    fn lead(&mut self, sights: &Sights) -> bool {
        let path = self.planned.fault.under.as_ref().filter(|_| !self.planned.is_by_seccomp());
        // Where nobody has looked, what was found before holds.
        let sight = path.and_then(|path| sights.get(path)).filter(|sight| sight.seen).cloned();
        sight.is_some_and(|sight| self.planned.lead(&sight.leads_to))
    }

    fn starts(&self) -> u64 {
        starts(&self.planned, self.began)
    }

    fn ends(&self) -> u64 {
        ends(&self.planned, self.began)
    }

    fn phase(&self, now: u64) -> Phase {
        if now >= self.ends() {
            Phase::Ended
        } else if now < self.starts() {
            Phase::Waiting
        } else {
            Phase::Active
        }
    }
}
