//! `duplicate`: a copy of a packet goes the same way.

use super::{Amount, Row, Subject};
use crate::{
    model::Verb,
    yaml::{no_parts, place},
};

pub(crate) static ROW: Row = Row {
    words: "duplicate",
    field: "duplicate",
    synonyms: &["dup"],
    summary: "Packets arrive twice.",
    example: "duplicate 2%",
    samples: &["duplicate 2%"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[],
    amount: Amount::Nothing,
    build: |_| Ok(Verb::Duplicate),
    print: |_, _| Ok(()),
    place: |form| place(&form.duplicate),
    read: |_, form| form.duplicate.as_ref().map(|_| Verb::Duplicate),
    write: |_, form| form.duplicate = Some(no_parts()),
    check: |_, _| {},
};
