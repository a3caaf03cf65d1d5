//! The other end: a verb that talks to a running agent.

use std::{
    io::{self, BufRead, BufReader, ErrorKind, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    time::Duration,
};

use chaos_api::ArmedId;
use thiserror::Error;

use super::protocol::{Answer, Command, Event, Refusal, Reply, Request, VERSION};

/// How long an agent may take to answer. It arms in well under a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why a verb got no answer to its question.
#[derive(Debug, Error)]
pub enum ClientError {
    #[error(
        "no agent listens at {path}; start one with `chaos-agent agent --standalone`, or say with --socket \
         where yours listens"
    )]
    NoAgent { path: PathBuf },
    #[error("you may not talk to the agent at {path}; only root and the agent's own user may")]
    Denied { path: PathBuf },
    #[error("the agent at {path} has not answered for {} s; is it stopped?", PATIENCE.as_secs())]
    Silent { path: PathBuf },
    #[error("the agent at {path} has gone")]
    Gone { path: PathBuf },
    #[error("{path} does not speak as an agent does: {reason}")]
    NotAnAgent { path: PathBuf, reason: String },
    #[error("talk to the agent at {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Refused(#[from] Refusal),
}

/// A conversation with an agent.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    path: PathBuf,
}

impl Client {
    pub fn connect(path: &Path) -> Result<Self, ClientError> {
        let path = path.to_owned();
        let connected = UnixStream::connect(&path).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => Ok(Self { stream: BufReader::new(stream), path }),
            Err(error) => Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NoAgent { path },
                ErrorKind::PermissionDenied => ClientError::Denied { path },
                _ => ClientError::Io { path, source: error },
            }),
        }
    }

    /// Asks and waits for the answer; what the agent refuses is an error.
    pub fn ask(&mut self, command: Command) -> Result<Answer, ClientError> {
        let mut line = serde_json::to_vec(&Request::new(command))
            .map_err(|error| self.failed(error.into()))?;
        line.push(b'\n');
        if let Err(error) = self.stream.get_mut().write_all(&line) {
            // It may have said why before it hung up.
            return match self.read() {
                Ok(Answer::Refused(refusal)) => Err(refusal.into()),
                _ => Err(self.failed(error)),
            };
        }
        match self.read()? {
            Answer::Refused(refusal) => Err(refusal.into()),
            answer => Ok(answer),
        }
    }

    /// Everything that happens from now on, or what happens to one target until it is disarmed.
    pub fn follow(mut self, id: Option<ArmedId>) -> Result<Events, ClientError> {
        match self.ask(Command::Follow { id })? {
            Answer::Following => {}
            other => return Err(self.unexpected(&other)),
        }
        let unbounded = self.stream.get_ref().set_read_timeout(None);
        unbounded.map_err(|error| self.failed(error))?;
        Ok(Events { client: self })
    }

    /// An answer to something else than was asked.
    pub fn unexpected(&self, answer: &Answer) -> ClientError {
        self.not_an_agent(format!("{answer:?} is no answer to this request"))
    }

    fn read(&mut self) -> Result<Answer, ClientError> {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).map_err(|error| self.failed(error))?;
        if length == 0 {
            return Err(ClientError::Gone { path: self.path.clone() });
        }
        let Reply { version, answer } =
            serde_json::from_str(&line).map_err(|error| self.not_an_agent(error.to_string()))?;
        // An agent of another version says so.
        if version == VERSION || matches!(answer, Answer::Refused(_)) {
            return Ok(answer);
        }
        let spoken = format!("it speaks version {version} of the protocol, not {VERSION}");
        Err(self.not_an_agent(spoken))
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Silent { path },
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => ClientError::Gone { path },
            _ => ClientError::Io { path, source },
        }
    }

    fn not_an_agent(&self, reason: String) -> ClientError {
        ClientError::NotAnAgent { path: self.path.clone(), reason }
    }
}

/// Events, one after the other, until the agent says no more.
#[derive(Debug)]
pub struct Events {
    client: Client,
}

impl Iterator for Events {
    type Item = Result<Event, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.client.read() {
            Ok(Answer::Event(event)) => Some(Ok(event)),
            Ok(Answer::Refused(refusal)) => Some(Err(refusal.into())),
            Ok(other) => Some(Err(self.client.unexpected(&other))),
            Err(ClientError::Gone { .. }) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
