//! How a verb fails: what is printed, and the exit code.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use chaos_engine::cgroup::TargetError;
use chaos_plan::Refusal;

use super::output;

const WRONG_USAGE: u8 = 2;

/// A verb's way out when it could not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// What the user wrote is wrong: an option, a fault, a target. Exit code 2.
    Usage(String),
    /// The same, as a finished report that needs no heading: errors with their carets.
    Rendered(String),
    /// Faults that are well formed and cannot be done here. Exit code 1.
    Refused(Vec<Refusal>),
    /// The command of `run` did not start. The exit code is the one that env(1) has.
    Command { code: u8, message: String },
    /// Anything else. Exit code 1.
    Runtime(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Runtime(error.into())
    }
}

impl Failure {
    /// A target that was named wrongly or may not be one is wrong usage; a machine that cannot be
    /// searched is not.
    pub fn of_target(error: TargetError) -> Self {
        match error {
            TargetError::BadPath { .. }
            | TargetError::NotCgroup2 { .. }
            | TargetError::NoSuchCgroup { .. }
            | TargetError::RootCgroup { .. }
            | TargetError::Protected { .. }
            | TargetError::HoldsPods { .. }
            | TargetError::NoSuchProcess { .. }
            | TargetError::Malformed(_)
            | TargetError::NotFound { .. }
            | TargetError::Ambiguous { .. } => Self::Usage(error.to_string()),
            TargetError::NoCgroup2
            | TargetError::HiddenHierarchy { .. }
            | TargetError::PartialHierarchy { .. }
            | TargetError::OwnCgroupHidden { .. }
            | TargetError::OutsideMount { .. }
            | TargetError::HiddenProcesses { .. }
            | TargetError::NoKubelet { .. }
            | TargetError::NoKill { .. }
            | TargetError::Io { .. } => Self::Runtime(error.into()),
        }
    }

    /// Prints what went wrong on standard error.
    pub fn report(&self) -> ExitCode {
        match self {
            Self::Usage(message) => {
                output::error_line(&heading(message));
                ExitCode::from(WRONG_USAGE)
            }
            Self::Rendered(report) => {
                output::error_line(report);
                ExitCode::from(WRONG_USAGE)
            }
            Self::Refused(refusals) => {
                for refusal in refusals {
                    output::error_line(&refused(refusal));
                }
                ExitCode::FAILURE
            }
            Self::Command { code, message } => {
                output::error_line(&heading(message));
                ExitCode::from(*code)
            }
            Self::Runtime(error) => {
                output::error_line(&heading(&chain(error)));
                ExitCode::FAILURE
            }
        }
    }
}

fn heading(message: &str) -> String {
    let red: Style = AnsiColor::Red.on_default().bold();
    format!("{red}error:{red:#} {message}")
}

/// The error and its causes; one that has been told already, as part of the message before it,
/// is not told again.
fn chain(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.ends_with(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// In the form of the language's own errors.
fn refused(Refusal { fault, reason, remedy, .. }: &Refusal) -> String {
    let title = heading(&format!("cannot `{fault:#}`: {reason}"));
    match remedy {
        Some(remedy) => {
            let cyan = AnsiColor::Cyan.on_default().bold();
            format!("{title}\n  {cyan}help:{cyan:#} {remedy}")
        }
        None => title,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let source = io::Error::other("denied");
        let error = TargetError::Io { doing: "create", object: "/a".into(), source };
        let error = Err::<(), _>(error).context("no right; run as root").unwrap_err();
        assert_eq!(chain(&error), "no right; run as root: cannot create /a: denied");
        assert_eq!(chain(&anyhow!("inner").context("outer")), "outer: inner");
    }
}
