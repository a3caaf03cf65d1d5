//! Answers kubectl, when it asks for the words that may come next: `kubectl_complete-chaos` starts this program with
//! `__complete` and the words of the line, of which the last is not finished.

mod names;
mod wanted;

use std::ffi::OsString;

use crate::{exit::Exit, output};

/// The hidden verb, as kubectl's own.
const VERB: &str = "__complete";

/// What kubectl makes of the answer: names are all that there is, or files may come, too.
/// <https://github.com/spf13/cobra/blob/main/completions.go>
const NO_FILES: u8 = 4;
const FILES: u8 = 0;

/// The words of the line, where that is what is asked for.
pub fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<Vec<String>> {
    (arguments.nth(1)? == VERB)
        .then(|| arguments.map(|word| word.to_string_lossy().into_owned()).collect())
}

/// Prints what may come next. What cannot be found out is left out: nobody reads errors here.
pub fn answer(words: &[String]) -> Exit {
    let wanted = wanted::wanted(words);
    let last = words.last().map(String::as_str).unwrap_or_default();
    let mut lines: Vec<String> = wanted.words.clone();
    let mut directive = NO_FILES;
    match wanted.kind {
        wanted::Kind::Words => {}
        wanted::Kind::Files => directive = FILES,
        wanted::Kind::Names(of) => lines.extend(names::names(of, &wanted.cluster)),
    }
    lines.retain(|line| line.starts_with(last));
    lines.push(format!(":{directive}"));
    if output::line(&lines.join("\n")).is_err() {
        return Exit::Failed;
    }
    Exit::Done
}
