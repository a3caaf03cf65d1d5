//! Prints results: text for people, JSON, YAML and names for programs.
//!
//! Text may carry colours: they are taken out where the stream is no terminal or `NO_COLOR` is set. Results that have
//! strings of the cluster are rendered from [`crate::printable::Printable`] objects; what is said beside them is cleaned here.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::{
    cli::Output,
    failure::Failure,
    printable::{escaped, printable},
    text::DIM,
};

/// Prints text on standard output. A reader that has gone (`| head`) is no error.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(|error| Failure::Output(error.into())),
    }
}

/// Prints text on standard error. Where that is impossible nobody can be told.
pub fn error_line(text: &str) {
    let text = printable(text);
    drop(writeln!(anstream::stderr().lock(), "{}", text.trim_end()));
}

/// Says something on standard error that is no part of the result.
pub fn note(text: &str) {
    let text = printable(text);
    drop(writeln!(anstream::stderr().lock(), "{DIM}{}{DIM:#}", text.trim_end()));
}

/// An object as JSON, in which no character does anything to a terminal.
pub fn json(value: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value);
    text.map(|text| escaped(&text)).map_err(|error| Failure::Output(error.into()))
}

/// Prints an object as a program wants it. `name` is what stands for it.
pub fn object(value: &impl Serialize, name: &str, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => line(&json(value)?),
        Output::Yaml => {
            let text = serde_saphyr::to_string(value);
            line(&printable(&text.map_err(|error| Failure::Output(error.into()))?))
        }
        Output::Name => line(name),
    }
}
