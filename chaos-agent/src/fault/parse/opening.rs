//! Reads the beginning of a sentence: `shadow` and the verb.

use super::{
    Fail,
    draft::Draft,
    reader::Reader,
    verb::{VerbWord, verb},
};
use crate::fault::mistake::Mistake;

/// Reads up to and including the verb.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Draft, Fail> {
    let shadow = reader.eat("shadow");
    let verb = reader.value("a verb", verb)?;
    let mut span = verb.span;
    let verb = match verb.value {
        VerbWord::Delay if reader.eat("dns") => VerbWord::DelayDns,
        VerbWord::Fail if reader.eat("dns") => VerbWord::FailDns,
        VerbWord::SkewClock => {
            reader.value("`clock`", |word| {
                word.eq_ignore_ascii_case("clock").then_some(()).ok_or_else(|| {
                    Mistake::new(format!("expected `clock`, found `{word}`"))
                        .help(VerbWord::SkewClock.example())
                })
            })?;
            VerbWord::SkewClock
        }
        verb => verb,
    };
    span.end = reader.last_span().end;
    let mut draft = Draft::new(verb, span);
    draft.clauses.shadow = shadow;
    Ok(draft)
}
