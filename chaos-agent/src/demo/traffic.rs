//! What the client does, and what it sees.

use serde::Serialize;

use super::{
    DemoError, Hosts,
    hosts::any_port,
    job::{Job, Report},
    process::{Place, Victim},
};
use crate::demo::SERVER;

/// After each datagram and each connection.
const PAUSE_US: u64 = 1_000;
const DATAGRAMS: u64 = 1500;
const CONNECTS: u64 = 1000;
const FEW_CONNECTS: u64 = 8;
const PINGS: u64 = 40;
/// Of a connection that gets no answer; shorter than TCP's second try.
const CONNECT_TIMEOUT_MS: u64 = 250;
const PING_TIMEOUT_MS: u64 = 2_000;

/// A client's work of about two seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Datagrams to a receiver that checks every byte.
    Datagrams,
    /// TCP connections, one after the other.
    Connects,
    /// The same with fewer, for when each has to time out.
    FewConnects,
    /// Datagrams that come back, one after the other.
    Pings,
}

/// What one process saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// In words.
    pub text: String,
    /// What was tried.
    pub tried: u64,
    /// What did not go as it should.
    pub broken: u64,
    /// The median of the round trips, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub median_us: Option<u64>,
}

/// Work under way.
pub struct Running {
    client: Victim,
    sink: Option<Victim>,
    traffic: Traffic,
}

impl Traffic {
    /// Starts the work of a process at `client`.
    ///
    /// # Errors
    /// When a process can't be started.
    pub fn start(self, hosts: &Hosts, client: Place<'_>) -> Result<Running, DemoError> {
        let connects = |count| Job::Connect {
            to: hosts.tcp,
            count,
            interval_us: PAUSE_US,
            timeout_ms: CONNECT_TIMEOUT_MS,
        };
        let mut sink = None;
        let job = match self {
            Self::Datagrams => {
                let bind = any_port(SERVER);
                let (server, to) = Victim::serve(hosts.at_server(), &Job::Sink { bind })?;
                sink = Some(server);
                Job::Send { to, count: DATAGRAMS, interval_us: PAUSE_US }
            }
            Self::Connects => connects(CONNECTS),
            Self::FewConnects => connects(FEW_CONNECTS),
            Self::Pings => Job::Ping {
                to: hosts.echo,
                count: Some(PINGS),
                interval_us: PAUSE_US,
                timeout_ms: PING_TIMEOUT_MS,
            },
        };
        Ok(Running { client: Victim::start(client, &job)?, sink, traffic: self })
    }
}

impl Running {
    /// Waits until the work is done.
    ///
    /// # Errors
    /// When a process ends without a report.
    pub fn finish(self) -> Result<Seen, DemoError> {
        let Self { client, sink, traffic } = self;
        let client = client.report()?;
        let sink = sink.map(Victim::stop).transpose()?;
        Ok(Seen::of(traffic, &client, sink.as_ref()))
    }
}

impl Seen {
    fn of(traffic: Traffic, client: &Report, sink: Option<&Report>) -> Self {
        let tried = client.ok + client.failures();
        let (mut text, mut broken) = match (traffic, sink) {
            (Traffic::Datagrams, Some(sink)) => {
                let arrived = sink.ok + sink.damaged;
                let mut text = format!("{} datagrams sent, {arrived} arrived", client.ok);
                if sink.damaged > 0 {
                    text += &format!(", {} of them with wrong bytes", sink.damaged);
                }
                (text, client.ok.saturating_sub(sink.ok))
            }
            (Traffic::Datagrams, None) => (format!("{} datagrams sent", client.ok), 0),
            (Traffic::Connects | Traffic::FewConnects, _) => {
                (format!("{tried} connects, {} established", client.ok), 0)
            }
            (Traffic::Pings, _) => {
                let median = client.median_us.unwrap_or_default() as f64 / 1_000.0;
                (format!("{tried} pings, {} answered, in {median:.1} ms each", client.ok), 0)
            }
        };
        for (errno, number) in &client.failed {
            text += &format!(", {number} {errno}");
        }
        broken += client.failures();
        Self { text, tried, broken, median_us: client.median_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_or_damaged_is_broken() {
        let sent = Report { ok: 1500, ..Report::default() };
        let sink = Report { ok: 1400, damaged: 60, ..Report::default() };
        let seen = Seen::of(Traffic::Datagrams, &sent, Some(&sink));
        assert_eq!(seen.text, "1500 datagrams sent, 1460 arrived, 60 of them with wrong bytes");
        assert_eq!((seen.tried, seen.broken), (1500, 100));
        let failed = [("ECONNREFUSED".to_owned(), 3)].into();
        let client = Report { ok: 5, failed, ..Report::default() };
        let seen = Seen::of(Traffic::Connects, &client, None);
        assert_eq!(seen.text, "8 connects, 5 established, 3 ECONNREFUSED");
        assert_eq!((seen.tried, seen.broken), (8, 3));
    }
}
