//! What the client does, and what it sees.

use std::{net::SocketAddr, time::Duration};

use anyhow::Result;
use chaos_tests::{
    job::{Call, Repeated, Sunk, UdpSend, UdpSink},
    process::Place,
    tally::Tally,
    victim::Victim,
};

/// After each datagram and each connect.
const PAUSE: Duration = Duration::from_millis(1);
const DATAGRAMS: u64 = 1500;
const CONNECTS: u64 = 1000;
/// Of a connect that gets no answer.
const TIMEOUT: Duration = Duration::from_millis(250);

/// A client's work of about two seconds.
#[derive(Clone, Copy)]
pub enum Traffic {
    /// Datagrams to a receiver that checks every byte.
    Datagrams,
    /// TCP connections, one after the other.
    Connects,
}

/// What one process saw.
pub struct Seen {
    pub text: String,
    /// Operations that did not go as they should.
    pub broken: u64,
}

impl Seen {
    /// What was sent, and what arrived of it.
    pub fn of_datagrams(sent: &Tally, sunk: &Sunk) -> Self {
        let mut text = format!("{} datagrams sent, {} arrived", sent.ok, sunk.received);
        if sunk.corrupted > 0 {
            text.push_str(&format!(", {} of them with wrong bytes", sunk.corrupted));
        }
        let lost = sent.ok.saturating_sub(sunk.received);
        Self { text, broken: lost + sunk.corrupted + sent.failed() }
    }

    pub fn of_connects(tally: &Tally) -> Self {
        Self::of_calls("connects", "established", tally)
    }

    /// What was tried, and what became of it where it succeeded.
    pub fn of_calls(what: &str, done: &str, tally: &Tally) -> Self {
        let mut text = format!("{} {what}, {} {done}", tally.attempts(), tally.ok);
        for (errno, number) in &tally.errors {
            text.push_str(&format!(", {number} {errno}"));
        }
        Self { text, broken: tally.failed() }
    }
}

/// Work under way.
pub enum Running {
    Datagrams { sink: Victim<UdpSink>, sender: Victim<UdpSend> },
    Connects(Victim<Call>),
}

/// From where to where.
#[derive(Clone, Copy)]
pub struct Route<'a> {
    pub client: Place<'a>,
    pub server: Place<'a>,
    /// The server's address, with port 0.
    pub address: SocketAddr,
    /// Where the server accepts connections.
    pub tcp: SocketAddr,
}

impl Traffic {
    /// Starts the work.
    pub fn start(self, route: Route<'_>) -> Result<Running> {
        let Route { client, server, address, tcp } = route;
        match self {
            Self::Datagrams => {
                let sink = Victim::start(UdpSink { bind: address }, server)?;
                let send = UdpSend { interval: PAUSE, ..UdpSend::new(sink.address(), DATAGRAMS) };
                let sender = Victim::start(send, client)?;
                Ok(Running::Datagrams { sink, sender })
            }
            Self::Connects => {
                let what = Repeated::Connect { to: tcp, nonblocking: false, timeout: TIMEOUT };
                let call = Call { interval: PAUSE, ..Call::new(what, CONNECTS) };
                Ok(Running::Connects(Victim::start(call, client)?))
            }
        }
    }
}

impl Running {
    /// Waits until the work is done.
    pub fn finish(self) -> Result<Seen> {
        match self {
            Self::Datagrams { sink, sender } => {
                let sent = sender.report()?.total();
                let sunk = sink.stop()?;
                Ok(Seen::of_datagrams(&sent, &sunk))
            }
            Self::Connects(client) => Ok(Seen::of_connects(&client.report()?.total())),
        }
    }
}
