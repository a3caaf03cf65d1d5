//! Says what standard output is: a terminal that lines can be rewritten on, and how large.

use std::io::{IsTerminal as _, stdout};

use terminal_size::terminal_size_of;

/// Where there is no terminal.
const WIDTH: usize = 120;
/// Narrower terminals cut by themselves.
const NARROWEST: usize = 40;

/// How many characters a line has, and how many lines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub width: usize,
    pub height: usize,
}

/// Whether lines of standard output can be rewritten.
pub fn is_live() -> bool {
    stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

/// How large standard output is.
pub fn size() -> Size {
    match terminal_size_of(stdout()) {
        Some((width, height)) => Size {
            width: usize::from(width.0).max(NARROWEST),
            height: usize::from(height.0).max(4),
        },
        None => Size { width: WIDTH, height: usize::MAX },
    }
}
