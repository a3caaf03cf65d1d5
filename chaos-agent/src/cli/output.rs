//! What every verb prints with: tables for people, JSON for programs.
//!
//! Text may carry colours: they are taken out where the stream is no terminal, `NO_COLOR` is set
//! or the terminal has none.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use tabled::{
    builder::Builder,
    settings::{
        Padding, Style as Rules, Width, formatting::TrimStrategy, object::Segment,
        peaker::PriorityMax,
    },
};
use terminal_size::terminal_size_of;

pub const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
pub const RED: Style = AnsiColor::Red.on_default();
pub const GREEN: Style = AnsiColor::Green.on_default();

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one JSON object
    Json,
}

/// The width of tables where standard output is no terminal.
const DEFAULT_WIDTH: usize = 120;
/// Narrower terminals wrap by themselves.
const NARROWEST: usize = 60;

/// Prints a line on standard output. A reader that has gone (`| head`) is no error.
pub fn line(text: &str) -> io::Result<()> {
    let mut stdout = anstream::stdout().lock();
    match writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a line on standard error. Where that is impossible nobody can be told.
pub fn error_line(text: &str) {
    drop(writeln!(anstream::stderr().lock(), "{}", text.trim_end()));
}

/// Says something on standard error that is no part of the result.
pub fn note(text: &str) {
    error_line(&format!("{DIM}chaos-agent:{DIM:#} {text}"));
}

/// Prints one JSON value on standard output.
pub fn json(value: &impl Serialize) -> anyhow::Result<()> {
    Ok(line(&serde_json::to_string_pretty(value)?)?)
}

/// A table without rules between its cells, as wide as the terminal at most; long cells are
/// wrapped.
pub fn table<const N: usize>(
    heading: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut builder = Builder::new();
    builder.push_record(heading);
    for row in rows {
        builder.push_record(row);
    }
    columns(builder, width())
}

/// Names and their values below each other, each line behind `indent`.
pub fn fields(indent: &str, fields: impl IntoIterator<Item = (&'static str, String)>) -> String {
    let mut builder = Builder::new();
    for (name, value) in fields {
        builder.push_record([name.to_owned(), value]);
    }
    let lines = columns(builder, width() - indent.len());
    lines.lines().map(|line| format!("{indent}{line}")).collect::<Vec<_>>().join("\n")
}

fn columns(builder: Builder, width: usize) -> String {
    let mut table = builder.build();
    table
        .modify(Segment::all(), TrimStrategy::Horizontal)
        .with(Rules::empty())
        .with(Padding::new(0, 2, 0, 0))
        .with(Width::wrap(width).keep_words(true).priority(PriorityMax::right()));
    let lines: Vec<String> =
        table.to_string().lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn width() -> usize {
    let terminal = terminal_size_of(io::stdout()).or_else(|| terminal_size_of(io::stderr()));
    terminal.map_or(DEFAULT_WIDTH, |(width, _)| usize::from(width.0).max(NARROWEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_has_no_trailing_blanks() {
        let rows = [["a".into(), "1".into()], ["long name".into(), "22".into()]];
        assert_eq!(table(["NAME", "COUNT"], rows), "NAME       COUNT\na          1\nlong name  22");
    }

    #[test]
    fn colours_take_no_room() {
        let rows = [["\u{1b}[32myes\u{1b}[0m".into(), "x".into()]];
        let printed = table(["OK", "WHAT"], rows);
        assert_eq!(anstream::adapter::strip_str(&printed).to_string(), "OK   WHAT\nyes  x");
    }
}
