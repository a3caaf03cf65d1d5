//! Decides which pod is answered next, and what follows when the API server refuses an answer.
//! Pure: time and results are told to it.
//!
//! Each pod has a lane of its own for its status, and one for its events. Of all lanes in which
//! something may be written now, the one goes first whose last attempt is the oldest, so a pod
//! that is refused again and again delays no other.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::Event;

use super::{names::PodName, status::Status};

/// Writes under way at the same time.
const AT_ONCE: usize = 8;
/// Of these, writes about pods whose last one failed: the others are kept free for healthy pods,
/// as a write may last until its timeout.
const FAILING_AT_ONCE: usize = AT_ONCE / 2;
/// After a failure the pause doubles between these.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What was refused for good is tried again after this, unless there is something else to say
/// sooner: the reason may be gone, such as an annotation that took all the room.
const REST: Duration = Duration::from_secs(5 * 60);
/// Events of one pod that wait. Older ones are dropped.
const MOST_EVENTS: usize = 8;

/// What is to be written about a pod.
pub(super) struct Answer {
    pub pod: PodName,
    pub reference: ObjectReference,
    pub status: Status,
    pub event: Option<Event>,
}

/// One request to the API server, from [`Queue::start`] to [`Queue::settle`].
pub(super) struct Write {
    pub pod: PodName,
    pub reference: ObjectReference,
    pub content: Content,
    is_of_failing: bool,
}

pub(super) enum Content {
    Status {
        status: Status,
        form: Form,
        /// Tells whether it has been replaced meanwhile.
        edition: u64,
    },
    Event(Notice),
}

/// How much of a status is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    /// [`Status::shortened`].
    Short,
}

/// An event, and which text the pod's faults were of ([`Status::observed`]).
pub(super) struct Notice {
    pub event: Event,
    pub about: Option<String>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Written,
    /// The pod is gone, or has been replaced by one of the same name.
    Gone,
    /// The server will not take this content, however often it is sent.
    Refused,
    /// It may work later: no answer, an overloaded or broken server.
    Failed,
}

/// What is worth a line in the log after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remark {
    /// The pod is not there any more.
    Gone,
    /// The first failure in a row.
    WillRetry,
    /// The whole status was refused; phase and clocks are tried.
    Shortening,
    /// Phase and clocks were refused, too: the pod keeps an outdated status.
    GivenUp,
    /// The first event in a row that was refused; it is dropped.
    EventDropped,
}

/// Everything that is to be written.
#[derive(Default)]
pub(super) struct Queue {
    lanes: BTreeMap<PodName, Lane>,
    /// Counts the attempts, and lanes as they are made.
    turn: u64,
    under_way: usize,
    failing_under_way: usize,
    /// The agent is about to stop: nothing rests any more.
    is_closing: bool,
}

struct Lane {
    reference: ObjectReference,
    status: Option<Status>,
    /// Counts the statuses of this pod.
    edition: u64,
    form: Form,
    /// The last refusal, by the short form of what was refused.
    refused: Option<Refusal>,
    status_pace: Pace,
    events: VecDeque<Notice>,
    event_pace: Pace,
}

struct Refusal {
    short: Status,
    is_given_up: bool,
}

/// When something is written next.
#[derive(Default)]
struct Pace {
    /// The turn of the last attempt.
    last: u64,
    failures: u32,
    not_before: Option<Instant>,
    is_under_way: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Status,
    Event,
}

impl Queue {
    /// Takes in what is to be written. Of several statuses about one pod only the last counts.
    pub fn take(&mut self, answer: Answer, now: Instant) {
        let Answer { pod, reference, status, event } = answer;
        if self.lanes.get(&pod).is_some_and(|lane| lane.reference.uid != reference.uid) {
            self.lanes.remove(&pod);
        }
        let turn = &mut self.turn;
        let lane = self.lanes.entry(pod).or_insert_with(|| {
            *turn += 1;
            Lane::new(reference, *turn)
        });
        if let Some(event) = event {
            if lane.events.len() == MOST_EVENTS {
                lane.events.pop_front();
            }
            lane.events.push_back(Notice { event, about: status.observed.clone() });
        }
        lane.take(status, now);
    }

    /// Forgets a pod that is there no longer.
    pub fn forget(&mut self, pod: &PodName) {
        self.lanes.remove(pod);
    }

    /// What is to be written now, if anything is.
    pub fn start(&mut self, now: Instant) -> Option<Write> {
        if self.under_way == AT_ONCE {
            return None;
        }
        let may_fail = self.failing_under_way < FAILING_AT_ONCE;
        let is_closing = self.is_closing;
        let tracks = self
            .lanes
            .iter()
            .flat_map(|(pod, lane)| [Kind::Status, Kind::Event].map(|kind| (pod, lane, kind)));
        let (_, _, kind, pod) = tracks
            .filter(|(_, lane, kind)| {
                lane.is_due(*kind, now) && (may_fail || !lane.is_failing(*kind))
            })
            // At last statuses go first: they have the clocks.
            .map(|(pod, lane, kind)| (is_closing.then_some(kind), lane.pace(kind).last, kind, pod))
            .min()?;
        let pod = pod.clone();
        let lane = self.lanes.get_mut(&pod)?;
        let is_of_failing = lane.is_failing(kind);
        let content = lane.content(kind)?;
        self.turn += 1;
        let pace = lane.pace_mut(kind);
        pace.last = self.turn;
        pace.is_under_way = true;
        self.under_way += 1;
        self.failing_under_way += usize::from(is_of_failing);
        Some(Write { pod, reference: lane.reference.clone(), content, is_of_failing })
    }

    /// When [`Queue::start`] has something to do without anything else happening.
    pub fn wakes_at(&self, now: Instant) -> Option<Instant> {
        let paces = self.lanes.values().flat_map(|lane| {
            let waiting =
                [Kind::Status, Kind::Event].into_iter().filter(move |kind| lane.has(*kind));
            waiting.filter_map(move |kind| lane.pace(kind).not_before)
        });
        paces.filter(|at| *at > now).min()
    }

    /// Learns what became of a request.
    pub fn settle(&mut self, write: Write, outcome: Outcome, now: Instant) -> Option<Remark> {
        let Write { pod, reference, content, is_of_failing } = write;
        self.under_way -= 1;
        self.failing_under_way -= usize::from(is_of_failing);
        let lane = self.lanes.get_mut(&pod).filter(|lane| lane.reference.uid == reference.uid)?;
        match content {
            Content::Status { status, form, edition } => {
                lane.status_pace.is_under_way = false;
                if outcome == Outcome::Gone {
                    self.lanes.remove(&pod);
                    return Some(Remark::Gone);
                }
                lane.settle_status(&status, form, edition, outcome, now)
            }
            Content::Event(notice) => {
                lane.event_pace.is_under_way = false;
                lane.settle_event(notice, outcome, now)
            }
        }
    }

    /// The agent is about to stop: everything that waits for its time is tried now.
    pub fn close(&mut self) {
        self.is_closing = true;
        for lane in self.lanes.values_mut() {
            lane.status_pace.not_before = None;
            lane.event_pace.not_before = None;
            if lane.refused.as_ref().is_some_and(|refusal| refusal.is_given_up) {
                lane.form = Form::Short;
            }
        }
    }

    /// Whether there is nothing left to write, but for what was refused.
    pub fn is_done(&self) -> bool {
        let is_left = |lane: &Lane| {
            let is_resting = lane.refused.is_some() && lane.status_pace.not_before.is_some();
            (lane.status.is_some() && !is_resting) || !lane.events.is_empty()
        };
        self.under_way == 0 && !self.lanes.values().any(is_left)
    }

    /// How many pods have a status that is outdated.
    pub fn outdated(&self) -> usize {
        self.lanes.values().filter(|lane| lane.status.is_some()).count()
    }
}

impl Lane {
    fn new(reference: ObjectReference, turn: u64) -> Self {
        let pace = || Pace { last: turn, ..Pace::default() };
        Self {
            reference,
            status: None,
            edition: 0,
            form: Form::Whole,
            refused: None,
            status_pace: pace(),
            events: VecDeque::new(),
            event_pace: pace(),
        }
    }

    fn take(&mut self, status: Status, now: Instant) {
        if self.refused.as_ref().is_some_and(|refusal| refusal.short != status.shortened()) {
            // Something else is said than what was refused, not just other counts.
            self.refused = None;
            self.form = Form::Whole;
            let soon = now + FIRST_PAUSE;
            self.status_pace.not_before = self.status_pace.not_before.map(|at| at.min(soon));
        }
        self.edition += 1;
        self.status = Some(status);
    }

    fn has(&self, kind: Kind) -> bool {
        let has = match kind {
            Kind::Status => self.status.is_some(),
            Kind::Event => !self.events.is_empty(),
        };
        has && !self.pace(kind).is_under_way
    }

    fn is_due(&self, kind: Kind, now: Instant) -> bool {
        self.has(kind) && self.pace(kind).not_before.is_none_or(|at| at <= now)
    }

    fn is_failing(&self, kind: Kind) -> bool {
        let is_refused = self.refused.is_some() || self.form == Form::Short;
        self.pace(kind).failures > 0 || (kind == Kind::Status && is_refused)
    }

    fn pace(&self, kind: Kind) -> &Pace {
        match kind {
            Kind::Status => &self.status_pace,
            Kind::Event => &self.event_pace,
        }
    }

    fn pace_mut(&mut self, kind: Kind) -> &mut Pace {
        match kind {
            Kind::Status => &mut self.status_pace,
            Kind::Event => &mut self.event_pace,
        }
    }

    fn content(&mut self, kind: Kind) -> Option<Content> {
        match kind {
            Kind::Status => {
                let status = self.status.as_ref()?;
                let status = match self.form {
                    Form::Whole => status.clone(),
                    Form::Short => status.shortened(),
                };
                Some(Content::Status { status, form: self.form, edition: self.edition })
            }
            Kind::Event => self.events.pop_front().map(Content::Event),
        }
    }

    fn settle_status(
        &mut self,
        status: &Status,
        form: Form,
        edition: u64,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Remark> {
        let short = status.shortened();
        match outcome {
            Outcome::Written => {
                self.status_pace.failures = 0;
                if self.edition == edition {
                    self.status = None;
                }
                self.form = Form::Whole;
                match form {
                    Form::Whole => {
                        self.refused = None;
                        self.status_pace.not_before = None;
                    }
                    Form::Short => self.rest(short, false, now),
                }
                None
            }
            Outcome::Failed => self.status_pace.fail(now),
            Outcome::Refused if form == Form::Whole && short != *status => {
                self.form = Form::Short;
                let is_news = self.refused.is_none();
                is_news.then_some(Remark::Shortening)
            }
            Outcome::Refused => {
                self.form = Form::Whole;
                let was_given_up = self.refused.as_ref().is_some_and(|before| before.is_given_up);
                self.rest(short, true, now);
                (!was_given_up).then_some(Remark::GivenUp)
            }
            // The queue has dealt with it.
            Outcome::Gone => None,
        }
    }

    /// Says no more of what was refused for a while.
    fn rest(&mut self, short: Status, is_given_up: bool, now: Instant) {
        let is_same = self.status.as_ref().is_none_or(|status| status.shortened() == short);
        if is_same {
            self.refused = Some(Refusal { short, is_given_up });
            self.status_pace.not_before = Some(now + REST);
        } else {
            self.refused = None;
            self.status_pace.not_before = Some(now + FIRST_PAUSE);
        }
    }

    fn settle_event(&mut self, notice: Notice, outcome: Outcome, now: Instant) -> Option<Remark> {
        let pace = &mut self.event_pace;
        match outcome {
            Outcome::Written => {
                *pace = Pace { last: pace.last, ..Pace::default() };
                None
            }
            Outcome::Refused | Outcome::Gone => {
                let is_first = pace.failures == 0;
                pace.failures = pace.failures.saturating_add(1);
                pace.not_before = None;
                is_first.then_some(Remark::EventDropped)
            }
            Outcome::Failed => {
                if self.events.len() < MOST_EVENTS {
                    self.events.push_front(notice);
                }
                pace.fail(now)
            }
        }
    }
}

impl Pace {
    fn fail(&mut self, now: Instant) -> Option<Remark> {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(6)).min(LONGEST_PAUSE);
        self.not_before = Some(now + pause);
        self.failures = self.failures.saturating_add(1);
        (self.failures == 1).then_some(Remark::WillRetry)
    }
}

#[cfg(test)]
mod tests;
