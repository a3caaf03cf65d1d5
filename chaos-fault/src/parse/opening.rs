//! Reads the beginning of a sentence: `shadow` and the verb.

use super::{Fail, draft::Draft, reader::Reader};
use crate::{
    mistake::Mistake,
    verbs::{Row, VERBS, each},
};

/// Reads up to and including the verb.
pub(super) fn read(reader: &mut Reader<'_>) -> Result<Draft, Fail> {
    let shadow = reader.eat("shadow");
    let first = reader.value("a verb", first_word)?;
    let mut span = first.span;
    let verb = second_word(reader, first.value)?;
    span.end = reader.last_span().end;
    let mut draft = Draft::new(verb, span);
    draft.clauses.shadow = shadow;
    Ok(draft)
}

/// The first verb that begins with this word.
fn first_word(word: &str) -> Result<&'static Row, Mistake> {
    if word.eq_ignore_ascii_case("shadow") {
        return Err(Mistake::new("`shadow` is given twice").help("once, before the verb"));
    }
    let row = VERBS.iter().copied().find(|row| row.first_word().eq_ignore_ascii_case(word));
    row.ok_or_else(|| {
        let mistake = Mistake::new(format!("`{word}` is not a verb"));
        match of_others(word) {
            Some(row) => mistake.help(row.help()),
            None => mistake
                .help(format!("a sentence begins with one of {}", first_words().join(", ")))
                .meant(word, first_words),
        }
    })
}

/// The verb that begins with the first word of this one and what comes next.
fn second_word(reader: &mut Reader<'_>, first: &'static Row) -> Result<&'static Row, Fail> {
    let alike = || VERBS.iter().copied().filter(|row| row.first_word() == first.first_word());
    let found = alike().find(|row| row.second_word().is_some_and(|word| reader.eat(word)));
    let alone = || alike().find(|row| row.second_word().is_none());
    if let Some(row) = found.or_else(alone) {
        return Ok(row);
    }
    let expected = first.second_word().unwrap_or_default();
    let wrong = |word: &str| {
        Err(Mistake::new(format!("expected `{expected}`, found `{word}`")).help(first.help()))
    };
    reader.value(&format!("`{expected}`"), wrong).map(|read| read.value)
}

/// The words that a sentence may begin with, besides `shadow`.
fn first_words() -> Vec<&'static str> {
    each(Row::first_word)
}

/// The verb for what other tools call so.
fn of_others(word: &str) -> Option<&'static Row> {
    let is_it = |synonym: &&str| synonym.eq_ignore_ascii_case(word);
    VERBS.iter().copied().find(|row| row.synonyms.iter().any(is_it))
}
