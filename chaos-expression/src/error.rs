//! Says why an expression is not evaluated.

use thiserror::Error;

use crate::{
    expression::LONGEST,
    walk::{DEEPEST, MOST_MATCHES, MOST_NESTED_LOOPS},
};

/// Why an expression is not evaluated, or has no result.
///
/// It has nothing of the values of variables, but their types: whoever reads the error may not be allowed to read them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExpressionError {
    #[error("it is {0} bytes long, and at most {LONGEST} are read; write it shorter")]
    TooLong(usize),
    #[error("its brackets are nested more than {DEEPEST} deep; write it flatter")]
    TooDeep,
    #[error("loops such as `all` are nested more than {MOST_NESTED_LOOPS} deep; write it flatter")]
    TooManyLoops,
    #[error("`matches` is called in a loop; compare names by `==`, `in` or `startsWith` there")]
    RepeatedMatches,
    #[error("`matches` is called more than {MOST_MATCHES} times; join the patterns by `|`")]
    TooManyMatches,
    #[error("`matches` needs a pattern that is written in quotes; write it there")]
    ComputedPattern,
    #[error("the pattern `{pattern}` cannot be used: {why}")]
    Pattern { pattern: String, why: String },
    #[error("it makes an object of type `{0}`, which this language does not have; leave it out")]
    Object(String),
    #[error("`{written}` is not known here; there are {known}")]
    Function { written: String, known: String },
    #[error("`{0}` is not known here; write numbers as `1` or `1.0`, and texts in quotes")]
    Literal(&'static str),
    #[error("{what} of {left} and {right} cannot be; write both in the same way, such as `1.0`")]
    Mixed { what: &'static str, left: &'static str, right: &'static str },
    #[error("the evaluator cannot do it; write it in another way")]
    Panicked,
    #[error("it cannot be read: {0}")]
    Syntax(String),
    #[error("`{name}` is not known; there are {known}")]
    Unknown { name: String, known: String },
    #[error("it gives a value of type {0}, and must give true or false")]
    NoBool(&'static str),
    #[error("it takes too many steps for what there is; write it simpler, or ask for less")]
    TooExpensive,
    #[error("no such key: {0}; ask `has(…)` first where it may be missing")]
    NoKey(String),
    #[error("no such key as the one that is computed; ask by `in` first where it may be missing")]
    NoComputedKey,
    #[error("a list has no such element; ask `size(…)` first where it may be missing")]
    NoElement,
    #[error("{operation} does not go with {operands}")]
    NoOverload { operation: String, operands: String },
    #[error("{0}")]
    Value(String),
}

impl ExpressionError {
    /// Whether another value of the variables could have a result: a key, or an element, is missing.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NoKey(_) | Self::NoComputedKey | Self::NoElement => true,
            Self::TooLong(_)
            | Self::TooDeep
            | Self::TooManyLoops
            | Self::RepeatedMatches
            | Self::TooManyMatches
            | Self::ComputedPattern
            | Self::Pattern { .. }
            | Self::Object(_)
            | Self::Function { .. }
            | Self::Literal(_)
            | Self::Mixed { .. }
            | Self::Panicked
            | Self::Syntax(_)
            | Self::Unknown { .. }
            | Self::NoBool(_)
            | Self::TooExpensive
            | Self::NoOverload { .. }
            | Self::Value(_) => false,
        }
    }
}
