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
            RunPhase::Running => None,
            RunPhase::Finished => Some(match status.reason {
                Some(Reason::Completed | Reason::Planned) => Self::Done,
                Some(Reason::Refused | Reason::StepFailed) => Self::Refused,
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
