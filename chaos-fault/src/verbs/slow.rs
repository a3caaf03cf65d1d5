//! `slow`: system calls take longer.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::{Problems, jitter_below, positive},
    mistake::{Clause, Problem},
    model::{Call, Verb},
    print::list,
    value::duration,
    yaml::{Builder, Form, Slow, names, place, time, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "slow",
    field: "slow",
    synonyms: &[],
    summary: "System calls take longer.",
    example: "slow fsync by 50ms",
    samples: &["slow fsync by 50ms"],
    subject: Subject::Calls,
    is_destructive: false,
    parts: &[Clause::Calls, Clause::By, Clause::Jitter],
    amount: Amount::Duration,
    build,
    print,
    place: |form| place(&form.slow),
    read,
    write,
    check,
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    let by = match (&parts.calls, parts.by) {
        (Some(calls), None) => return Err(missing_slowness(calls)),
        (_, by) => by.unwrap_or_default(),
    };
    let calls = parts.calls.ok_or_else(|| ROW.lacks("a system call"))?;
    Ok(Verb::Slow { calls, by, jitter: parts.jitter })
}

fn missing_slowness(calls: &[Call]) -> Problem {
    let help = format!("for example `slow {} by 50ms`", super::names(calls));
    ROW.lacks_with_help("to know by how much", help)
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Slow { calls, by, jitter } = verb {
        write!(f, " {} by {}", list(f, calls), duration::print(*by))?;
        if let Some(jitter) = jitter {
            write!(f, " jitter {}", duration::print(*jitter))?;
        }
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.slow.as_ref()?.value;
    let calls = builder.calls(&parts.calls);
    let length = builder.leaf(Clause::By, &parts.by, duration::parse);
    let jitter = builder.optional(Clause::Jitter, &parts.jitter, duration::parse);
    calls.zip(length).map(|(calls, by)| Verb::Slow { calls, by, jitter })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Slow { calls, by, jitter } = verb {
        let parts = Slow { calls: names(calls), by: time(*by), jitter: jitter.map(time) };
        form.slow = Some(unplaced(parts));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::Slow { by, jitter, .. } = verb {
        positive(Some(*by), Clause::By, problems);
        jitter_below(*by, *jitter, problems);
    }
}
