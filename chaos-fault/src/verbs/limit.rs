//! `limit`: packets leave, or arrive, at a rate.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::Problems,
    mistake::{Clause, Problem},
    model::Verb,
    value::rate,
    yaml::{Builder, Form, Limit, place, unplaced, word},
};

pub(crate) static ROW: Row = Row {
    words: "limit",
    field: "limit",
    synonyms: &["bandwidth", "throttle", "rate"],
    summary: "Packets go no faster than a rate.",
    example: "limit 1mbit egress",
    samples: &["limit 1mbit"],
    subject: Subject::Packets,
    parts: &[Clause::Rate, Clause::PerFlow],
    amount: Amount::Rate,
    build,
    print,
    place: |form| place(&form.limit),
    read,
    write,
    check,
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    let bits_per_second = parts.rate.ok_or_else(|| ROW.lacks("a rate"))?;
    Ok(Verb::Limit { bits_per_second, per_flow: parts.per_flow })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Limit { bits_per_second, per_flow } = verb {
        let per_flow = if *per_flow { " per flow" } else { "" };
        write!(f, " {}{per_flow}", rate::print(*bits_per_second))?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.limit.as_ref()?.value;
    let bits_per_second = builder.leaf(Clause::Rate, &parts.rate, rate::parse)?;
    Some(Verb::Limit { bits_per_second, per_flow: parts.per_flow })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Limit { bits_per_second, per_flow } = verb {
        let rate = word(&rate::print(*bits_per_second));
        form.limit = Some(unplaced(Limit { rate, per_flow: *per_flow }));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::Limit { bits_per_second, .. } = verb {
        problems.expect(
            *bits_per_second >= 8,
            Clause::Rate,
            "the rate lets nothing through",
            "at least `8bit`; to let nothing through, write `drop`",
        );
    }
}
