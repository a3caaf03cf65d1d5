//! `delay`: packets are held.

use std::fmt::{self, Formatter, Write};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::{Problems, a_latency},
    mistake::{Clause, Problem},
    model::Verb,
    yaml::{Builder, Form, delay, place, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "delay",
    field: "delay",
    synonyms: &["latency", "lag", "sleep"],
    summary: "Packets are held for a time.",
    example: "delay 100ms jitter 20ms egress",
    samples: &["delay 100ms"],
    subject: Subject::Packets,
    is_destructive: false,
    parts: &[Clause::By, Clause::Jitter, Clause::Distribution, Clause::Correlation],
    amount: Amount::Latencies,
    build,
    print,
    place: |form| place(&form.delay).filter(|_| !is_of_dns(form)),
    read,
    write,
    check,
};

/// Whether the field is that of `delay dns`.
pub(super) fn is_of_dns(form: &Form) -> bool {
    form.delay.as_ref().is_some_and(|delay| delay.value.dns.is_some())
}

fn build(mut parts: Parts) -> Result<Verb, Problem> {
    parts.latency(&ROW).map(Verb::Delay)
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Delay(latency) = verb {
        f.write_char(' ')?;
        fmt::Display::fmt(latency, f)?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = form.delay.as_ref()?;
    builder.latency(&parts.value, parts.referenced).map(Verb::Delay)
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Delay(latency) = verb {
        form.delay = Some(unplaced(delay(latency, None)));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::Delay(latency) = verb {
        a_latency(latency, problems);
    }
}
