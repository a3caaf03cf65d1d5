//! Says what is wrong with an experiment.

use thiserror::Error;

use crate::{
    expression::ExpressionError, limits::LimitsError, pick::AmountError, probes::ProbeError,
};

/// The longest copy of an experiment that a run's status has room for, in bytes of JSON.
pub const LONGEST: usize = 12 * 1024;

/// What is wrong with an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ScriptError {
    #[error(
        "the experiment is {0} bytes long as JSON, and at most {LONGEST} fit into the status of a run; use fewer or shorter steps"
    )]
    TooLong(usize),
    #[error("step {step}: `do` cannot be read:\n{report}")]
    Sentences { step: String, report: String },
    #[error("step {step} has none of fault, pods, check and wait")]
    Nothing { step: String },
    #[error("step {step}: `do` has no sentence")]
    Empty { step: String },
    #[error("step {step}: `do` has `{clause}`, which the controller writes itself; {remedy}")]
    Clause { step: String, clause: &'static str, remedy: &'static str },
    #[error("step {step}: `$({name})` is no parameter; there are: {known}")]
    Param { step: String, name: String, known: String },
    #[error(
        "step {step}: the value of `$({name})` has {character:?}, which ends a sentence; give what stands in one, such as `400ms`"
    )]
    Value { step: String, name: String, character: char },
    #[error("step {step}: target {target} is not there")]
    Target { step: String, target: String },
    #[error("step {step}: `@{name}` is no peer; there are: {known}{hint}")]
    Peer { step: String, name: String, known: String, hint: &'static str },
    #[error(
        "peer {peer}: cidr: `{text}` is not an address or network, or has bits set behind its prefix; write it such as `10.0.0.0/8`"
    )]
    Cidr { peer: String, text: String },
    #[error("the parameter {0} is not one of the experiment's")]
    UnknownParam(String),
    #[error("target {target}: where: {error}")]
    Where { target: String, error: ExpressionError },
    #[error("target {target}: pick: {error}")]
    Pick { target: String, error: AmountError },
    #[error("step {step}: {field}: {error}")]
    Duration { step: String, field: &'static str, error: String },
    #[error("step {step}: check: {name} is no probe of the experiment; there are: {known}")]
    Probe { step: String, name: String, known: String },
    #[error(
        "step {step}: {field}: {name} is a ledger, which is judged once, when the last step has ended; name a probe that is asked"
    )]
    Unjudged { step: String, field: &'static str, name: String },
    #[error("step {step}: timeout: the probes are to hold for {lasting}, and {timeout} is less")]
    Impatient { step: String, lasting: String, timeout: String },
    #[error("step {step}: if: {error}")]
    Condition { step: String, error: chaos_expression::ExpressionError },
    #[error("step {step}: if: {what} is not there; there are: {known}")]
    Unseen { step: String, what: String, known: String },
    #[error(transparent)]
    Probing(#[from] ProbeError),
    #[error("limits: {0}")]
    Limits(#[from] LimitsError),
}
