//! Puts the rules of a text in force: among the texts of its target, at interfaces, and with supervisors.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::AsFd,
    time::Duration,
};

use chaos_plan::{Plan, PlannedRule, attachments};

use super::{
    ArmError, Armed, OfAll,
    rule::{ArmedRule, compile_part, is_in_text},
};
use crate::{
    arm::{
        frames::{Place, Wanted},
        open_files::{OpenFile, OpenFiles},
        symlinks::{Eyes, Sights, Symlinks},
        turn::Turn,
    },
    cgroup::TargetKind,
    kernel::{Wants, wait_for_running_programs},
    seccomp::{SupervisorRules, Under},
};

/// What has been put in force of a plan.
#[derive(Default)]
pub(super) struct Switched {
    /// What was needed at interfaces before, which may be nothing.
    frames: Option<Option<Wanted>>,
    text: bool,
}

/// How long the files are looked at that a target has open when it is armed, before the rest has to wait.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// The id of the set that supervisors read.
const SHARED_SET: u32 = 1;

impl Armed {
    /// Attaches what the rules need, and has the programs and the supervisors judge by them.
    pub(super) fn put_in_force(
        &mut self,
        plan: &Plan,
        rules: &[ArmedRule],
        turn: Turn,
        switched: &mut Switched,
    ) -> Result<(), ArmError> {
        // A newcomer that finds no room disturbs nobody.
        let in_text = rules.iter().filter(|rule| is_in_text(&rule.planned)).count();
        self.text.admit(u32::try_from(in_text).unwrap_or(u32::MAX))?;
        // First, as a process that is killed gives up its newest files first, and the kernel waits
        // for a grace period (10 ms) for each link to an interface (`tcx_link_release`): what a
        // cgroup's links do must not outlast those.
        self.attach_to_interfaces(plan, turn, switched)?;
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

    /// Attaches what the rules need to the interfaces of the target.
    fn attach_to_interfaces(
        &mut self,
        plan: &Plan,
        turn: Turn,
        switched: &mut Switched,
    ) -> Result<(), ArmError> {
        let wanted = Wanted::of(plan);
        let frames = match &self.frames {
            Some(frames) => frames,
            None if wanted.hooks.is_empty() => return Ok(()),
            None => {
                let OfAll { programs, frames, .. } = &self.of_all;
                let joined = frames.join(&self.target, programs)?;
                // Others may have lost frames under the slots before.
                self.text.all_slots().for_each(|slot| joined.forget_lost(slot));
                self.frames.insert(joined)
            }
        };
        let place = Place { target: &self.target, root: &self.root, owner: &self.owner };
        let (before, attached) = frames.attach(wanted, place, turn);
        switched.frames = Some(before);
        attached
    }

    /// As far as programs decide them.
    pub(super) fn put_text_in_force(&mut self, rules: &[ArmedRule]) -> Result<(), ArmError> {
        let part = rules.iter().map(|rule| &rule.planned).filter(|planned| is_in_text(planned));
        let part = Plan { rules: part.cloned().collect(), ..Plan::default() };
        let cgroup = &self.target.cgroup;
        let path = cgroup.path().display().to_string();
        let hooks = part.hooks().into_iter().filter(|hook| !hook.is_of_interfaces()).collect();
        let functions = attachments(&part.calls());
        let wants =
            Wants { cgroup: cgroup.as_fd(), path: &path, hooks: &hooks, functions: &functions };
        let slots: BTreeMap<u32, u32> =
            rules.iter().filter_map(|rule| Some((rule.slot, self.text.slot(rule.slot)?))).collect();
        let count = u32::try_from(part.rules.len()).unwrap_or(u32::MAX);
        if count == 0 && !self.rules.iter().any(|rule| is_in_text(&rule.planned)) {
            return Ok(());
        }
        // Fails before anything is changed if not every process can be listed.
        let is_by_path = part.rules.iter().any(|rule| rule.fault.under.is_some());
        let open_files = is_by_path.then(|| OpenFiles::of(cgroup)).transpose()?;
        let replaced = self.text.replace(count, &wants, |set| {
            compile_part(rules, set, is_in_text, |rule| slots.get(&rule.slot).copied()).0
        });
        if replaced.is_err() && !cgroup.is_alive() {
            return Err(ArmError::TargetGone { path });
        }
        replaced?;
        // From here on programs remember what is opened. What was opened until now by processes that are new is
        // found, too, unless they cannot be seen.
        let open_files = open_files.map(|before| OpenFiles::of(cgroup).unwrap_or(before));
        self.open_files = open_files.map(|files| (files, paths_of(&part.rules)));
        self.look_at_open_files(Turn::of(FIRST_LOOK));
        Ok(())
    }

    /// Goes on with telling the programs which rules the files meet that the target had open when its rules were put
    /// in force; whether there is more to look at.
    pub(super) fn look_at_open_files(&mut self, turn: Turn) -> bool {
        let Self { open_files, text, .. } = self;
        let Some((files, paths)) = open_files else { return false };
        let looked = files.go_on(turn, |OpenFile { id, path }| {
            let met = paths.iter().filter(|(_, under)| under.covers(&path));
            match met.fold(0, |met, (bit, _)| met | 1 << bit) {
                0 => Ok(()),
                met => text.remember_file(id, met),
            }
        });
        let is_left = looked.unwrap_or_else(|error| {
            let target = &self.target.name;
            tracing::warn!(%target, %error, "files that are open already are left alone");
            false
        });
        if !is_left {
            self.open_files = None;
        }
        is_left
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
        if switched.text
            && let Err(error) = self.put_text_in_force(&rules)
        {
            let target = &self.target.name;
            tracing::warn!(%target, %error, "the faults before do not go on");
        }
        // The links in the paths of others were looked for meanwhile.
        drop(self.look_for_paths(&rules, Duration::ZERO));
        self.rules = rules;
        // Looks attach again what has been taken off meanwhile.
        match (switched.frames, &self.frames) {
            (Some(Some(before)), Some(frames)) => frames.want_again(before),
            // It was there for this plan only.
            (Some(None), Some(frames)) => {
                drop(frames.leave(wait_for_programs));
                self.frames = None;
            }
            (None, _) | (_, None) => {}
        }
    }

    /// Gives back the slots of rules that are not in force.
    pub(super) fn keep_slots(&mut self) {
        let in_text = self.rules.iter().filter(|rule| is_in_text(&rule.planned));
        self.text.keep_slots(&in_text.map(|rule| rule.slot).collect());
    }

    /// Takes off what the rules in force do not need.
    pub(super) fn take_off_unneeded(&mut self) {
        if let Some(frames) = &self.frames {
            frames.settle(wait_for_programs);
        }
        self.keep_slots();
    }
}

/// The paths of rules, and what they lead to, with the bits of the rules.
fn paths_of(rules: &[PlannedRule]) -> Vec<(usize, Under)> {
    let of_rule = |(bit, rule): (usize, &PlannedRule)| {
        let written = rule.fault.under.as_deref().map(Under::new);
        let leads = rule.leads_to.iter().map(|real| Under::behind(real, ""));
        written.into_iter().chain(leads).map(move |under| (bit, under)).collect::<Vec<_>>()
    };
    rules.iter().enumerate().flat_map(of_rule).collect()
}

/// Waits until no program is at rules any more that have just been replaced.
fn wait_for_programs() {
    if let Err(error) = wait_for_running_programs() {
        tracing::warn!(%error, "frames may get lost in the delay line");
    }
}
