//! What is said over the socket.

use std::net::IpAddr;

use chaos_api::{ArmedId, Ended, TargetReport, TargetSpec};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Of the whole conversation. An agent refuses requests of another version.
pub const VERSION: u32 = 1;

/// Bytes of the longest request, its newline included.
pub const MAX_REQUEST: usize = 256 * 1024;

/// One line to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub version: u32,
    pub command: Command,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Command {
    List,
    /// By its id, or the name of its target.
    Show {
        id: ArmedId,
    },
    /// Arms a target under a new id. `faults` is a text of the fault language or its YAML form,
    /// armed whole or not at all.
    Arm {
        target: TargetSpec,
        faults: String,
        /// Also where the target holds pods and is none itself.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
        /// In place of something that a client has armed on the same cgroup, under its id: what stays the same goes
        /// on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replace: Option<Replaced>,
        /// Armed again where the target comes back: a unit that is started again, a cgroup that is made anew.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        follow: bool,
    },
    /// By its id, or the name of its target.
    Disarm {
        id: ArmedId,
    },
    /// Disarms everything.
    Halt,
    /// Everything that happens from now on, or what happens to one target, by its id or its name, until it
    /// is disarmed.
    Follow {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ArmedId>,
    },
}

/// What is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Replaced {
    /// The only thing that clients have armed there; nothing, if there is none.
    Only,
    /// What has this id.
    Id(ArmedId),
}

/// One line from the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    pub version: u32,
    pub answer: Answer,
}

/// The answer to a [`Command`]; `Follow` gets `Following`, then `Event`s until the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    Targets(Vec<TargetReport>),
    Target(TargetReport),
    Armed(TargetReport),
    Disarmed(Ended),
    Halted(Vec<Ended>),
    Following,
    Event(Event),
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// The line is no request, is too long, or did not come in time.
    Malformed,
    /// A request of another protocol version.
    Version,
    /// Not for this user.
    Forbidden,
    /// Too many clients at once.
    Busy,
    /// No target is armed under this id or name, or several under this name.
    UnknownId,
    /// The target cannot be found, or is never a target.
    Target,
    /// The text has no fault, or is wrong.
    Faults,
    /// The planner refuses a fault on this kernel.
    Plan,
    /// What the node allows is used up.
    Policy,
    /// The kernel refused, or the agent is shutting down.
    Failed,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    Injected(Injection),
    /// A target is no longer armed.
    Ended(Ended),
    /// So many injections are missing here: too many came at once, or the client was too slow.
    /// Without an id it is not known of which target, and ends may be missing as well.
    Lost {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ArmedId>,
        number: u64,
    },
}

/// One thing that was done to a victim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injection {
    pub at: Timestamp,
    pub id: ArmedId,
    pub target: String,
    /// The canonical sentence.
    pub fault: String,
    /// What it was done to: `egress packet`, `connect`.
    pub event: String,
    pub protocol: String,
    /// Missing where the event has no addresses.
    pub source: Option<Endpoint>,
    pub destination: Option<Endpoint>,
    /// The name of the errno that the caller was given; missing for packets.
    pub errno: Option<String>,
    /// Counted only; nothing was done.
    pub shadow: bool,
}

/// An address, and the port where there is one and it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    pub address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", std::net::SocketAddr::new(self.address, port)),
            None => write!(f, "{}", self.address),
        }
    }
}

impl Request {
    pub fn new(command: Command) -> Self {
        Self { version: VERSION, command }
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { version: VERSION, answer }
    }
}

impl Refusal {
    pub(super) fn new(kind: RefusalKind, message: impl ToString) -> Self {
        Self { kind, message: message.to_string() }
    }
}
