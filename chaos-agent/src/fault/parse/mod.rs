//! Text to faults.

mod clause;
mod draft;
mod lexer;
mod reader;
mod verb;

use std::{ops::Range, str::FromStr};

use self::reader::Reader;
use super::{
    check::check,
    errors::{Diagnostic, Errors},
    mistake::{Mistake, Problem},
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
struct Fail {
    span: Range<usize>,
    mistake: Mistake,
}

/// Reads every sentence of a text; a text without any is no error.
///
/// Sentences end at a line's end or at `;`. When something is wrong, the mistakes of all
/// sentences are reported together.
pub fn parse(text: &str) -> Result<Vec<Sentence>, Errors> {
    let mut sentences = Vec::new();
    let mut diagnostics = Vec::new();
    for tokens in lexer::sentences(text) {
        match tokens.map_err(|fail| vec![fail]).and_then(|tokens| sentence(&tokens)) {
            Ok(sentence) => sentences.push(sentence),
            Err(fails) => diagnostics.extend(
                fails.into_iter().map(|fail| Diagnostic::new(text, fail.span, fail.mistake)),
            ),
        }
    }
    Errors::from_diagnostics(diagnostics).map_or(Ok(sentences), Err)
}

fn sentence(tokens: &[lexer::Token<'_>]) -> Result<Sentence, Vec<Fail>> {
    let mut reader = Reader::new(tokens);
    let mut draft = verb::read(&mut reader).map_err(|fail| vec![fail])?;
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
        Err(Errors::from(Diagnostic::new(text, span, mistake)))
    }
}

#[cfg(test)]
mod tests;
