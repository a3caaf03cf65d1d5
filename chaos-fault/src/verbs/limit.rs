//! `limit`: packets leave, or arrive, at a rate.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::{Problems, positive},
    mistake::{Clause, Problem},
    model::Verb,
    value::{duration, rate},
    yaml::{Builder, Form, Limit, place, time, unplaced, word},
};

pub(crate) static ROW: Row = Row {
    words: "limit",
    field: "limit",
    synonyms: &["bandwidth", "throttle", "rate"],
    summary: "Packets go no faster than a rate.",
    example: "limit 1mbit egress",
    samples: &["limit 1mbit"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[Clause::Rate, Clause::Queue, Clause::PerFlow],
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
    Ok(Verb::Limit { bits_per_second, queue: parts.queue, per_flow: parts.per_flow })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Limit { bits_per_second, queue, per_flow } = verb {
        write!(f, " {}", rate::print(*bits_per_second))?;
        if let Some(queue) = queue {
            write!(f, " queue {}", duration::print(*queue))?;
        }
        if *per_flow {
            f.write_str(" per flow")?;
        }
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.limit.as_ref()?.value;
    let queue = builder.optional(Clause::Queue, &parts.queue, duration::parse);
    let bits_per_second = builder.leaf(Clause::Rate, &parts.rate, rate::parse)?;
    Some(Verb::Limit { bits_per_second, queue, per_flow: parts.per_flow })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Limit { bits_per_second, queue, per_flow } = verb {
        let rate = word(&rate::print(*bits_per_second));
        form.limit = Some(unplaced(Limit { rate, queue: queue.map(time), per_flow: *per_flow }));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::Limit { bits_per_second, queue, .. } = verb {
        positive(*queue, Clause::Queue, problems);
        problems.expect(
            *bits_per_second >= 8,
            Clause::Rate,
            "the rate lets nothing through",
            "at least `8bit`; to let nothing through, write `drop`",
        );
    }
}
