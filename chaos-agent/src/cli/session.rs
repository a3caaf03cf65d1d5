//! One armed target, and the loop that keeps it armed.

use std::time::{Duration, Instant};

use chaos_api::{ArmedId, Ended, Outcome, Phase};
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::Target,
};
use chaos_fault::Fault;
use chaos_plan::Terms;

use super::{
    failure::Failure,
    signals::{Received, Signals},
};

/// The lease is renewed this many times before it would lapse.
const RENEWALS: u32 = 5;

/// The longest time between two looks at the target.
const SLOWEST: Duration = Duration::from_millis(250);

/// What the loop has to tell.
pub enum Event {
    Signal(Received),
    /// The faults have ended by themselves; [`Session::end`] tells why.
    Ended,
}

/// A target with its faults in force. Dropping it disarms.
pub struct Session {
    armory: Armory,
    id: ArmedId,
    ended: Option<Ended>,
    tick: Duration,
    next: Instant,
}

impl Session {
    /// Arms all of the faults or none. They act as long as [`Session::wait`] is called. `lease` is
    /// the armory's.
    pub fn arm(
        mut armory: Armory,
        target: Target,
        faults: &[Fault],
        terms: Terms,
        lease: Duration,
    ) -> Result<Self, Failure> {
        let id = ArmedId(target.name.clone());
        let request = Request { id: id.clone(), target, faults, terms, began: &|_| None };
        match armory.arm(request)? {
            Outcome::Refused(plan) => Err(Failure::Refused(plan.refused)),
            Outcome::Occupied(occupied) => Err(Failure::Refused(occupied.refusals)),
            Outcome::Armed(_) => {
                let tick = (lease / RENEWALS).min(SLOWEST);
                Ok(Self { armory, id, ended: None, tick, next: Instant::now() + tick })
            }
        }
    }

    /// Keeps the faults in force until something happens.
    pub fn wait(&mut self, signals: &Signals) -> anyhow::Result<Event> {
        loop {
            let now = Instant::now();
            if now >= self.next {
                self.next = now + self.tick;
                if let Some(ended) = self.armory.tick().pop() {
                    self.ended = Some(ended);
                    return Ok(Event::Ended);
                }
            }
            let wait = match self.armory.has_work() {
                true => Duration::ZERO,
                false => self.next.saturating_duration_since(now),
            };
            self.armory.work();
            if let Some(received) = signals.next(wait)? {
                return Ok(Event::Signal(received));
            }
        }
    }

    /// What is to be known of the target and of the paths of its faults.
    pub fn notes(&self) -> Vec<String> {
        let report = self.armory.report(&self.id).and_then(Result::ok);
        report.map(|report| report.notes).unwrap_or_default()
    }

    /// Why the faults ended by themselves; `None` while they are in force.
    pub fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }

    /// Disarms. `why` is for a session that has not ended by itself.
    pub fn end(mut self, why: &str) -> Ended {
        let ended = self.ended.take().or_else(|| self.armory.disarm(&self.id, why));
        ended.unwrap_or_else(|| Ended { id: self.id.clone(), why: why.to_owned(), report: None })
    }
}

/// Whether every fault was in force until its deadline.
pub fn lived_its_time(ended: &Ended) -> bool {
    let faults = ended.report.as_ref().map(|report| report.faults.as_slice());
    faults.is_some_and(|faults| faults.iter().all(|fault| fault.phase == Phase::Ended))
}
