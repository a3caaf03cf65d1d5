//! Asks what must hold while pods are broken, and judges the answers.
//!
//! *Pass*, *fail* and *error* are three things. A service that does not answer its users is broken, which is a *fail* of
//! `http` and `tcp`. A question that has no answer says nothing about the service: that is an *error*, and nobody may take
//! it for the one or the other.
//!
//! | what came back | `http` | `tcp` | `prometheus`, `alertmanager`, `kubernetes` |
//! |---|---|---|---|
//! | an answer | by `expect` | by `expect` | by `expect` |
//! | timeout, connection refused or reset, host unreachable | fail | fail, or by an `expect` with `connected` | error |
//! | an answer that breaks off | fail | | error |
//! | a name without addresses, an address that is not allowed | error | error | error |
//! | a certificate that is not trusted, no TLS, no HTTP | error | | error |
//! | headers or a body that are too long | error | | error |
//! | no JSON, a field that is missing, types that do not go together | error | | error |
//! | no data, NaN, several series where `value` is used, no object | | | error |
//! | something that may not be read | error (a Secret) | | error |
//!
//! Strangers name the hosts. A name is resolved, each of its addresses is checked against the allowed [`Networks`], and
//! the connection is made to the address that was checked. Redirects are not followed, bodies not unpacked, and everything
//! is bounded in time and memory: the steps of an expression, the values in an answer, the bytes of all answers at a time.
//! Answers are judged on threads of their own. An error has no text of the answer, except what Prometheus and Alertmanager
//! say about a query.

mod account;
mod alertmanager;
mod asker;
mod connection;
mod duration;
mod exchange;
mod expectation;
mod http_probe;
mod json;
mod json_api;
mod judging;
mod kubernetes;
mod ledger;
mod location;
mod mistakes;
mod networks;
mod prometheus;
mod question;
mod readiness;
mod resolver;
mod resource;
mod room;
mod sample;
mod secret;
mod server;
mod session;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod trouble;

pub use asker::{Asker, Asking, Settings};
pub use duration::longest;
pub use json_api::{JsonApi, JsonApiError, JsonCall, JsonReply, JsonVerb, ServerUrl};
pub use ledger::judge_ledger;
pub use mistakes::mistakes;
pub use networks::Networks;
pub use sample::{Outcome, Sample};
