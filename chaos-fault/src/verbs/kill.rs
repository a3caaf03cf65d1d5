//! `kill`: whoever makes a system call dies by SIGKILL.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    mistake::{Clause, Problem},
    model::Verb,
    print::list,
    yaml::{Builder, Form, Kill, names, place, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "kill",
    field: "kill",
    synonyms: &[],
    summary: "A process is killed that makes such a call.",
    example: "kill 1% of calls accept",
    samples: &["kill 1% of calls accept"],
    subject: Subject::Calls,
    is_destructive: true,
    parts: &[Clause::Calls],
    amount: Amount::Nothing,
    build,
    print,
    place: |form| place(&form.kill),
    read,
    write,
    check: |_, _| {},
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    Ok(Verb::Kill { calls: parts.calls.ok_or_else(|| ROW.lacks("a system call"))? })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Kill { calls } = verb {
        write!(f, " {}", list(f, calls))?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.kill.as_ref()?.value;
    builder.calls(&parts.calls).map(|calls| Verb::Kill { calls })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Kill { calls } = verb {
        form.kill = Some(unplaced(Kill { calls: names(calls) }));
    }
}
