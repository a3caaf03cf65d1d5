//! The agent's local socket: list, show, arm, disarm, halt, follow.
//!
//! One JSON object a line in both directions. Only root and the agent's own user are served.
//! Nothing here can hold the keeper up: it is asked through a [`crate::Handle`], and each
//! connection waits for its own client.

mod arming;
mod client;
mod connection;
mod containers;
mod event;
mod follow;
mod following;
mod lines;
mod peer;
mod protocol;
mod server;
mod socket;
mod start_lock;

pub use arming::OWNER;
pub use client::{Client, ClientError, Events};
pub use containers::serve_runtimes;
pub use protocol::{
    Answer, Command, Endpoint, Event, Injection, MAX_REQUEST, Refusal, RefusalKind, Replaced,
    Reply, Request, VERSION,
};
pub use server::{Agent, serve};
pub use socket::{ControlSocket, SocketError};

/// Where an agent listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/chaos-agent/agent.sock";
