//! One target with its rules in the kernel. Dropping it disarms.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use chaos_ebpf_common::{
    SETS, SLOTS, hold::Hold, latencies::MAX_TABLES, ledger::Count, record::Record,
};
use thiserror::Error;

use super::{
    filters::with_naming,
    interfaces::{Interface, ethernet_interfaces},
    line::DelayLine,
    open_files::{OpenFile, open_files},
    report::{Counts, FaultReport, Phase},
    sample::Sample,
};
use crate::{
    fault::Fault,
    kernel::{Instance, KernelError, Link, Naming, SlotCounts, boot_now},
    plan::{
        CompiledSet, Hook, OutOfSlots, Plan, PlannedRule, Slot, assign, attachments, compile,
        latency_table,
    },
    seccomp::{Board, BoardError, HireError, Under, WardenRules},
    target::{CgroupRoot, NetNs, Owner, Target, TargetError, TargetKind},
};

/// Why a plan could not be put into the kernel. Nothing of it is in force then.
#[derive(Debug, Error)]
pub enum ArmError {
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Slots(#[from] OutOfSlots),
    #[error(transparent)]
    Board(#[from] BoardError),
    #[error(transparent)]
    Warden(#[from] HireError),
    #[error("more faults with several latencies than a target takes")]
    OutOfTables,
    #[error("cgroup {path} is gone")]
    TargetGone { path: String },
}

/// A target whose rules are in the kernel, acting as long as the lease is renewed.
pub struct Armed {
    // Links before the instance: fields are dropped in order, so packets meet no program whose
    // maps are on their way out.
    links: BTreeMap<Hook, Link>,
    /// By hook, inode of the network namespace and index of the interface.
    interface_links: BTreeMap<(Hook, u64, u32), Link>,
    /// By function of the kernel.
    call_links: BTreeMap<String, Link>,
    /// By inode of the network namespace: what sends frames on that come out of the delay line.
    line_links: BTreeMap<u64, Link>,
    frame_hooks: Vec<Hook>,
    /// Where a rule holds frames.
    line: Option<DelayLine>,
    instance: Instance,
    /// What the wardens of the target judge by, where it has some and a rule that needs them.
    board: Option<Arc<Board>>,
    /// Up to where the board's ring was read.
    drained: u64,
    rules: Vec<ArmedRule>,
    samples: BTreeMap<u32, Sample>,
    target: Target,
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

/// A rule in force, and where it counts.
struct ArmedRule {
    planned: PlannedRule,
    slot: u32,
    /// Where its latencies are, if it has several.
    table: Option<u32>,
    sentence: Arc<str>,
    /// Boot-clock moment at which the fault's own clock began.
    began: u64,
}

impl Armed {
    /// Loads an instance for the target and attaches what the plan needs. No rule acts before
    /// the first [`Armed::renew`]. `began` tells when a fault began that was armed before (by an
    /// agent that has been restarted); others begin now. `board` is for a plan with rules that
    /// wardens decide.
    pub fn arm(
        root: &CgroupRoot,
        target: Target,
        plan: &Plan,
        board: Option<Arc<Board>>,
        began: &dyn Fn(&Fault) -> Option<u64>,
    ) -> Result<Self, ArmError> {
        let instance = Instance::load(target.cgroup.id(), target.cgroup.level())?;
        let mut armed = Self {
            links: BTreeMap::new(),
            interface_links: BTreeMap::new(),
            call_links: BTreeMap::new(),
            line_links: BTreeMap::new(),
            frame_hooks: Vec::new(),
            line: None,
            instance,
            board,
            drained: 0,
            rules: Vec::new(),
            samples: BTreeMap::new(),
            target,
            root: root.clone(),
            owner: Owner::current(root)?,
        };
        armed.replace(plan, began)?;
        Ok(armed)
    }

    /// Puts another plan in force, whole. Faults that stay keep their clock and their counts.
    pub fn replace(
        &mut self,
        plan: &Plan,
        began: &dyn Fn(&Fault) -> Option<u64>,
    ) -> Result<(), ArmError> {
        let previous: Vec<(Fault, u32)> =
            self.rules.iter().map(|rule| (rule.planned.fault.clone(), rule.slot)).collect();
        let faults = plan.rules.iter().map(|rule| &rule.fault);
        let slots = assign(&previous, faults, SLOTS as u32)?;
        // The rules in force use theirs until they are replaced.
        let in_use: BTreeSet<u32> = self.rules.iter().filter_map(|rule| rule.table).collect();
        let mut tables = (0..(SETS * MAX_TABLES) as u32).filter(|table| !in_use.contains(table));
        let now = boot_now();
        let mut rules = Vec::with_capacity(slots.len());
        for (planned, Slot { number: slot, fresh }) in plan.rules.iter().zip(slots) {
            let kept = self.rules.iter().find(|rule| !fresh && rule.slot == slot);
            let mut table = kept.and_then(|rule| rule.table);
            if fresh {
                self.instance.maps.reset_slot(slot)?;
                if let Some(line) = &self.line {
                    line.lost().reset(slot);
                }
                if let Some(board) = &self.board {
                    board.reset_slot(slot);
                }
                self.samples.remove(&slot);
                if let Some(hold) = planned.hold() {
                    if let Some(latencies) = planned.latencies() {
                        let free = tables.next().ok_or(ArmError::OutOfTables)?;
                        self.instance.maps.set_table(free, &latency_table(latencies))?;
                        table = Some(free);
                    }
                    let number = table.map_or(0, |table| table + 1);
                    self.instance.maps.set_hold(slot, &Hold { table: number, ..hold })?;
                }
            }
            let began = kept.map(|rule| rule.began).or_else(|| began(&planned.fault));
            rules.push(ArmedRule {
                planned: planned.clone(),
                slot,
                table,
                sentence: planned.fault.to_string().into(),
                began: began.unwrap_or(now),
            });
        }
        let set = self.instance.maps.next_set();
        let (compiled, in_kernel) = compile_part(&rules, set, |rule| !rule.is_by_seccomp());
        let hooks = plan.hooks();
        let attachments = attachments(&plan.calls());
        if plan.needs_line() {
            self.start_line()?;
        }
        self.attach(&hooks)?;
        for (function, attachment) in &attachments {
            if let Entry::Vacant(vacant) = self.call_links.entry(function.clone()) {
                vacant.insert(self.instance.attach_function(function, attachment)?);
            }
        }
        self.instance.maps.replace(&compiled)?;
        // From here on programs remember what is opened.
        if compiled.set.by_path != 0 {
            self.remember_open_files(&in_kernel)?;
        }
        if let Some(board) = &self.board {
            let (compiled, planned) = compile_part(&rules, set, PlannedRule::is_by_seccomp);
            board.publish(&WardenRules::new(&compiled, &planned))?;
        }
        if !plan.needs_line() {
            self.stop_line();
        }
        self.links.retain(|hook, _| hooks.contains(hook));
        self.interface_links.retain(|(hook, ..), _| hooks.contains(hook));
        self.call_links.retain(|function, _| attachments.contains_key(function));
        self.rules = rules;
        Ok(())
    }

    fn start_line(&mut self) -> Result<(), ArmError> {
        if self.line.is_none()
            && let Some(maps) = self.instance.line_maps.take()
        {
            self.line = Some(DelayLine::start(maps)?);
        }
        Ok(())
    }

    /// Call it when no program holds frames any more.
    fn stop_line(&mut self) {
        if let Some(line) = self.line.take() {
            self.instance.line_maps = line.stop();
            self.line_links.clear();
        }
    }

    /// Tells the programs which rules the files meet that the target has open.
    fn remember_open_files(&mut self, rules: &[PlannedRule]) -> Result<(), ArmError> {
        let paths: Vec<(usize, Under)> = rules
            .iter()
            .enumerate()
            .filter_map(|(bit, rule)| Some((bit, Under::new(rule.fault.under.as_deref()?))))
            .collect();
        for OpenFile { id, path } in open_files(&self.target.cgroup)? {
            let met = paths.iter().filter(|(_, under)| under.covers(&path));
            let met = met.fold(0, |met, (bit, _)| met | 1 << bit);
            if met != 0 {
                self.instance.maps.remember_file(id, met)?;
            }
        }
        Ok(())
    }

    fn attach(&mut self, hooks: &BTreeSet<Hook>) -> Result<(), ArmError> {
        // First, as a process that is killed gives up its newest files first, and the kernel waits
        // for a grace period (10 ms) for each link to an interface (`tcx_link_release`): what a
        // cgroup's links do must not outlast those.
        self.frame_hooks = hooks.iter().copied().filter(|hook| hook.is_of_interfaces()).collect();
        self.attach_interfaces()?;
        for hook in hooks.iter().copied().filter(|hook| !hook.is_of_interfaces()) {
            if self.links.contains_key(&hook) {
                continue;
            }
            let cgroup = &self.target.cgroup;
            let path = cgroup.path().display().to_string();
            let link = self.instance.attach_cgroup(hook, cgroup.as_fd(), &path);
            if link.is_err() && !cgroup.is_alive() {
                return Err(ArmError::TargetGone { path });
            }
            self.links.insert(hook, link?);
        }
        Ok(())
    }

    /// Attaches to every interface of every network namespace of the target that is not served
    /// yet.
    fn attach_interfaces(&mut self) -> Result<(), ArmError> {
        if self.frame_hooks.is_empty() {
            return Ok(());
        }
        let mut namespaces = self.target.network_namespaces(&self.root)?;
        if self.target.kind == TargetKind::Child
            && let own = NetNs::own()?
            && namespaces.iter().all(|namespace| namespace.inode() != own.inode())
        {
            // The child does not run yet; it will inherit our namespace.
            namespaces.push(own);
        }
        for namespace in namespaces {
            let Self { instance, interface_links, line_links, line, frame_hooks, owner, .. } =
                &mut *self;
            let by_filter = frame_hooks.iter().any(|hook| hook.is_filter());
            let attach = |naming: &Naming<'_>| -> Result<(), ArmError> {
                if let Some(line) = line
                    && line.serve(namespace.inode(), owner)?
                {
                    let link = instance.attach_line(line.device(), by_filter.then_some(naming))?;
                    line_links.insert(namespace.inode(), link);
                }
                for Interface { index, name } in ethernet_interfaces()? {
                    for hook in frame_hooks.iter().copied() {
                        let place = (hook, namespace.inode(), index);
                        if let Entry::Vacant(vacant) = interface_links.entry(place) {
                            vacant.insert(instance.attach_interface(hook, index, &name, naming)?);
                        }
                    }
                }
                Ok(())
            };
            namespace.enter_in_thread(|| with_naming(owner, attach))??;
        }
        Ok(())
    }

    /// Lets the rules act for another `lease` from now on, after looking for network namespaces
    /// and interfaces that the target has got since.
    pub fn renew(&mut self, lease: Duration) -> Result<(), ArmError> {
        if let Err(error) = self.attach_interfaces() {
            // Interfaces come and go while we look; what is attached already goes on.
            tracing::warn!(target = %self.target.name, %error, "new interfaces were not served");
        }
        self.instance.flush_log();
        let until = boot_now().saturating_add(lease.as_nanos().try_into().unwrap_or(u64::MAX));
        self.lease_until(until)
    }

    /// Stops every rule at once; a later [`Armed::renew`] goes on.
    pub fn suspend(&mut self) -> Result<(), ArmError> {
        self.lease_until(0)
    }

    fn lease_until(&mut self, until: u64) -> Result<(), ArmError> {
        if let Some(board) = &self.board {
            board.lease_until(until);
        }
        Ok(self.instance.maps.lease_until(until)?)
    }

    /// What the wardens of the target judge by, where a rule needs them.
    pub fn board(&self) -> Option<&Arc<Board>> {
        self.board.as_ref()
    }

    /// What was counted for a rule, wherever it is decided.
    fn counts(&self, rule: &ArmedRule) -> Result<SlotCounts, ArmError> {
        match &self.board {
            Some(board) if rule.planned.is_by_seccomp() => Ok(board.counts(rule.slot)),
            _ => {
                let mut counts = self.instance.maps.counts(rule.slot)?;
                let lost = self.line.as_ref().map_or(0, |line| line.lost().of(rule.slot));
                *counts.entry(Count::Injected).or_default() -= lost;
                *counts.entry(Count::Overflow).or_default() += lost;
                Ok(counts)
            }
        }
    }

    /// Whether every rule's deadline has passed.
    pub fn has_ended(&self) -> bool {
        let now = boot_now();
        self.rules.iter().all(|rule| rule.phase(now) == Phase::Ended)
    }

    pub fn target(&self) -> &Target {
        &self.target
    }

    /// What was counted, rule by rule.
    pub fn ledger(&self) -> Result<Vec<FaultReport>, ArmError> {
        let now = boot_now();
        let mut reports = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            let counts = self.counts(rule)?;
            let ends = rule.ends();
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
                counts: counts.into(),
            });
        }
        Ok(reports)
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
        let mut records = self.instance.maps.drain_records();
        if let Some(board) = &self.board {
            records.extend(board.drain(&mut self.drained));
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
        if let Some(board) = &self.board {
            board.close();
        }
        if self.line.is_some() {
            // So that nothing comes after what is sent on now.
            if let Err(error) =
                self.suspend().and_then(|()| Ok(self.instance.maps.wait_for_programs()?))
            {
                tracing::warn!(%error, "frames may get lost in the delay line");
            }
            self.stop_line();
        }
    }
}

/// Compiles those of the rules that are `wanted`, which are given back.
fn compile_part(
    rules: &[ArmedRule],
    set: u32,
    wanted: impl Fn(&PlannedRule) -> bool,
) -> (CompiledSet, Vec<PlannedRule>) {
    let part = || rules.iter().filter(|rule| wanted(&rule.planned));
    let planned: Vec<PlannedRule> = part().map(|rule| rule.planned.clone()).collect();
    let slots: Vec<u32> = part().map(|rule| rule.slot).collect();
    let starts: Vec<u64> = part().map(|rule| rule.began).collect();
    (compile(&planned, &slots, set, &starts), planned)
}

impl ArmedRule {
    fn starts(&self) -> u64 {
        self.began.saturating_add(nanoseconds(self.planned.fault.after.unwrap_or_default()))
    }

    fn ends(&self) -> u64 {
        self.starts().saturating_add(nanoseconds(self.planned.duration))
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

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}
