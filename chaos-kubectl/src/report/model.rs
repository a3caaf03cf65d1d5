//! Defines what a report says of a Run. Serialized, it is the JSON of `report -o json` (docs/kubectl.md): fields may be
//! added, and none is removed or changes its meaning while `schema` stays.

use chaos_api::kinds::{
    During, ExceptionStatus, Hypothesis, HypothesisReason, LedgerSums, Mode, ProbeState, Reason,
    RunPhase, StepPhase, TargetCounts, Verdict, VerdictReason,
};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::lines::{Event, PodLine, Sample};

/// What the form of the JSON is called.
pub const SCHEMA: &str = "chaos-agent.dev/report/v1";

/// Everything that is known of a Run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub schema: &'static str,
    pub namespace: String,
    pub name: String,
    /// Nothing where the Run has it inline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experiment: Option<String>,
    pub mode: Mode,
    pub phase: Option<RunPhase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    pub message: String,
    /// Why somebody halted it, in that person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub halt_reason: Option<String>,
    /// That of `run --wait`; nothing while the Run goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    pub verdict: Judged<Verdict, VerdictReason>,
    pub hypothesis: Claimed,
    pub targets: TargetCounts,
    pub ledger: LedgerSums,
    pub steps: Vec<StepReport>,
    pub probes: Vec<ProbeReport>,
    pub exceptions: Vec<ExceptionStatus>,
    pub timeline: Vec<Event>,
    pub pods: Vec<PodLine>,
    /// Lines of pods and samples that the controller had no room for.
    pub lines_cut: u64,
    /// What is missing here, and why.
    pub notes: Vec<String>,
}

/// A judgement, its reason, and both in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Judged<J, R> {
    pub result: Option<J>,
    pub reason: Option<R>,
    pub message: String,
}

/// What was believed of the service, and whether it held.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Claimed {
    /// In the words of the Experiment.
    pub text: String,
    #[serde(flatten)]
    pub judged: Judged<Hypothesis, HypothesisReason>,
}

/// A step, and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    pub name: String,
    /// What it does, in one line.
    pub what: String,
    pub phase: StepPhase,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// When it ended; where that was not noted, when it was to end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Whether it removes pods, in place of breaking them.
    pub removes: bool,
    pub picked: u32,
    /// The most pods that were armed at a time; or the pods that were removed.
    pub done: u32,
    pub ledger: LedgerSums,
}

/// A probe, and what it saw.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProbeReport {
    pub name: String,
    /// What it asks, in one line.
    pub question: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<String>,
    pub during: During,
    /// Whether it did as it was to.
    pub result: Hypothesis,
    /// The same in words.
    pub message: String,
    pub state: ProbeState,
    pub checks: u32,
    pub failed: u32,
    pub errors: u32,
    /// Failures while pods were broken, beyond those that are forgiven.
    pub broke: u32,
    pub last: String,
    pub worst: String,
    /// The unit of the numbers: `s`, or empty.
    pub unit: &'static str,
    pub value: Option<f64>,
    pub baseline: Option<f64>,
    pub samples: Vec<Sample>,
}

impl Report {
    /// `NAMESPACE/NAME`.
    pub fn title(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    /// How the Run stands, or ended, in one word.
    pub fn state(&self) -> String {
        match (self.phase, self.reason) {
            (Some(RunPhase::Finished), Some(reason)) => format!("{reason:?}"),
            (Some(phase), _) => format!("{phase:?}"),
            (None, _) => "Pending".to_owned(),
        }
    }

    /// How long it took, in whole seconds.
    pub fn lasted(&self) -> Option<SignedDuration> {
        Some(self.ended?.duration_since(self.started?))
    }

    /// What ended the Run before its time, and when.
    pub fn halts(&self) -> Vec<&Event> {
        let of = |words: &[&str]| -> Vec<&Event> {
            self.timeline.iter().filter(|event| words.contains(&event.what.as_str())).collect()
        };
        match self.reason {
            // It is over only when the probes hold again; what ended it was this.
            Some(Reason::ProbeBroke) => of(&["ProbeBroke"]),
            Some(Reason::ProbeBlind) => of(&["ProbeBlind"]),
            Some(Reason::StepFailed) => of(&["StepFailed"]),
            Some(Reason::Halted) => of(&["Halted"]),
            Some(Reason::BaselineBroken) => of(&["BaselineBroken"]),
            Some(Reason::ExperimentDeleted) => of(&["Halted", "ExperimentDeleted"]),
            Some(Reason::Completed | Reason::Planned | Reason::Refused) | None => Vec::new(),
        }
    }
}

impl ProbeReport {
    /// Whether its numbers are seconds.
    pub fn is_time(&self) -> bool {
        self.unit == "s"
    }
}
