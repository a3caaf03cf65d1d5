//! `--socket`: where the agent listens.

use std::path::PathBuf;

use chaos_agent::control::{Client, ClientError, DEFAULT_SOCKET, Refusal, RefusalKind};

use super::failure::Failure;

/// Which agent
#[derive(Debug, clap::Args)]
pub struct SocketArg {
    /// The agent's control socket
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    pub socket: PathBuf,
}

impl SocketArg {
    pub fn connect(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket)
    }
}

/// What the user named wrongly is wrong usage, here as in the verbs that need no agent.
pub fn failure(error: ClientError) -> Failure {
    match error {
        ClientError::Refused(Refusal {
            kind: RefusalKind::Target | RefusalKind::Faults,
            message,
        }) => Failure::Usage(message),
        other => Failure::Runtime(other.into()),
    }
}
