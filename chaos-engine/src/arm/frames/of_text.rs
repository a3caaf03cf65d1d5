//! What one text has at the interfaces of its target, which it shares with the other texts there.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use chaos_plan::{DelayLine, Hook, Plan, Position};

use super::{
    Frames, Place,
    groups::{Groups, SharedLink},
};
use crate::{
    arm::{
        ArmError,
        line::{Leaving, RunningLine, SharedLines},
        news::News,
        turn::Turn,
    },
    cgroup::Target,
    kernel::Programs,
};

/// What the targets of a process have at interfaces.
#[derive(Clone)]
pub(in crate::arm) struct SharedFrames {
    /// By the ids of their cgroups.
    of_targets: Arc<Mutex<BTreeMap<u64, Weak<Mutex<Frames>>>>>,
    groups: Groups,
    lines: SharedLines,
    news: News,
}

/// What a text needs at interfaces.
#[derive(Clone)]
pub(in crate::arm) struct Wanted {
    pub hooks: BTreeSet<Hook>,
    pub position: Position,
    /// Where a rule holds frames.
    pub line: Option<DelayLine>,
    /// To start where Docker's name server is.
    pub answer_line: Option<DelayLine>,
}

impl Wanted {
    /// What the rules of a plan need, which may be nothing.
    pub(in crate::arm) fn of(plan: &Plan) -> Self {
        let hooks = plan.hooks().into_iter().filter(|hook| hook.is_of_interfaces()).collect();
        let position = Position::of(plan.rules.iter().map(|rule| &rule.fault));
        Self { hooks, position, line: plan.line(), answer_line: plan.answer_line() }
    }
}

/// The part of one text.
pub(in crate::arm) struct TextFrames {
    frames: Arc<Mutex<Frames>>,
    /// Tells the texts of a target apart.
    text: u64,
}

impl SharedFrames {
    /// None yet, with so many bytes for the frames that all targets hold.
    pub(in crate::arm) fn new(held_memory: u64) -> Self {
        let (of_targets, groups) = (Arc::default(), Groups::default());
        Self { of_targets, groups, lines: SharedLines::new(held_memory), news: News::new() }
    }

    /// What is heard of interfaces that come.
    pub(in crate::arm) fn news(&self) -> &News {
        &self.news
    }

    /// Joins those of the target, or makes some.
    pub(in crate::arm) fn join(
        &self,
        target: &Target,
        programs: &Programs,
    ) -> Result<TextFrames, ArmError> {
        let (cgroup, level) = (target.cgroup.id(), target.cgroup.level());
        // Whoever panicked has left the list whole.
        let mut all = self.of_targets.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, frames| frames.strong_count() > 0);
        let known = all.get(&cgroup).and_then(Weak::upgrade).map(|frames| (next(&frames), frames));
        if let Some((Some(text), frames)) = known {
            return Ok(TextFrames { frames, text });
        }
        self.news.hear(programs);
        let programs = programs.frames(cgroup, level)?;
        let (groups, lines, news) = (self.groups.clone(), self.lines.clone(), self.news.clone());
        let mut frames = Frames::new(programs, groups, lines, news);
        frames.hear_of_namespaces(target);
        let frames = Arc::new(Mutex::new(frames));
        all.insert(cgroup, Arc::downgrade(&frames));
        Ok(TextFrames { frames, text: 0 })
    }
}

/// A number for one more text, which no other has had; `None` where the last one has left.
fn next(frames: &Mutex<Frames>) -> Option<u64> {
    let mut frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
    if frames.wanted.is_empty() {
        return None;
    }
    frames.joined += 1;
    Some(frames.joined - 1)
}

impl TextFrames {
    fn frames(&self) -> MutexGuard<'_, Frames> {
        // Whoever panicked has ended the keeper, and with it all targets.
        self.frames.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the delay line, if one is needed, and attaches what is, to the interfaces that there are, as far as a turn
    /// goes; [`TextFrames::look`] goes on with the others. What was needed before is given back, and stays attached
    /// until [`TextFrames::settle`].
    pub(in crate::arm) fn attach(
        &self,
        wanted: Wanted,
        place: Place<'_>,
        turn: Turn,
    ) -> (Option<Wanted>, Result<(), ArmError>) {
        let mut frames = self.frames();
        let line = wanted.line;
        let before = frames.want(self.text, Some(wanted));
        let started = line.map_or(Ok(()), |line| frames.start_line(line));
        (before, started.and_then(|()| frames.look(place, turn).map(drop)))
    }

    /// Goes back to what was needed before.
    pub(in crate::arm) fn want_again(&self, before: Wanted) {
        self.frames().want(self.text, Some(before));
    }

    /// Something was heard of the target: the next look does not rest.
    pub(in crate::arm) fn wake(&self) {
        self.frames().wake();
    }

    /// Takes off what no text needs any more. `stop` makes sure that no program holds frames for such a one.
    pub(in crate::arm) fn settle(&self, stop: impl FnOnce()) {
        self.frames().settle(stop);
    }

    /// Leaves the others alone with it: what was attached for this text only is given back, to be detached, as is what
    /// may still send on frames. `stop` makes sure that no program holds frames for the text any more.
    pub(in crate::arm) fn leave(&self, stop: impl FnOnce()) -> (Vec<SharedLink>, Leaving) {
        let mut frames = self.frames();
        frames.want(self.text, None);
        if !frames.wanted.is_empty() {
            frames.settle(stop);
            return (Vec::new(), Leaving::default());
        }
        if frames.line.is_some() {
            stop();
            frames.stop_line();
        }
        if let Err(error) = frames.programs.close() {
            tracing::warn!(%error, "programs at interfaces were not led past their faults");
        }
        (frames.take_links(), std::mem::take(&mut frames.leaving))
    }

    /// Why the delay line has ended, if it did so by itself and the text needs it.
    pub(in crate::arm) fn line_failure(&self) -> Option<String> {
        let frames = self.frames();
        frames
            .wanted
            .get(&self.text)
            .filter(|wanted| wanted.line.or(wanted.answer_line).is_some())?;
        frames.line.as_ref().and_then(RunningLine::failure).map(str::to_owned)
    }

    /// Frames that were taken to be held by the rule of a ledger slot, and then could not be sent on.
    pub(in crate::arm) fn lost(&self, slot: u32) -> u64 {
        let frames = self.frames();
        let lost = frames.line.as_ref().and_then(RunningLine::lost);
        lost.map_or(0, |lost| lost.of(slot))
    }

    /// Forgets them, for a new rule.
    pub(in crate::arm) fn forget_lost(&self, slot: u32) {
        if let Some(lost) = self.frames().line.as_ref().and_then(RunningLine::lost) {
            lost.reset(slot);
        }
    }

    /// What people should know: where the target is not served.
    pub(in crate::arm) fn notes(&self) -> Vec<String> {
        self.frames().notes()
    }

    /// Goes on for a turn with a look at what the target has got and lost since the last look: attaches to each interface
    /// that is not served yet, and forgets what is gone. Whether something is left to be done; if not, the next call
    /// begins another look. Any of the texts goes on for all, and one of them begins.
    pub(in crate::arm) fn look(&self, place: Place<'_>, turn: Turn) -> Result<bool, ArmError> {
        let mut frames = self.frames();
        let is_first =
            frames.wanted.first_key_value().is_some_and(|(first, _)| *first == self.text);
        let goes_on = !frames.to_visit.is_empty() || !frames.unwanted.is_empty();
        if is_first || goes_on { frames.look(place, turn) } else { Ok(false) }
    }
}
