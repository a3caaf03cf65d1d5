//! One armed target, and the loop that keeps it armed.

use std::time::{Duration, Instant};

use chaos_agent::successor::Clocks;
use chaos_api::{ArmedId, Ended, FaultClock, Outcome, Phase};
use chaos_engine::{
    arm::{Armory, Request},
    cgroup::{CgroupRoot, Target},
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
        put_in_force(&mut armory, &id, target, faults, terms, &|_| None)?;
        let tick = (lease / RENEWALS).min(SLOWEST);
        Ok(Self { armory, id, ended: None, tick, next: Instant::now() + tick })
    }

    /// Arms the target's successor with the same faults, whose clocks go on. Whether it is armed: it may be gone, too.
    pub fn arm_again(
        &mut self,
        target: Target,
        faults: &[Fault],
        terms: Terms,
        clocks: &Clocks,
    ) -> Result<bool, Failure> {
        let clock = |fault: &Fault| clocks.clock(fault);
        let armed = put_in_force(&mut self.armory, &self.id, target.clone(), faults, terms, &clock);
        if armed.is_err() && !target.is_alive() {
            return Ok(false);
        }
        armed?;
        self.next = Instant::now() + self.tick;
        Ok(true)
    }

    /// The ending, if the target is gone and may have a successor: then the session goes on.
    pub fn take_gone(&mut self) -> Option<Ended> {
        self.ended.take_if(|ended| ended.is_gone)
    }

    /// Puts back what [`Session::take_gone`] gave, as nothing came after it.
    pub fn end_with(&mut self, ended: Ended) {
        self.ended = Some(ended);
    }

    /// Where targets are found.
    pub fn root(&self) -> &CgroupRoot {
        self.armory.root()
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
            if let Some(received) = signals.next(wait, self.armory.news())? {
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
        ended.unwrap_or_else(|| Ended {
            id: self.id.clone(),
            why: why.to_owned(),
            is_gone: false,
            report: None,
        })
    }
}

fn put_in_force(
    armory: &mut Armory,
    id: &ArmedId,
    target: Target,
    faults: &[Fault],
    terms: Terms,
    clock: &dyn Fn(&Fault) -> Option<FaultClock>,
) -> Result<(), Failure> {
    match armory.arm(Request { id: id.clone(), target, faults, terms, clock })? {
        Outcome::Refused(plan) => Err(Failure::Refused(plan.refused)),
        Outcome::Occupied(occupied) => Err(Failure::Refused(occupied.refusals)),
        Outcome::Armed(_) => Ok(()),
    }
}

/// Whether every fault was in force until its deadline.
pub fn lived_its_time(ended: &Ended) -> bool {
    let faults = ended.report.as_ref().map(|report| report.faults.as_slice());
    faults.is_some_and(|faults| faults.iter().all(|fault| fault.phase == Phase::Ended))
}
