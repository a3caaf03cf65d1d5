//! Connects to a host: resolves its name, checks each address, and connects to one that was checked.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use tokio::{net::TcpStream, time::timeout};

use crate::{networks::Networks, resolver::Resolver, trouble::Trouble};

/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 8;

/// Until when an answer is waited for.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    begun: Instant,
    whole: Duration,
}

impl Patience {
    /// Begins now.
    pub fn of(whole: Duration) -> Self {
        Self { begun: Instant::now(), whole }
    }

    pub fn whole(self) -> Duration {
        self.whole
    }

    pub fn left(self) -> Duration {
        self.whole.saturating_sub(self.begun.elapsed())
    }

    pub fn spent(self) -> Duration {
        self.begun.elapsed()
    }

    pub fn is_over(self) -> bool {
        self.left().is_zero()
    }
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'n> {
    /// Those in these networks.
    Networks(&'n Networks),
    /// Any: whoever runs the controller has named the host.
    Flag,
}

impl Trust<'_> {
    fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Networks(networks) => networks.contain(address),
            Self::Flag => true,
        }
    }
}

/// Connects to one of the addresses of a host, in the order in which they are resolved.
pub async fn connect(
    resolver: &Resolver,
    host: &str,
    port: u16,
    trust: Trust<'_>,
    patience: Patience,
) -> Result<TcpStream, Trouble> {
    let addresses = resolver.resolve(host, patience).await?;
    let allowed: Vec<SocketAddr> = addresses
        .iter()
        .filter(|address| trust.allows(**address))
        .map(|address| SocketAddr::new(*address, port))
        .collect();
    if let ([], Some(first)) = (allowed.as_slice(), addresses.first()) {
        return Err(Trouble::NotAllowed { host: host.to_owned(), address: *first });
    }
    let mut last = Trouble::Timeout(patience.whole());
    let count = allowed.len().min(MOST_ADDRESSES);
    for (number, address) in allowed.into_iter().take(count).enumerate() {
        // One that swallows packets leaves time for the others.
        let share = patience.left() / u32::try_from(count - number).unwrap_or(1);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = Trouble::of_io(&address.to_string(), error),
            Err(_) => last = Trouble::Timeout(patience.whole()),
        }
        if patience.is_over() {
            return Err(Trouble::Timeout(patience.whole()));
        }
    }
    Err(last)
}
