//! What the agent knows of one pod: its faults, their clocks and ledgers, and what was answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use chaos_api::{ArmedId, FaultClock, ForeignClocks, Phase, TargetReport};
use chaos_fault::Fault;
use chaos_plan::nanoseconds;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::MicroTime};

use super::{
    arming::Clocks,
    clock::{Clock, Noted, Now, Why},
    guard::Orders,
    observed::Observed,
    status::{FaultStatus, PodPhase, Status},
};

/// The pause before something that failed is tried again doubles between these.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(10);
/// The same where it fails only as long as somebody else has armed something: nobody tells us when that
/// ends.
const LAST_RETRY_OF_OCCUPIED: Duration = Duration::from_secs(1);

/// A pod that has, or had, faults.
pub(super) struct PodState {
    /// What it asked for when it was last dealt with.
    pub facts: Observed,
    pub reference: ObjectReference,
    pub faults: Vec<Tracked>,
    /// What is in the kernel, and for each fault there its index in `faults`.
    pub armed: BTreeMap<ArmedId, Vec<usize>>,
    pub retry: Option<Retry>,
    /// When its ledgers are read next, as long as something is armed.
    pub next_look: Option<Instant>,
    /// What is to be said of the pod as a whole.
    pub phase: PodPhase,
    pub messages: Vec<String>,
    /// What was told last of what is in the kernel, and of what was.
    told: BTreeMap<ArmedId, Told>,
    /// What is written on the pod, or on its way there.
    pub answered: Option<Status>,
    /// What an earlier agent answered in short: the clock of all faults of the text.
    resumed_in_short: Option<Status>,
}

/// What a report says of its target as a whole.
#[derive(Default)]
struct Told {
    notes: Vec<String>,
    missed: u64,
}

/// One fault of the text.
pub(super) struct Tracked {
    pub status: FaultStatus,
    /// `None` before it was first armed.
    pub clock: Option<Clock>,
    /// From its beginning until it acts.
    after: Duration,
    /// This agent has noted which containers it kills.
    pub is_recorded_here: bool,
    /// It has an `until`: what was computed for that has to be noted.
    has_until: bool,
    /// Boot clock, ns.
    ends: Option<u64>,
}

impl Tracked {
    /// A fault as an earlier agent left it.
    fn resumed(mut status: FaultStatus, noted: &Noted<'_>, now: &Now) -> Self {
        let clock = now.resume(noted);
        match clock {
            None => (status.began, status.ends) = (None, None),
            Some(Clock::Since(FaultClock { began, ends })) => {
                (status.began, status.ends) = (Some(began), ends);
                // The wall clock was set back since, or somebody wrote that.
                if status.since.as_ref().is_none_or(|since| since.0 > now.wall) {
                    status.since = Some(MicroTime(now.wall_moment(began)));
                }
            }
            Some(Clock::Over(_)) => {
                (status.began, status.ends) = (None, None);
                status.phase = Phase::Ended;
            }
        }
        Self {
            status,
            clock,
            after: Duration::ZERO,
            is_recorded_here: false,
            has_until: false,
            ends: None,
        }
    }

    /// When its phase changes next, by the boot clock, ns.
    fn changes_at(&self) -> Option<u64> {
        match (self.status.phase, self.clock) {
            (Phase::Waiting, Some(Clock::Since(clock))) => {
                Some(clock.began.saturating_add(nanoseconds(self.after)))
            }
            (Phase::Active, Some(Clock::Since(_))) => self.ends,
            (Phase::Waiting | Phase::Active | Phase::Ended, _) => None,
        }
    }

    /// Nothing more is done of it.
    fn stop(&mut self, why: Why) {
        self.clock = Some(Clock::Over(why));
        self.status.phase = Phase::Ended;
    }

    /// Whether the guard has ended it, before its time.
    fn is_stopped(&self) -> bool {
        matches!(self.clock, Some(Clock::Over(why)) if why.is_order())
    }

    /// A fault of which no more is noted than of its pod as a whole; a new one, if that is nothing.
    fn resumed_in_short(sentence: String, noted: &Noted<'_>, now: &Now) -> Self {
        let status = FaultStatus {
            since: noted.since.map(MicroTime),
            until: noted.until.map(MicroTime),
            ..FaultStatus::new(sentence)
        };
        Self::resumed(status, noted, now)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Retry {
    pub at: Instant,
    pause: Duration,
}

impl PodState {
    /// A pod met for the first time. What an earlier agent answered tells the clocks, unless the
    /// faults it speaks of were taken back.
    pub fn new(
        facts: Observed,
        reference: ObjectReference,
        answered: Option<Status>,
        now: &Now,
    ) -> Self {
        let resumed = answered.iter().filter(|status| status.observed.is_some());
        let faults = resumed
            .flat_map(|status| status.faults.iter().map(move |fault| (status, fault)))
            .map(|(status, fault)| Tracked::resumed(fault.clone(), &status.noted_of(fault), now))
            .collect();
        let mut known = Self {
            facts,
            reference,
            faults,
            armed: BTreeMap::new(),
            retry: None,
            next_look: None,
            phase: PodPhase::Waiting,
            messages: Vec::new(),
            told: BTreeMap::new(),
            answered,
            resumed_in_short: None,
        };
        if known.is_answered()
            && let Some(status) = &known.answered
        {
            known.phase = status.phase;
            known.messages.clone_from(&status.messages);
            if status.faults.is_empty() {
                known.resumed_in_short = Some(status.clone());
            }
        }
        known
    }

    /// Whether the faults of this text are over: nothing more is done about it.
    pub fn is_finished(&self) -> bool {
        self.facts.text.is_some() && self.phase == PodPhase::Ended
    }

    /// Whether everything that is armed is asked for still, and nothing of it is ordered to end.
    pub fn keeps_all(&self, facts: &Observed) -> bool {
        let asked: BTreeSet<String> = facts
            .text
            .iter()
            .flat_map(|text| text.faults.iter().flatten())
            .map(Fault::to_string)
            .collect();
        let mut armed = self.armed.values().flatten().filter_map(|index| self.faults.get(*index));
        self.facts.orders == facts.orders
            && armed.all(|tracked| asked.contains(&tracked.status.fault))
    }

    /// Takes in what the pod asks for now.
    pub fn update(&mut self, facts: Observed) {
        if self.facts.text != facts.text {
            self.resumed_in_short = None;
        }
        self.facts = facts;
    }

    /// Goes over to the faults of another text: those that stay keep clock and ledger.
    pub fn adopt(&mut self, faults: &[Fault], now: &Now) {
        let mut before: Vec<Option<Tracked>> = self.faults.drain(..).map(Some).collect();
        let in_short = self.resumed_in_short.take();
        self.faults = faults
            .iter()
            .map(|fault| {
                let sentence = fault.to_string();
                let same = |tracked: &Tracked| tracked.status.fault == sentence;
                let kept = before.iter_mut().find(|slot| slot.as_ref().is_some_and(same));
                let noted = in_short.as_ref().map(Status::noted).unwrap_or_default();
                let mut tracked = kept
                    .and_then(Option::take)
                    .unwrap_or_else(|| Tracked::resumed_in_short(sentence, &noted, now));
                if tracked.clock.is_none() && fault.until.is_some_and(|until| until <= now.wall) {
                    tracked.stop(Why::Until);
                }
                let (after, has_until) = (fault.after.unwrap_or_default(), fault.until.is_some());
                Tracked { after, has_until, ..tracked }
            })
            .collect();
        self.armed.clear();
        self.told.clear();
    }

    pub fn clocks(&self) -> Clocks {
        let clocks = self
            .faults
            .iter()
            .filter_map(|tracked| tracked.clock.map(|clock| (tracked.status.fault.clone(), clock)));
        clocks.collect()
    }

    /// Ends the faults of its text that the guard has stopped; whether nothing else is left of it.
    pub fn obey(&mut self, orders: &Orders, now: &Now) -> bool {
        let lever = orders.lever.as_ref().map(|_| Why::Lever);
        for (index, tracked) in self.faults.iter_mut().enumerate() {
            if let Some(why) = orders.stopped.get(&index).copied().or(lever)
                && tracked.status.phase != Phase::Ended
            {
                tracked.stop(why);
                tracked.status.until =
                    tracked.status.since.is_some().then_some(MicroTime(now.wall));
            }
        }
        self.faults.iter().all(|tracked| tracked.status.phase == Phase::Ended)
    }

    /// Why faults are not resumed.
    pub fn over(&self) -> impl Iterator<Item = String> {
        self.faults.iter().filter_map(|tracked| match tracked.clock {
            // Nobody wonders about that.
            None | Some(Clock::Since(_) | Clock::Over(Why::Ended)) => None,
            Some(Clock::Over(why)) => Some(format!("`{}`: {why}", tracked.status.fault)),
        })
    }

    pub fn armed_ids(&self) -> BTreeSet<ArmedId> {
        self.armed.keys().cloned().collect()
    }

    /// Takes over when these faults began from the agent that has them armed.
    pub fn learn(&mut self, indices: &[usize], clocks: &ForeignClocks, now: &Now) {
        for index in indices {
            let Some(tracked) = self.faults.get_mut(*index) else { continue };
            let Tracked { status, clock, has_until, .. } = tracked;
            if clock.is_none()
                && let Some(foreign) = clocks.of(&status.fault)
            {
                *clock = Some(Clock::Since(foreign));
                let ends = foreign.ends.filter(|_| *has_until);
                (status.began, status.ends) = (Some(foreign.began), ends);
                status.since = Some(MicroTime(now.wall_moment(foreign.began)));
            }
        }
    }

    /// Takes the last ledgers of what was armed.
    pub fn count_all(&mut self, reports: &[TargetReport], now: &Now) {
        for report in reports {
            self.count(report, false, now);
        }
    }

    /// Takes the last ledgers of faults that the guard has stopped, where others of their target go on.
    pub fn count_stopped(&mut self, reports: &[TargetReport]) {
        for tracked in self.faults.iter_mut().filter(|tracked| tracked.is_stopped()) {
            let mut last = reports.iter().flat_map(|report| &report.faults);
            if let Some(last) = last.find(|last| last.fault == tracked.status.fault) {
                tracked.status.counts = last.counts.clone();
            }
        }
    }

    /// Takes what the kernel counted. `is_fresh` says that it began to count just now.
    pub fn count(&mut self, report: &TargetReport, is_fresh: bool, now: &Now) {
        let id = ArmedId(report.id.clone());
        let Some(indices) = self.armed.get(&id) else { return };
        self.told.insert(id, Told { notes: report.notes.clone(), missed: report.missed });
        for fault in &report.faults {
            let index = indices.get(fault.index).copied();
            let Some(tracked) = index.and_then(|index| self.faults.get_mut(index)) else {
                continue;
            };
            if tracked.is_stopped() {
                tracked.status.counts = fault.counts.clone();
                continue;
            }
            let Tracked { status, clock, ends, has_until, .. } = tracked;
            if is_fresh && status.since.is_some() {
                status.counted_since = Some(MicroTime(now.wall));
            }
            status.since.get_or_insert_with(|| MicroTime(now.wall_moment(fault.began)));
            // The two clocks are never read at quite the same moment: convert once.
            if *ends != Some(fault.ends) {
                status.until = Some(MicroTime(now.wall_moment(fault.ends)));
                *ends = Some(fault.ends);
            }
            *clock = Some(Clock::Since(FaultClock { began: fault.began, ends: Some(fault.ends) }));
            // A status may have to be short.
            (status.began, status.ends) = (Some(fault.began), has_until.then_some(fault.ends));
            status.seed = Some(fault.seed);
            status.phase = fault.phase;
            status.unmatched = fault.unmatched.clone();
            status.counts = fault.counts.clone();
        }
    }

    /// Says of every fault that is not in the kernel any more that it `is` waiting, or over.
    fn mark_unarmed(&mut self, is: Phase) {
        let armed: BTreeSet<usize> = self.armed.values().flatten().copied().collect();
        for (index, tracked) in self.faults.iter_mut().enumerate() {
            if !armed.contains(&index) && tracked.status.phase != Phase::Ended {
                tracked.status.phase = is;
            }
        }
    }

    /// The time of these faults is up.
    pub fn end(&mut self, indices: &[usize]) {
        for index in indices {
            if let Some(tracked) = self.faults.get_mut(*index) {
                tracked.status.phase = Phase::Ended;
            }
        }
    }

    /// Derives the phase from what is armed and what is over.
    pub fn settle(&mut self, messages: Vec<String>) {
        self.mark_unarmed(Phase::Waiting);
        self.messages = messages;
        self.phase = if !self.armed.is_empty() {
            PodPhase::Armed
        } else if self.faults.iter().all(|tracked| tracked.status.phase == Phase::Ended) {
            PodPhase::Ended
        } else {
            PodPhase::Waiting
        };
    }

    /// Nothing is armed any more, for as long as the facts stay what they are.
    pub fn close(&mut self, phase: PodPhase, messages: Vec<String>) {
        self.armed.clear();
        self.retry = None;
        self.phase = phase;
        self.messages = messages;
        if !self.is_answered() && self.facts.text.is_some() {
            // The answer is about another text than these faults are of.
            self.faults.clear();
        } else if phase == PodPhase::Ended {
            self.mark_unarmed(Phase::Ended);
        } else {
            self.mark_unarmed(Phase::Waiting);
        }
    }

    /// Nothing is armed as long as somebody else has armed what does not go together with it. The clocks
    /// go on.
    pub fn refuse_for_now(&mut self, messages: Vec<String>, now: &Now) {
        self.armed.clear();
        self.phase = PodPhase::Refused;
        self.messages = messages;
        self.mark_unarmed(Phase::Waiting);
        self.retry_shortly(now);
    }

    fn is_answered(&self) -> bool {
        let observed = self.answered.as_ref().and_then(|status| status.observed.as_deref());
        observed == self.facts.text.as_ref().map(|text| text.digest.as_str())
    }

    /// The status as it is now.
    pub fn status(&self) -> Status {
        let observed = self.facts.text.as_ref().map(|text| text.digest.clone());
        let faults = self.faults.iter().map(|tracked| tracked.status.clone()).collect();
        let missed = self.told.values().map(|told| told.missed).sum();
        let mut messages = self.messages.clone();
        let armed = self.told.iter().filter(|(id, _)| self.armed.contains_key(*id));
        for note in armed.flat_map(|(_, told)| &told.notes) {
            if !messages.contains(note) {
                messages.push(note.clone());
            }
        }
        Status { missed, ..Status::new(self.phase, observed, faults, messages) }
    }

    /// Something is not armed any more, and nobody asked for that.
    pub fn lose(&mut self, id: &ArmedId, why: String, now: &Now) {
        self.armed.remove(id);
        self.settle(vec![why]);
        if self.phase != PodPhase::Ended {
            self.retry_soon(now);
        }
    }

    /// How long it is until the phase of one of the armed faults changes.
    pub fn next_change(&self, now: &Now) -> Option<Duration> {
        let armed = self.armed.values().flatten().filter_map(|index| self.faults.get(*index));
        let next = armed.filter_map(Tracked::changes_at).min()?;
        Some(Duration::from_nanos(next.saturating_sub(now.boot)))
    }

    /// Whether something is armed, or may be later.
    pub fn is_open(&self) -> bool {
        !self.armed.is_empty() || self.retry.is_some()
    }

    /// Tries again, at first soon, then less often.
    pub fn retry_later(&mut self, now: &Now) {
        self.retry_within(LAST_RETRY, now);
    }

    /// The same, never long after it would work.
    pub fn retry_shortly(&mut self, now: &Now) {
        self.retry_within(LAST_RETRY_OF_OCCUPIED, now);
    }

    fn retry_within(&mut self, longest: Duration, now: &Now) {
        let pause = self.retry.map_or(FIRST_RETRY, |retry| (retry.pause * 2).min(longest));
        self.retry = Some(Retry { at: now.instant + pause, pause });
    }

    fn retry_soon(&mut self, now: &Now) {
        self.retry = Some(Retry { at: now.instant + FIRST_RETRY, pause: FIRST_RETRY });
    }

    /// Whether something is to be tried again now.
    pub fn is_due(&self, now: &Now) -> bool {
        self.retry.is_some_and(|retry| retry.at <= now.instant)
    }

    /// Tries again later what would be due now.
    pub fn put_off(&mut self, now: &Now) {
        if self.is_due(now) {
            self.retry_later(now);
        }
    }

    /// Tries again now what would be due later.
    pub fn hurry(&mut self, now: &Now) {
        if self.retry.is_some() {
            self.retry = Some(Retry { at: now.instant, pause: FIRST_RETRY });
        }
    }
}

#[cfg(test)]
mod tests;
