//! The fault language: text and YAML to [`Fault`], and back.
//!
//! Knows no kernel and no Kubernetes.

mod call;
mod check;
mod errno;
mod errors;
mod latencies;
mod mistake;
mod model;
mod parse;
mod print;
mod suggest;
mod value;
mod yaml;

pub use check::check;
pub use errors::{Diagnostic, Errors};
pub use latencies::read_latencies;
pub use mistake::{Clause, Mistake, Problem};
pub use model::{
    Call, Chance, Direction, Distribution, DnsAnswer, Errno, Fault, HowOften, Latency, Peer,
    PodRef, PortRange, Probability, Protocol, Side, Spread, Unit, Verb, WeightedErrno,
    WeightedLatency,
};
pub use parse::{Sentence, parse};
pub use value::duration::{parse as parse_duration, print as print_duration};
pub use yaml::{read, read_yaml, to_yaml};

#[cfg(test)]
mod arbitrary;
