//! `kill container`: the processes of containers are killed, once.

use super::{Amount, Row, Subject};
use crate::{
    model::Verb,
    yaml::{no_parts, place},
};

pub(crate) static ROW: Row = Row {
    words: "kill container",
    field: "killContainer",
    synonyms: &[],
    summary: "Containers that run are killed, each once.",
    example: "kill container in container server",
    samples: &["kill container"],
    subject: Subject::Container,
    is_destructive: true,
    parts: &[],
    amount: Amount::Nothing,
    build: |_| Ok(Verb::KillContainer),
    print: |_, f| f.write_str(" container"),
    place: |form| place(&form.kill_container),
    read: |_, form| form.kill_container.as_ref().map(|_| Verb::KillContainer),
    write: |_, form| form.kill_container = Some(no_parts()),
    check: |_, _| {},
};
