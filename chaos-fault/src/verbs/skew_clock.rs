//! `skew clock`: the clock that a process sees is moved.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::Problems,
    mistake::{Clause, Problem},
    model::Verb,
    value::duration,
    yaml::{Builder, By, Form, place, unplaced, word},
};

pub(crate) static ROW: Row = Row {
    words: "skew clock",
    field: "skewClock",
    synonyms: &[],
    summary: "Processes see another time.",
    example: "skew clock by +1d",
    samples: &["skew clock by +1d"],
    subject: Subject::Process,
    is_destructive: false,
    parts: &[Clause::By],
    amount: Amount::Offset,
    build,
    print,
    place: |form| place(&form.skew_clock),
    read,
    write,
    check,
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    Ok(Verb::SkewClock { offset_ns: parts.offset_ns.ok_or_else(|| ROW.lacks("to know how far"))? })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::SkewClock { offset_ns } = verb {
        write!(f, " clock by {}", duration::print_offset(*offset_ns))?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.skew_clock.as_ref()?.value;
    let offset = builder.leaf(Clause::By, &parts.by, duration::offset);
    offset.map(|offset_ns| Verb::SkewClock { offset_ns })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::SkewClock { offset_ns } = verb {
        form.skew_clock = Some(unplaced(By { by: word(&duration::print_offset(*offset_ns)) }));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::SkewClock { offset_ns } = verb {
        problems.expect(
            (1..=duration::MAX_NS).contains(&offset_ns.unsigned_abs()),
            Clause::By,
            "the clock cannot be moved that far, or not at all",
            "by at least 1ns and at most 36500d",
        );
    }
}
