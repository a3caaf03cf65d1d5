//! `corrupt`: packets are damaged.

use std::fmt::{self, Formatter};

use super::{Amount, Row, Subject};
use crate::{
    mistake::Clause,
    model::Verb,
    yaml::{Builder, Corrupt, Form, place, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "corrupt",
    field: "corrupt",
    synonyms: &[],
    summary: "Packets are damaged, so that the checksum fails; with `silent`, so that it holds.",
    example: "corrupt 1% silent egress udp",
    samples: &["corrupt", "corrupt silent"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[Clause::Silent],
    amount: Amount::Nothing,
    build: |parts| Ok(Verb::Corrupt { silent: parts.silent }),
    print,
    place: |form| place(&form.corrupt),
    read,
    write,
    check: |_, _| {},
};

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Corrupt { silent: true } = verb {
        f.write_str(" silent")?;
    }
    Ok(())
}

fn read(_: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = form.corrupt.as_ref()?;
    Some(Verb::Corrupt { silent: parts.value.silent })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Corrupt { silent } = verb {
        form.corrupt = Some(unplaced(Corrupt { silent: *silent }));
    }
}
