//! Puts the rules of a target in force: in the object of its frames, among the texts of its cgroup, with its supervisors.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd,
    time::Duration,
};

use chaos_plan::{Plan, PlannedRule, Position, attachments};

use super::{
    ArmError, Armed,
    rule::{ArmedRule, compile_part, is_in_text, is_on_frames},
};
use crate::{
    arm::{
        frames::Place,
        lease::InForce,
        open_files::{OpenFile, open_files},
        symlinks::{Eyes, Sights, Symlinks},
        turn::Turn,
    },
    cgroup::TargetKind,
    kernel::{Instance, Wants},
    seccomp::{SupervisorRules, Under},
};

/// What has been put in force of a plan.
#[derive(Default)]
pub(super) struct Switched {
    pub frames: bool,
    pub text: bool,
}

/// The id of the set that supervisors read.
const SHARED_SET: u32 = 1;

impl Armed {
    /// The object for the frames of the target.
    pub(super) fn instance(&mut self) -> Result<&mut Instance, ArmError> {
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
    pub(super) fn put_in_force(
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
            let by_seccomp = PlannedRule::is_by_seccomp;
            let (compiled, planned) = compile_part(rules, SHARED_SET, by_seccomp, own);
            shared.publish(&SupervisorRules::new(&compiled, &planned))?;
        }
        Ok(())
    }

    /// As far as they are on frames.
    pub(super) fn put_frames_in_force(
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
        judge_frames_by(rules, instance)
    }

    /// As far as programs at cgroups and functions of the kernel decide them.
    pub(super) fn put_text_in_force(&mut self, rules: &[ArmedRule]) -> Result<(), ArmError> {
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
    pub(super) fn look_for_paths(&mut self, rules: &[ArmedRule], patience: Duration) -> Sights {
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

    /// Looks for links in the paths of rules that have appeared or changed, and tells the programs
    /// in the kernel. Supervisors see for themselves.
    pub(in crate::arm) fn follow_links(&mut self) -> Result<(), ArmError> {
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
        let followed = if is_news { self.put_text_in_force(&rules) } else { Ok(()) };
        self.rules = rules;
        if followed.is_err() {
            // It is news at the next look, too.
            for (rule, before) in self.rules.iter_mut().zip(before) {
                rule.planned = before;
            }
        }
        followed
    }

    /// Puts the rules in force again that were so before others, as far as those were.
    pub(super) fn go_back(&mut self, switched: Switched) {
        let rules = std::mem::take(&mut self.rules);
        let told = |target: &str, error: &ArmError| {
            tracing::warn!(%target, %error, "the faults before do not go on");
        };
        if switched.frames
            && let Some(instance) = &mut self.instance
            && let Err(error) = judge_frames_by(&rules, instance)
        {
            told(&self.target.name, &error);
        }
        if switched.text
            && let Err(error) = self.put_text_in_force(&rules)
        {
            told(&self.target.name, &error);
        }
        self.rules = rules;
    }

    /// Gives back the slots of rules that are not in force.
    pub(super) fn keep_slots(&mut self) {
        let in_text = self.rules.iter().filter(|rule| is_in_text(&rule.planned));
        self.text.keep_slots(&in_text.map(|rule| rule.slot).collect());
    }

    /// Takes off what the rules in force do not need.
    pub(super) fn take_off_unneeded(&mut self) {
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
    pub(super) fn remember_open_files(&mut self, rules: &[PlannedRule]) -> Result<(), ArmError> {
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
}

/// Has the programs at interfaces judge by those of the rules that are theirs.
fn judge_frames_by(rules: &[ArmedRule], instance: &mut Instance) -> Result<(), ArmError> {
    let own = |rule: &ArmedRule| Some(rule.slot);
    let (compiled, _) = compile_part(rules, instance.maps.next_set(), is_on_frames, own);
    Ok(instance.maps.replace(&compiled)?)
}
