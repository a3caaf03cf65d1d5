//! The fault language: text and YAML to [`Fault`], and back.
//!
//! Knows no kernel and no Kubernetes.

#![forbid(unsafe_code)]

mod abbreviate;
mod call;
mod check;
mod errno;
mod errors;
mod excerpt;
mod latencies;
mod meaning;
mod mistake;
mod mistakes;
mod model;
mod parse;
mod print;
mod suggest;
mod value;
mod verbs;
mod yaml;

pub use check::check;
pub use errors::{Diagnostic, Errors};
pub use latencies::read_latencies;
pub use mistake::{Clause, Mistake, Problem};
pub use model::{
    Call, Chance, Direction, Distribution, DnsAnswer, Errno, Except, Fault, HowOften, Latency,
    Named, Peer, PodRef, PortRange, Probability, Protocol, Side, Spread, Unit, Verb, WeightedErrno,
    WeightedLatency,
};
pub use parse::{Sentence, parse};
pub use print::shortened;
pub use suggest::closest;
pub use value::{
    duration::{parse as parse_duration, print as print_duration},
    name::of_fault as parse_name,
};
pub use verbs::{VerbSummary, verbs};
pub use yaml::{read, read_yaml, schema, to_yaml};

/// A text without the mark of byte order that some editors begin files with, and the length of that.
fn without_bom(text: &str) -> (&str, usize) {
    match text.strip_prefix('\u{feff}') {
        Some(rest) => (rest, text.len() - rest.len()),
        None => (text, 0),
    }
}

#[cfg(test)]
mod arbitrary;
#[cfg(test)]
mod bounds;
