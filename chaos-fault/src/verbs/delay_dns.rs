//! `delay dns`: questions of the DNS for a name are held.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject, delay::is_of_dns};
use crate::{
    check::{Problems, a_latency},
    mistake::{Clause, Problem},
    model::Verb,
    value::name,
    yaml::{Builder, Form, delay, place, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "delay dns",
    field: "delay",
    synonyms: &[],
    summary: "Questions to name servers are held for a time, where they ask for such a name.",
    example: "delay dns by 200ms for *.example.com",
    samples: &["delay dns by 200ms for *.example.com"],
    subject: Subject::Dns,
    is_destructive: false,
    parts: &[Clause::Name, Clause::By, Clause::Jitter, Clause::Distribution, Clause::Correlation],
    amount: Amount::Latencies,
    build,
    print,
    place: |form| place(&form.delay).filter(|_| is_of_dns(form)),
    read,
    write,
    check,
};

fn build(mut parts: Parts) -> Result<Verb, Problem> {
    let latency = parts.latency(&ROW)?;
    let name = parts.name.ok_or_else(|| ROW.lacks("a name"))?;
    Ok(Verb::DelayDns { latency, name })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::DelayDns { latency, name } = verb {
        f.write_str(" dns ")?;
        fmt::Display::fmt(latency, f)?;
        write!(f, " for {name}")?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = form.delay.as_ref()?;
    let latency = builder.latency(&parts.value, parts.referenced);
    let name = builder.optional(Clause::Name, &parts.value.dns, name::dns);
    let (latency, name) = latency.zip(name)?;
    Some(Verb::DelayDns { latency, name })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::DelayDns { latency, name } = verb {
        form.delay = Some(unplaced(delay(latency, Some(name))));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    if let Verb::DelayDns { latency, .. } = verb {
        a_latency(latency, problems);
    }
}
