//! Measures agent and controller, and serves what was measured over HTTP, as OpenMetrics, beside their health.
//!
//! Nothing is counted here that is counted elsewhere: what becomes of events is read from the ledgers, what becomes of
//! runs from their statuses. Pure functions make series of both; only [`server`] knows of sockets.

#![forbid(unsafe_code)]

mod agent;
#[cfg(feature = "controller")]
mod controller;
mod faults;
#[cfg(feature = "controller")]
mod fold;
mod health;
mod metric;
#[cfg(test)]
mod page;
mod server;

pub use agent::{AgentMeter, AgentPages};
#[cfg(feature = "controller")]
pub use controller::ControllerMeter;
pub use health::Health;
pub use metric::{Kind, Metric, Reading, Sample, Value};
pub use server::{Bounds, ListenError, Page, Pages, Server};
