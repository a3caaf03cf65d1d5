//! Defines the exit codes: what scripts go by.

use std::process::ExitCode;

use chaos_api::kinds::{Reason, Run, RunPhase};

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything that was asked for was done; a Run is Completed or Planned.
    Done,
    /// It could not be done, or something is wrong.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The Run was refused, or one of its steps failed.
    Refused,
    /// The Run was halted, or deleted.
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
            Self::Refused => 4,
            Self::Halted => 5,
            Self::Interrupted => 130,
        }
    }

    /// What a Run's end means; `None` while it goes on.
    pub fn of(run: &Run) -> Option<Self> {
        let status = run.status.as_ref()?;
        match status.phase {
            RunPhase::Baseline | RunPhase::Running | RunPhase::Recovering => None,
            RunPhase::Finished => Some(match status.reason {
                Some(Reason::Completed | Reason::Planned) => Self::Done,
                Some(
                    Reason::Refused
                    | Reason::StepFailed
                    | Reason::BaselineBroken
                    | Reason::ProbeBroke
                    | Reason::ProbeBlind,
                ) => Self::Refused,
                Some(Reason::Halted | Reason::ExperimentDeleted) => Self::Halted,
                None => Self::Failed,
            }),
        }
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
        assert_eq!(of(json!({ "phase": "Running" })), None);
        for (reason, code) in [
            ("Completed", 0),
            ("Planned", 0),
            ("Refused", 4),
            ("StepFailed", 4),
            ("Halted", 5),
            ("ExperimentDeleted", 5),
        ] {
            let status = json!({ "phase": "Finished", "reason": reason });
            assert_eq!(of(status), Some(code), "{reason}");
        }
    }
}
