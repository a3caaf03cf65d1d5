//! Evaluates expressions in CEL within bounds, because strangers write them, and as the API server of Kubernetes does.
//!
//! The crate `cel` reads an expression. What it gives is checked ([`Expression::compile`]) and evaluated here, because its
//! own evaluator gives other results than the API server's without a word: there, `value == 1` is false for `1.0`, a
//! field of a text is `false`, the size of a text counts bytes, and `duration('1s and more')` is a second. A table
//! (`tests/expressions.yaml`) has the result of the API server for each construct; the tests compare both with it.
//!
//! What the language has here is a part of what it has there. Anything else is refused when an expression is compiled.

mod cost;
mod duration;
mod error;
mod evaluate;
mod expression;
mod functions;
mod kind;
mod operators;
mod pattern;
mod variables;
mod walk;

pub use error::ExpressionError;
pub use expression::Expression;
pub use variables::Variables;
