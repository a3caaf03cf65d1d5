//! Says why there is no answer, and whether the service is broken by that or the question is.

use std::{io, net::IpAddr, time::Duration};

use thiserror::Error;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Trouble {
    #[error("timeout after {0:?}")]
    Timeout(Duration),
    #[error("{address} refuses the connection")]
    Refused { address: String },
    #[error("{address} breaks the connection off")]
    Reset { address: String },
    #[error("{address} cannot be reached: {why}")]
    Unreachable { address: String, why: io::Error },
    #[error("the answer of {address} breaks off")]
    CutOff { address: String },
    #[error("`{host}` cannot be resolved: {why}; check the name, and the controller's DNS")]
    NotResolved { host: String, why: String },
    #[error(
        "`{host}` is {address}, which probes may not connect to; list a network in the controller's `--probe-networks`"
    )]
    NotAllowed { host: String, address: IpAddr },
    #[error("connect to {address}: {why}")]
    Connect { address: String, why: io::Error },
    #[error("the certificate of {host} is not trusted: {why}")]
    Certificate { host: String, why: String },
    #[error("TLS with {host}: {why}; does it speak HTTPS?")]
    Tls { host: String, why: String },
    #[error("the answer of {address} is no HTTP, or has too many headers: {why}")]
    NoHttp { address: String, why: String },
    #[error("the body is longer than {most} bytes; ask for less, or give the probe more `bytes`")]
    TooLong { most: usize },
    #[error(
        "there is no room for the answer beside others within {0:?}; ask less often, or for fewer `bytes`"
    )]
    NoRoom(Duration),
    #[error("{0}")]
    Question(String),
}

impl Trouble {
    /// Whether the service does not answer: its users see that, too. Anything else is wrong with the question, or with
    /// the way to the service.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Timeout(_)
            | Self::Refused { .. }
            | Self::Reset { .. }
            | Self::Unreachable { .. }
            | Self::CutOff { .. } => true,
            Self::NotResolved { .. }
            | Self::NotAllowed { .. }
            | Self::Connect { .. }
            | Self::Certificate { .. }
            | Self::Tls { .. }
            | Self::NoHttp { .. }
            | Self::TooLong { .. }
            | Self::NoRoom(_)
            | Self::Question(_) => false,
        }
    }

    /// Of a connection, or of an attempt to make one.
    pub fn of_io(address: &str, error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        let address = address.to_owned();
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused { address },
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
                Self::Reset { address }
            }
            Kind::UnexpectedEof => Self::CutOff { address },
            Kind::TimedOut | Kind::HostUnreachable => Self::Unreachable { address, why: error },
            _ => Self::Connect { address, why: error },
        }
    }

    /// Of an exchange over HTTP.
    pub fn of_http(address: &str, error: &hyper::Error) -> Self {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(one) = cause {
            if let Some(io) = one.downcast_ref::<io::Error>() {
                return Self::of_io(address, io.kind().into());
            }
            cause = one.source();
        }
        let address = address.to_owned();
        if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
            return Self::CutOff { address };
        }
        Self::NoHttp { address, why: error.to_string() }
    }
}
