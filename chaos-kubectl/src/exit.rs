//! Defines the exit codes: what scripts go by.

use std::process::ExitCode;

use chaos_api::kinds::{Hypothesis, Reason, Run, RunPhase, RunStatus, Verdict};

use crate::{failure::Failure, output};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for was done; a Run is Planned, or Confirmed, and its hypothesis was Held.
    Done,
    /// It could not be done, or something is wrong.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The hypothesis of the Run was Deviated, however the Run ended.
    Deviated,
    /// Nothing is proven: the Run was refused, a step failed, its verdict is not Confirmed, or its hypothesis Unknown.
    Unproven,
    /// Something else than its own steps and probes ended the Run: people, what its namespace allows, the halt of the
    /// cluster; or it was deleted, or its Experiment.
    Halted,
    /// Ctrl-C, while the Run goes on.
    Interrupted,
}

impl Exit {
    /// The code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Deviated => 3,
            Self::Unproven => 4,
            Self::Halted => 5,
            Self::Interrupted => 130,
        }
    }

    /// What a Run's end means; `None` while it goes on.
    pub fn of(run: &Run) -> Option<Self> {
        let status = run.status.as_ref()?;
        match status.phase {
            RunPhase::Baseline | RunPhase::Running | RunPhase::Recovering => None,
            // That the service did not hold was seen, whatever else came.
            RunPhase::Finished if status.hypothesis == Some(Hypothesis::Deviated) => {
                Some(Self::Deviated)
            }
            RunPhase::Finished => Some(match status.reason {
                Some(Reason::Planned) => Self::Done,
                Some(Reason::Completed | Reason::ProbeBroke) => judged(status),
                Some(
                    Reason::Refused
                    | Reason::StepFailed
                    | Reason::BaselineBroken
                    | Reason::ProbeBlind,
                ) => Self::Unproven,
                Some(Reason::Halted | Reason::ExperimentDeleted) => Self::Halted,
                None => Self::Failed,
            }),
        }
    }

    /// This one, after something more was done with the result. What failed there is told, and hides no exit code but 0.
    pub fn over(self, done: Result<(), Failure>) -> Result<Self, Failure> {
        match done {
            Err(failure) if self != Self::Done => {
                output::error_line(&failure.to_string());
                Ok(self)
            }
            done => done.map(|()| self),
        }
    }
}

/// What verdict and hypothesis mean together. That no deviation was seen means nothing where the kernels do not confirm
/// that anything was broken.
fn judged(status: &RunStatus) -> Exit {
    match (status.hypothesis, status.verdict) {
        (Some(Hypothesis::Deviated), _) => Exit::Deviated,
        (Some(Hypothesis::Held) | None, Some(Verdict::Confirmed)) => Exit::Done,
        (Some(Hypothesis::Unknown), _)
        | (_, Some(Verdict::Mismatch | Verdict::Inconclusive) | None) => Exit::Unproven,
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(status: Value) -> Option<u8> {
        let run = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run", "metadata": {},
            "spec": { "experiment": "x" }, "status": status });
        Exit::of(&serde_json::from_value(run).unwrap()).map(Exit::code)
    }

    #[test]
    fn scripts_can_tell_how_a_run_ended() {
        assert_eq!(of(Value::Null), None);
        for phase in ["Baseline", "Running", "Recovering"] {
            assert_eq!(of(json!({ "phase": phase })), None);
        }
        for (reason, verdict, hypothesis, code) in [
            ("Planned", "Inconclusive", "Unknown", 0),
            ("Completed", "Confirmed", "Held", 0),
            ("Completed", "Confirmed", "", 0),
            ("Completed", "Confirmed", "Deviated", 3),
            ("Completed", "Mismatch", "Deviated", 3),
            ("ProbeBroke", "Confirmed", "Deviated", 3),
            ("ProbeBroke", "Inconclusive", "Deviated", 3),
            ("Completed", "Confirmed", "Unknown", 4),
            // Not a pass: whether the service holds was not tried.
            ("Completed", "Mismatch", "Held", 4),
            ("Completed", "Inconclusive", "Held", 4),
            ("Completed", "Inconclusive", "", 4),
            ("Completed", "", "", 4),
            ("Refused", "Inconclusive", "", 4),
            ("StepFailed", "Mismatch", "Held", 4),
            ("BaselineBroken", "Inconclusive", "Unknown", 4),
            ("ProbeBlind", "Confirmed", "Unknown", 4),
            ("Halted", "Confirmed", "Held", 5),
            ("ExperimentDeleted", "Confirmed", "Unknown", 5),
            // What was seen before counts, whatever ended it.
            ("Halted", "Confirmed", "Deviated", 3),
            ("ExperimentDeleted", "Inconclusive", "Deviated", 3),
            ("StepFailed", "Mismatch", "Deviated", 3),
            ("ProbeBlind", "Confirmed", "Deviated", 3),
        ] {
            let some = |word: &str| (!word.is_empty()).then(|| word.to_owned());
            let status = json!({ "phase": "Finished", "reason": reason,
                "verdict": some(verdict), "hypothesis": some(hypothesis) });
            assert_eq!(of(status), Some(code), "{reason} {verdict} {hypothesis}");
        }
    }

    #[test]
    fn an_error_hides_no_exit_code_of_a_run() {
        let fails = || Err(Failure::TimedOut("the report was not written".to_owned()));
        for exit in [Exit::Deviated, Exit::Unproven, Exit::Halted, Exit::Interrupted] {
            assert_eq!(exit.over(fails()).unwrap(), exit);
        }
        assert_eq!(Exit::Done.over(fails()).unwrap_err().exit(), Exit::Failed);
        assert_eq!(Exit::Done.over(Ok(())).unwrap(), Exit::Done);
    }
}
