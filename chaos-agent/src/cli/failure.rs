//! How a verb fails: what is printed, and the exit code.

use std::process::ExitCode;

use anstyle::{AnsiColor, Style};

use super::output;

const WRONG_USAGE: u8 = 2;

/// A verb's way out when it could not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// What the user wrote is wrong: an option, a fault, a target. Exit code 2.
    Usage(String),
    /// A report that is finished and needs no heading, such as errors with their carets. Exit
    /// code 2.
    Rendered(String),
    /// Anything else, a refused plan included. Exit code 1.
    Runtime(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Runtime(error.into())
    }
}

impl Failure {
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
            Self::Runtime(error) => {
                output::error_line(&heading(&format!("{error:#}")));
                ExitCode::FAILURE
            }
        }
    }
}

fn heading(message: &str) -> String {
    let red: Style = AnsiColor::Red.on_default().bold();
    format!("{red}error:{red:#} {message}")
}
