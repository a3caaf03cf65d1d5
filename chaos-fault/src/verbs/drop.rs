//! `drop`: packets are lost.

use super::{Amount, Row, Subject};
use crate::{
    model::Verb,
    yaml::{no_parts, place},
};

pub(crate) static ROW: Row = Row {
    words: "drop",
    field: "drop",
    synonyms: &["loss", "lose", "block", "deny", "reject", "blackhole", "partition"],
    summary: "Packets are lost without a word, as on a bad line.",
    example: "drop 10% egress",
    samples: &["drop egress", "drop ingress"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[],
    amount: Amount::Nothing,
    build: |_| Ok(Verb::Drop),
    print: |_, _| Ok(()),
    place: |form| place(&form.drop),
    read: |_, form| form.drop.as_ref().map(|_| Verb::Drop),
    write: |_, form| form.drop = Some(no_parts()),
    check: |_, _| {},
};
