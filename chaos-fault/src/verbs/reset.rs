//! `reset`: a TCP connection ends for both of its ends.

use super::{Amount, Row, Subject};
use crate::{
    model::Verb,
    yaml::{no_parts, place},
};

pub(crate) static ROW: Row = Row {
    words: "reset",
    field: "reset",
    synonyms: &[],
    summary: "TCP connections are reset at both ends.",
    example: "reset 10% of flows tcp to port 6379",
    samples: &["reset tcp"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[],
    amount: Amount::Nothing,
    build: |_| Ok(Verb::Reset),
    print: |_, _| Ok(()),
    place: |form| place(&form.reset),
    read: |_, form| form.reset.as_ref().map(|_| Verb::Reset),
    write: |_, form| form.reset = Some(no_parts()),
    check: |_, _| {},
};
