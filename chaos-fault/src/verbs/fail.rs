//! `fail`: system calls return an error.

use std::fmt::{self, Formatter};

use super::{Amount, Parts, Row, Subject};
use crate::{
    check::{Problems, repeated},
    mistake::{Clause, Problem},
    model::{Call, Verb, WeightedErrno},
    print::list,
    value::word::{self, MOST_WEIGHT, print_weighted_errno},
    yaml::{self, Builder, Form, names, place, unplaced},
};

pub(crate) static ROW: Row = Row {
    words: "fail",
    field: "fail",
    synonyms: &["error", "inject", "syscall"],
    summary: "System calls fail with an errno, without having done anything.",
    example: "fail connect with ECONNREFUSED 5%",
    samples: &[
        "fail connect with ECONNREFUSED",
        "fail bind with EADDRINUSE",
        "fail sendto, sendmsg, sendmmsg with ENETUNREACH",
        "fail socket with EMFILE",
        "fail setsockopt with EPERM",
        "fail getsockopt with EPERM",
        "fail recvfrom, recvmsg, recvmmsg with ECONNRESET",
        "fail accept with EMFILE",
        "fail open, read with EIO",
        "fail write, fsync with ENOSPC",
        "fail open, read, write, mmap with EIO under /data",
        "fail fsync with EIO under /data",
        "fail stat, rename, unlink with EACCES",
        "fail mmap, brk with ENOMEM",
        "fail clone with EAGAIN",
        "fail execve with ENOENT",
    ],
    subject: Subject::Calls,
    is_destructive: false,
    parts: &[Clause::Calls, Clause::With],
    amount: Amount::Nothing,
    build,
    print,
    place: |form| place(&form.fail),
    read,
    write,
    check,
};

fn build(parts: Parts) -> Result<Verb, Problem> {
    match (parts.calls, parts.errnos) {
        (Some(calls), Some(errnos)) => Ok(Verb::Fail { calls, errnos }),
        (Some(calls), None) => Err(missing_errno(&calls)),
        (None, Some(errnos)) => Err(missing_call(&errnos)),
        (None, None) => Err(ROW.lacks("a system call")),
    }
}

/// Shows the calls as they were written with an errno that the first of them fails with in the field.
fn missing_errno(calls: &[Call]) -> Problem {
    let errno = calls.first().map_or("EIO", Call::usual_errno);
    let help = format!("for example `fail {} with {errno}`", super::names(calls));
    ROW.lacks_with_help("an errno", help)
}

/// Shows the errnos as they were written with a call that fails with the first of them in the field.
fn missing_call(errnos: &[WeightedErrno]) -> Problem {
    let call = errnos.first().and_then(|choice| Call::usually_failing(choice.errno));
    let written: Vec<String> = errnos.iter().copied().map(print_weighted_errno).collect();
    let help =
        format!("for example `fail {} with {}`", call.unwrap_or("openat"), written.join(", "));
    ROW.lacks_with_help("a system call", help)
}

fn print(verb: &Verb, f: &mut Formatter<'_>) -> fmt::Result {
    if let Verb::Fail { calls, errnos } = verb {
        let errnos = errnos.iter().map(|errno| print_weighted_errno(*errno));
        write!(f, " {} with {}", list(f, calls), list(f, errnos))?;
    }
    Ok(())
}

fn read(builder: &mut Builder, form: &Form) -> Option<Verb> {
    let parts = &form.fail.as_ref()?.value;
    builder.at(Clause::With, parts.with.referenced);
    let calls = builder.calls(&parts.calls);
    let errnos = builder.list(&parts.with.value, word::weighted_errno);
    calls.zip(errnos).map(|(calls, errnos)| Verb::Fail { calls, errnos })
}

fn write(verb: &Verb, form: &mut Form) {
    if let Verb::Fail { calls, errnos } = verb {
        let errnos = errnos.iter().map(|errno| yaml::word(&print_weighted_errno(*errno)));
        let with = unplaced(errnos.collect());
        form.fail = Some(unplaced(yaml::Fail { calls: names(calls), with }));
    }
}

fn check(verb: &Verb, problems: &mut Problems) {
    let Verb::Fail { errnos, .. } = verb else { return };
    problems.expect(!errnos.is_empty(), Clause::With, "an errno is missing", "`with EIO`");
    problems.expect(
        errnos.iter().all(|weighted| (1..=MOST_WEIGHT).contains(&weighted.weight)),
        Clause::With,
        "a weight is out of range",
        "from 1 to 1000",
    );
    if let Some(errno) = repeated(errnos.iter().map(|weighted| weighted.errno)) {
        let help = format!("give it a weight: `{errno}*2`");
        problems.add(Clause::With, format!("`{errno}` is in the list twice"), help);
    }
}
