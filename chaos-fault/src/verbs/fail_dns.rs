//! `fail dns`: questions of the DNS for a name are answered in place of the server.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    mistake::{Clause, Problem},
    model::{DnsAnswer, Verb},
    value::{name, word::Word},
    yaml::{Builder, FailDns, Form, place, unplaced, word},
};

pub(crate) static ROW: Row = Row {
    words: "fail dns",
    field: "failDns",
    synonyms: &[],
    summary: "Questions to name servers get an error for an answer, or none, where they ask for such a name.",
    example: "fail dns with NXDOMAIN for *.example.com",
    samples: &["fail dns with NXDOMAIN for *.example.com"],
    subject: Subject::Dns,
    is_destructive: false,
    parts: &[Clause::With, Clause::Name],
    amount: Amount::Nothing,
    build,
    print,
    place: |form| place(&form.fail_dns),
    read,
    write,
    check: |_, _| {},
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    Ok(Verb::FailDns {
        answer: parts.answer.ok_or_else(|| ROW.lacks("an answer"))?,
        name: parts.name.ok_or_else(|| ROW.lacks("a name"))?,
    })
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::FailDns { answer, name } = verb {
        write!(f, " dns with {} for {name}", answer.word())?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.fail_dns.as_ref()?.value;
    let answer = builder.leaf(Clause::With, &parts.with, DnsAnswer::expect);
    let name = builder.leaf(Clause::Name, &parts.name, name::dns);
    answer.zip(name).map(|(answer, name)| Verb::FailDns { answer, name })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::FailDns { answer, name } = verb {
        form.fail_dns = Some(unplaced(FailDns { with: word(answer.word()), name: word(name) }));
    }
}
