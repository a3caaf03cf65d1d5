//! Programs at the interfaces of a target, and the delay line behind them.

mod bounds;
mod embedded_server;
mod groups;
mod of_text;
mod served;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use chaos_plan::{DelayLine, Hook, Position};

use self::{
    bounds::{FIRST, MOST_NAMESPACES, at_once, is_left, most_interfaces},
    embedded_server::has_embedded_server,
    groups::Groups,
    served::Served,
};
pub(super) use self::{
    groups::SharedLink,
    of_text::{SharedFrames, TextFrames, Wanted},
};
use super::{
    ArmError,
    filters::with_naming,
    line::{Leaving, RunningLine, SharedLines},
    news::News,
    turn::{Turn, drop_within},
};
use crate::{
    cgroup::{CgroupRoot, FoundNetNs, NetNs, NetNsKey, Owner, Target, TargetKind},
    kernel::{FrameHooks, Link, Naming},
};

/// Programs at a device of the delay line. Each takes as long to attach as another does.
const LINE_PROGRAMS: usize = 2;

/// Between two looks at a target of which nothing is heard: processes that came or left without a new socket are
/// noticed then, and programs that somebody detached.
const REST: Duration = Duration::from_secs(3);

/// What is attached to the interfaces of one target, for all texts that are armed on it. It shares the programs with other
/// targets in the same network namespace.
///
/// How many there are is up to the target's processes, and attaching to each takes a grace period of
/// the kernel (10 ms). So there is a bound of them, and the work is done in turns.
struct Frames {
    // Links before the programs: packets meet none whose maps are on their way out.
    served: BTreeMap<NetNsKey, Served>,
    /// Of the program that tells of namespaces that the target has not used before.
    namespaces: Option<Link>,
    /// What each text needs.
    wanted: BTreeMap<u64, Wanted>,
    /// Texts that have joined.
    joined: u64,
    hooks: Vec<Hook>,
    position: Position,
    /// What the present look has found and not visited yet.
    to_visit: VecDeque<FoundNetNs>,
    look_began: Instant,
    /// When a look was over that left nothing to be done, unless there is news since.
    done: Option<Instant>,
    /// The first error of the present look.
    failed: Option<ArmError>,
    /// What the last look could not do.
    undone: Option<String>,
    /// Namespaces beyond the bound, at the last look.
    left_out: usize,
    /// The log knows that there are such, or interfaces beyond theirs.
    told: bool,
    /// No longer wanted, and still attached.
    unwanted: Vec<SharedLink>,
    /// Where a rule holds frames, or answers in place of Docker's name server.
    line: Option<RunningLine>,
    /// What it shares with those of other targets.
    lines: SharedLines,
    /// Lines whose last rule has ended.
    leaving: Leaving,
    programs: FrameHooks,
    /// Those of all targets.
    groups: Groups,
    /// Where it is heard of interfaces that come.
    news: News,
}

/// Whose interfaces they are.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub target: &'a Target,
    pub root: &'a CgroupRoot,
    /// This process, for whoever finds what it leaves.
    pub owner: &'a Owner,
}

impl Frames {
    fn new(programs: FrameHooks, groups: Groups, lines: SharedLines, news: News) -> Self {
        Self {
            served: BTreeMap::new(),
            namespaces: None,
            wanted: BTreeMap::new(),
            joined: 1,
            hooks: Vec::new(),
            position: Position::default(),
            to_visit: VecDeque::new(),
            look_began: Instant::now(),
            done: None,
            failed: None,
            undone: None,
            left_out: 0,
            told: false,
            unwanted: Vec::new(),
            line: None,
            lines,
            leaving: Leaving::default(),
            programs,
            groups,
            news,
        }
    }

    /// Hears at once of network namespaces that the target uses. Without, they are noticed at the next tick.
    fn hear_of_namespaces(&mut self, target: &Target) {
        let path = target.cgroup.path().display().to_string();
        let link = self.programs.hear_of_namespaces(target.cgroup.as_fd(), &path);
        let link = link.inspect_err(|error| {
            tracing::debug!(%error, "new network namespaces are noticed late");
        });
        self.namespaces = link.ok();
    }

    /// The line of one kind that some text needs.
    fn wanted_line(&self, of: fn(&Wanted) -> Option<DelayLine>) -> Option<DelayLine> {
        self.wanted.values().find_map(of)
    }

    /// Starts a delay line, unless one runs.
    fn start_line(&mut self, line: DelayLine) -> Result<(), ArmError> {
        if self.line.is_none() {
            let maps = self.programs.line_maps();
            self.line = Some(RunningLine::start(line, maps, &self.lines)?);
        }
        Ok(())
    }

    /// Call it when no program holds frames any more.
    fn stop_line(&mut self) {
        if let Some(line) = self.line.take() {
            line.stop(&mut self.leaving);
        }
    }

    /// Whether no text needs a delay line, not even for answers.
    fn needs_no_line(&self) -> bool {
        self.wanted_line(|wanted| wanted.line.or(wanted.answer_line)).is_none()
    }

    /// Notes what a text needs, in place of what it needed before, which is given back. What is missing is attached in
    /// the looks to come; what nobody needs any more stays until [`Frames::settle`].
    ///
    /// Programs that are to be asked at another position than before are off for a moment.
    fn want(&mut self, text: u64, wanted: Option<Wanted>) -> Option<Wanted> {
        let before = match wanted {
            Some(wanted) => self.wanted.insert(text, wanted),
            None => self.wanted.remove(&text),
        };
        let hooks: BTreeSet<Hook> =
            self.wanted.values().flat_map(|wanted| wanted.hooks.iter().copied()).collect();
        self.hooks = hooks.into_iter().collect();
        let is_last = |wanted: &Wanted| wanted.position == Position::Last;
        let position = match self.wanted.values().any(is_last) {
            true => Position::Last,
            // Where nothing is wanted, nothing has to move.
            false if self.wanted.is_empty() => self.position,
            false => Position::First,
        };
        // Those visited before have none of the new ones.
        self.to_visit.clear();
        self.done = None;
        let is_moved = std::mem::replace(&mut self.position, position) != position;
        for served in self.served.values_mut() {
            served.expect(&self.hooks, is_moved);
        }
        if is_moved {
            self.take_off(|_| true);
        }
        before
    }

    /// Takes off what no text needs, in the turns to come. `stop` makes sure that no program holds frames for such a one.
    fn settle(&mut self, stop: impl FnOnce()) {
        let hooks = self.hooks.clone();
        self.take_off(|hook| !hooks.contains(&hook));
        if hooks.is_empty() {
            self.served.values_mut().for_each(Served::leave);
        }
        if self.line.is_some() && self.needs_no_line() {
            stop();
            self.stop_line();
        }
    }

    fn take_off(&mut self, is_unwanted: impl Fn(Hook) -> bool) {
        for served in self.served.values_mut() {
            let unwanted = served.links.extract_if(.., |(hook, _), _| is_unwanted(*hook));
            self.unwanted.extend(unwanted.map(|(_, link)| link));
        }
    }

    /// Takes the links, to be detached unless another target shares them. The target leaves its groups.
    fn take_links(&mut self) -> Vec<SharedLink> {
        let mut links = std::mem::take(&mut self.unwanted);
        self.namespaces = None;
        let served = std::mem::take(&mut self.served);
        links.extend(served.into_values().flat_map(|served| served.links.into_values()));
        links
    }

    /// What people should know: where the target is not served.
    fn notes(&self) -> Vec<String> {
        let counted = |count: fn(&Served) -> usize| self.served.values().map(count).sum();
        let is_new = |found: &&FoundNetNs| !self.is_served(found.namespace.inode());
        let unvisited = self.to_visit.iter().filter(is_new).count();
        let pending = (unvisited, counted(|it| it.pending));
        let mut notes = bounds::notes((self.left_out, counted(|it| it.left_out)), pending);
        let undone = self.undone.iter();
        notes
            .extend(undone.map(|why| format!("faults at interfaces do not act everywhere: {why}")));
        notes
    }

    /// Goes on for a turn with a look at what the target has got and lost since the last look: attaches
    /// to each interface that is not served yet, and forgets what is gone. Whether something is left to
    /// be done; if not, the next call begins another look.
    fn look(&mut self, place: Place<'_>, turn: Turn) -> Result<bool, ArmError> {
        let looked = self.look_for_turn(place, turn);
        match &looked {
            Ok(true) => {}
            Ok(false) => self.undone = None,
            Err(error) => self.undone = Some(error.to_string()),
        }
        looked
    }

    /// Something was heard of the target: the next look does not rest.
    fn wake(&mut self) {
        self.done = None;
    }

    /// Whether nothing is to be done, as nothing was heard since the last look, a short time ago. Only where all is heard
    /// that can come: new sockets in other namespaces, and interfaces.
    fn rests(&self) -> bool {
        self.done.is_some_and(|done| done.elapsed() < REST)
            && self.namespaces.is_some()
            && self.served.values().all(|served| served.events.is_some())
            && (self.line.is_some() || self.wanted_line(|wanted| wanted.answer_line).is_none())
    }

    fn look_for_turn(&mut self, place: Place<'_>, turn: Turn) -> Result<bool, ArmError> {
        self.leaving.see_off();
        if !drop_within(turn, &mut self.unwanted)
            || !self.leaving.drop_ends(turn)
            || self.line.as_mut().is_some_and(|line| !line.drop_unwanted(turn))
        {
            return Ok(true);
        }
        if self.hooks.is_empty() {
            return Ok(false);
        }
        if self.to_visit.is_empty() {
            self.failed = self.line.as_mut().map_or(Ok(()), RunningLine::renew).err();
            if self.rests() {
                return self.failed.take().map_or(Ok(false), Err);
            }
            self.done = None;
            self.look_began = Instant::now();
            self.find(place)?;
        }
        while let Some(found) = self.to_visit.pop_front() {
            match self.visit(&found, place, turn) {
                Ok(true) => {}
                Ok(false) => {
                    self.to_visit.push_front(found);
                    return Ok(true);
                }
                // The others come first.
                Err(error) => drop(self.failed.get_or_insert(error)),
            }
            let waits = |next: &FoundNetNs| next.is_inner || self.attached_except(None) >= FIRST;
            if turn.is_over() && self.to_visit.front().is_some_and(waits) {
                return Ok(true);
            }
        }
        self.forget_left();
        // Its devices are everywhere now where programs are that may send frames there.
        if let Some(line) = &mut self.line {
            line.open()?;
        }
        self.tell(place.target);
        self.done = (self.failed.is_none() && self.unwanted.is_empty()).then(Instant::now);
        self.failed.take().map_or(Ok(!self.unwanted.is_empty()), Err)
    }

    /// Tells the log once where the target is not served.
    fn tell(&mut self, target: &Target) {
        if !self.told {
            for note in self.notes() {
                tracing::warn!(target = %target.name, "{note}");
                self.told = true;
            }
        }
    }

    /// Finds the namespaces to visit.
    fn find(&mut self, Place { target, root, .. }: Place<'_>) -> Result<(), ArmError> {
        let is_served = |inode| self.is_served(inode);
        let mut found = NetNs::outermost(root, &target.cgroup, MOST_NAMESPACES, &is_served)?;
        if target.kind == TargetKind::Child
            && let own = NetNs::own()?
            && found.namespaces.iter().all(|found| found.namespace.inode() != own.inode())
        {
            // The child does not run yet; it will inherit our namespace.
            found.namespaces.push(FoundNetNs { namespace: own, is_inner: false });
        }
        self.to_visit = found.namespaces.into();
        self.left_out = found.left_out;
        Ok(())
    }

    fn is_served(&self, inode: u64) -> bool {
        self.served.values().any(|served| served.inode == inode)
    }

    /// Programs that are attached in the outermost namespaces, except this one.
    fn attached_except(&self, namespace: Option<NetNsKey>) -> usize {
        let of_line = if self.line.is_some() { LINE_PROGRAMS } else { 0 };
        let others =
            self.served.iter().filter(|(key, served)| Some(**key) != namespace && !served.is_inner);
        others.map(|(_, served)| served.links.len() + of_line).sum()
    }

    /// Serves a namespace for a turn; whether that is done.
    fn visit(
        &mut self,
        found: &FoundNetNs,
        place: Place<'_>,
        turn: Turn,
    ) -> Result<bool, ArmError> {
        let answer_line = self.wanted_line(|wanted| wanted.answer_line);
        let looks = self.line.is_none() && answer_line.is_some();
        if !looks && self.is_quiet(found) {
            return Ok(true);
        }
        let (done, has_server) = found.namespace.enter_in_thread(|| {
            let done = self.serve_named(found, place, turn);
            (done, looks && has_embedded_server())
        })?;
        let Some(line) = answer_line.filter(|_| has_server) else {
            return done;
        };
        done?;
        // Not by a thread that is in the namespace: the reader's would stay there. Then once more, for the
        // line's device.
        self.start_line(line)?;
        found.namespace.enter_in_thread(|| self.serve_named(found, place, turn))?
    }

    /// Whether there is nothing to be done in a namespace, as far as can be seen from outside.
    fn is_quiet(&mut self, found: &FoundNetNs) -> bool {
        let inode = found.namespace.inode();
        // One whose events are heard is there still: its number is nobody else's.
        let known = self.served.iter_mut().find(|(_, served)| served.inode == inode);
        let Some((key, served)) = known else { return false };
        let lacks_device = self.line.as_ref().is_some_and(|line| !line.serves(key));
        let is_quiet = served.is_quiet() && !lacks_device && served.is_inner == found.is_inner;
        if is_quiet {
            served.seen = Instant::now();
        }
        is_quiet
    }

    /// [`Frames::serve_here`], with names for filters.
    fn serve_named(
        &mut self,
        found: &FoundNetNs,
        place: Place<'_>,
        turn: Turn,
    ) -> Result<bool, ArmError> {
        let owner = place.owner;
        with_naming(owner, |naming| self.serve_here(found, owner, naming, turn))
    }

    /// The same for the one that the calling thread is in.
    fn serve_here(
        &mut self,
        found: &FoundNetNs,
        owner: &Owner,
        naming: &Naming<'_>,
        turn: Turn,
    ) -> Result<bool, ArmError> {
        let key = found.namespace.key_from_inside()?;
        let others = self
            .served
            .iter()
            .filter(|(other, served)| **other != key && served.is_inner == found.is_inner);
        let taken: usize = others.map(|(_, served)| served.interfaces().len()).sum();
        let room = most_interfaces(found.is_inner).saturating_sub(taken);
        let at_once = at_once(found.is_inner, self.attached_except(Some(key)));
        let served = self.served.entry(key).or_insert_with(|| Served::new(found));
        served.seen = Instant::now();
        if served.events.is_none() {
            // Without, it is visited at each look.
            let events = self.news.watch(self.programs.cgroup()).inspect_err(|error| {
                tracing::debug!(%error, "interfaces that come are noticed late");
            });
            served.events = events.ok();
        }
        if let Some(line) = &mut self.line {
            let by_filter = self.hooks.iter().any(|hook| hook.is_filter());
            line.serve(key, &self.programs, owner, by_filter.then_some(naming))?;
        }
        // When it has a device there: from here on, programs that others have attached may send frames to it.
        served.join((key, self.position), &self.groups, &self.programs)?;
        served.serve(&self.hooks, naming, room, (at_once, turn))
    }

    /// Forgets the namespaces that no process of the target is in any more; the oldest first, where
    /// there are more than are served.
    fn forget_left(&mut self) {
        let mut seen: Vec<Instant> = self.served.values().map(|served| served.seen).collect();
        seen.sort_unstable();
        let surplus = seen.len().saturating_sub(MOST_NAMESPACES);
        let oldest = surplus.checked_sub(1).and_then(|last| seen.get(last).copied());
        let is_left = |served: &Served| is_left(served.seen, self.look_began, oldest);
        for (_, left) in self.served.extract_if(.., |_, served| is_left(served)) {
            self.unwanted.extend(left.links.into_values());
        }
        // Nobody is there now who would keep it.
        for served in self.served.values_mut().filter(|served| served.seen < self.look_began) {
            served.events = None;
        }
        if let Some(line) = &mut self.line {
            line.retain(&|key| self.served.contains_key(key));
        }
    }
}
