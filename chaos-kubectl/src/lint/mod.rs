//! Checks Experiments and Runs in files, without a cluster: their form by the definitions of the kinds, what they say by
//! what the controller reads them with.

mod document;
mod places;
mod report;
mod rules;
mod schema;
mod script;
mod source;
mod yaml;

#[cfg(test)]
mod tests;

use std::ops::Range;

pub use document::{Document, Kind};
pub use report::render;
pub use source::sources;

/// One mistake, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub message: String,
    pub help: Option<String>,
    /// In bytes of the file.
    pub span: Range<usize>,
}

/// Something that was not checked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// From 1.
    pub line: usize,
    pub what: String,
}

/// What a file has.
#[derive(Debug, Default)]
pub struct Checked {
    pub documents: Vec<Document>,
    pub mistakes: Vec<Mistake>,
    pub skipped: Vec<Skipped>,
}

impl Checked {
    /// Checks one text.
    pub fn of(text: &str) -> Self {
        let mut checked = document::read(text);
        let mut found = Vec::new();
        for document in &checked.documents {
            let mut mistakes = document.mistakes();
            found.append(&mut mistakes);
        }
        // A Run with values for an Experiment of the same file is checked with them.
        found.extend(script::across(&checked.documents));
        checked.mistakes.append(&mut found);
        checked.mistakes.sort_by_key(|mistake| mistake.span.start);
        checked.mistakes.dedup();
        checked
    }
}
