//! Text to faults.

mod clause;
mod draft;
mod lexer;
mod opening;
mod reader;

use std::{ops::Range, str::FromStr};

use self::reader::Reader;
use super::{
    check::check,
    errors::Errors,
    mistake::{Mistake, Problem},
    mistakes::{self, Mistakes},
    model::Fault,
};

/// A fault and where in the text it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    pub fault: Fault,
    /// Bytes of the text, without separators and comments.
    pub span: Range<usize>,
}

/// A mistake and the bytes of the text that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fail {
    pub span: Range<usize>,
    pub mistake: Mistake,
}

/// Reads every sentence of a text; a text without any is no error.
///
/// Sentences end at a line's end or at `;`. When something is wrong, the mistakes of all
/// sentences are reported together.
pub fn parse(text: &str) -> Result<Vec<Sentence>, Errors> {
    let mut read = Vec::new();
    let mut mistakes = Mistakes::of(text);
    for sentence in sentences(text) {
        match sentence {
            Ok(sentence) => read.push(sentence),
            Err(fails) => fails.into_iter().for_each(|fail| mistakes.add(fail.span, fail.mistake)),
        }
    }
    mistakes.into_errors().map_or(Ok(read), Err)
}

/// Every sentence of a text, or what is wrong with it.
pub(super) fn sentences(text: &str) -> impl Iterator<Item = Result<Sentence, Vec<Fail>>> {
    lexer::sentences(text)
        .into_iter()
        .map(|tokens| tokens.map_err(|fail| vec![fail]).and_then(|tokens| sentence(&tokens)))
}

fn sentence(tokens: &[lexer::Token<'_>]) -> Result<Sentence, Vec<Fail>> {
    let mut reader = Reader::new(tokens);
    let mut draft = opening::read(&mut reader).map_err(|fail| vec![fail])?;
    while !reader.at_end() {
        clause::read(&mut reader, &mut draft).map_err(|fail| vec![fail])?;
    }
    let spans = draft.spans.clone();
    let fail = |Problem { clause, mistake }: Problem| {
        let span = spans.get(&clause).cloned().unwrap_or(reader.span());
        Fail { span, mistake }
    };
    let fault = draft.into_fault().map_err(|problem| vec![fail(problem)])?;
    let fails: Vec<Fail> = check(&fault).into_iter().map(fail).collect();
    if fails.is_empty() { Ok(Sentence { fault, span: reader.span() }) } else { Err(fails) }
}

impl FromStr for Fault {
    type Err = Errors;

    /// Reads exactly one sentence.
    fn from_str(text: &str) -> Result<Self, Errors> {
        let mut sentences = parse(text)?.into_iter();
        let (span, mistake) = match (sentences.next(), sentences.next()) {
            (Some(sentence), None) => return Ok(sentence.fault),
            (None, _) => (0..text.len(), Mistake::new("there is no fault here")),
            (Some(_), Some(second)) => (second.span, Mistake::new("only one fault goes here")),
        };
        let mistake = mistake.help("one sentence, such as `drop 10% egress`");
        Err(mistakes::only(text, span, mistake))
    }
}

#[cfg(test)]
mod tests;
