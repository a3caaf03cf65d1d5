//! What is asked of an engine, and what becomes of it.

use std::{collections::BTreeMap, fmt};

use chaos_fault::Fault;
use chaos_plan::{Plan, Refusal, Terms};
use serde::{Deserialize, Serialize};

/// The owner of a tether whose targets one process takes over from another: agents of one node arm the same for
/// a pod, under the same id, so not both at a time.
pub const TAKEN_OVER: &str = "pod";

/// What an armed target is called by whoever asked for it: `pod:shop/web-0`, `cli:1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmedId(pub String);

impl fmt::Display for ArmedId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A target to be armed, or armed anew.
pub struct Request<'a, T> {
    pub id: ArmedId,
    pub target: T,
    pub faults: &'a [Fault],
    pub terms: Terms,
    /// Of a fault that is resumed.
    pub clock: &'a dyn Fn(&Fault) -> Option<FaultClock>,
}

/// The clock of a fault that was armed before, by the boot clock (ns).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultClock {
    /// When it was first armed.
    pub began: u64,
    /// The latest end that was computed for it, where it has an `until`: where the wall clock is now does not
    /// matter any more.
    pub ends: Option<u64>,
}

impl FaultClock {
    /// One without `until`, or of which no more is known.
    pub fn since(began: u64) -> Self {
        Self { began, ends: None }
    }
}

/// What became of a request.
#[derive(Debug)]
pub enum Outcome {
    Armed(Plan),
    /// At least one fault was refused: none is armed. A text is armed whole or not at all.
    Refused(Plan),
    /// At least one fault does not go together with what is armed on the target already, or above or
    /// below it: none is armed. It works when that has ended.
    Occupied(Occupied),
}

/// The clocks of the faults that another agent has armed, by the boot clock (ns).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForeignClocks {
    named: BTreeMap<String, FaultClock>,
    others: Option<u64>,
}

impl ForeignClocks {
    /// `named` by their canonical sentences; `others` is the first of those that the agent has not named.
    pub fn new(named: impl IntoIterator<Item = (String, FaultClock)>, others: Option<u64>) -> Self {
        Self { named: named.into_iter().collect(), others }
    }

    /// The clock of the fault with this canonical sentence, or one that began before it; `None` where the other
    /// agent has not armed it.
    pub fn of(&self, sentence: &str) -> Option<FaultClock> {
        self.named.get(sentence).copied().or(self.others.map(FaultClock::since))
    }
}

/// Who has armed what does not go together with what was asked for.
#[derive(Debug)]
pub struct Occupied {
    /// The faults that are not armed because of it.
    pub refusals: Vec<Refusal>,
    /// Another agent of this node has the same id armed: it is about to end, and then it works, with
    /// these clocks.
    pub handed_over: Option<ForeignClocks>,
}

impl Occupied {
    /// Why what lapsed ends, as others did not heed it any more.
    pub fn since_it_lapsed(&self) -> String {
        let reason = self.refusals.first().map_or("it is armed elsewhere", |one| &one.reason);
        format!("its lease lapsed, and meanwhile {reason}")
    }
}
