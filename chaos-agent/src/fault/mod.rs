//! The fault language: text and YAML to [`Fault`], and back.
//!
//! Knows no kernel and no Kubernetes.

mod model;

pub use model::{
    Call, Chance, Direction, Distribution, DnsAnswer, Errno, Fault, HowOften, Peer, PortRange,
    Probability, Protocol, Side, Unit, Verb, WeightedErrno,
};
