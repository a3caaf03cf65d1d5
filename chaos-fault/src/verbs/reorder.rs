//! `reorder`: packets are overtaken by those behind them.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::{Problems, positive},
    mistake::{Clause, Problem},
    model::Verb,
    value::duration,
    yaml::{Builder, By, Form, place, time, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "reorder",
    field: "reorder",
    synonyms: &[],
    summary: "Packets are held for a time, so that those behind them overtake them.",
    example: "reorder 5% by 10ms",
    samples: &["reorder 5% by 10ms"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[Clause::By],
    amount: Amount::Duration,
    build,
    print,
    place: |form| place(&form.reorder),
    read,
    write,
    check,
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    Ok(Verb::Reorder { by: parts.by.ok_or_else(|| ROW.lacks("to know by how much"))? })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Reorder { by } = verb {
        write!(f, " by {}", duration::print(*by))?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.reorder.as_ref()?.value;
    builder.leaf(Clause::By, &parts.by, duration::parse).map(|by| Verb::Reorder { by })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Reorder { by } = verb {
        form.reorder = Some(unplaced(By { by: time(*by) }));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::Reorder { by } = verb {
        positive(Some(*by), Clause::By, problems);
    }
}
