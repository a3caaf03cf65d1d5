//! The faults that are shown, one after the other.

use chaos_api::Counts;
use serde::Serialize;

use super::{
    DemoError, Hosts, NETWORK,
    injector::{Attempt, Injector},
    traffic::{Seen, Traffic},
};

/// How long the client's datagrams are held, in milliseconds.
const HELD_MS: u64 = 50;

/// A sentence, what it does in words, and what the client does meanwhile.
#[derive(Debug, Clone)]
pub struct Act {
    pub what: &'static str,
    pub fault: String,
    pub traffic: Traffic,
    /// Nothing breaks, but takes as long at least.
    held_us: Option<u64>,
}

/// An act, and what came of it.
#[derive(Debug, Serialize)]
pub struct Performed {
    pub fault: String,
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of an act.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", untagged)]
pub enum Outcome {
    Done {
        victim: Seen,
        neighbour: Seen,
        kernel: Counts,
        /// The kernel counted what the victim saw, and the neighbour saw nothing.
        agrees: bool,
    },
    /// Why it can't be shown here.
    Refused { refused: String },
}

/// All of them.
pub fn acts(hosts: &Hosts) -> Vec<Act> {
    let act = |what, fault: String, traffic| Act { what, fault, traffic, held_us: None };
    let (tcp, echo) = (hosts.tcp.port(), hosts.echo.port());
    let partition = || format!("drop egress to {NETWORK}");
    vec![
        act("packet loss", "drop 30% egress udp".to_owned(), Traffic::Datagrams),
        act(
            "a service that refuses half of its connections",
            format!("fail connect with ECONNREFUSED 50% to port {tcp}"),
            Traffic::Connects,
        ),
        Act {
            held_us: Some(HELD_MS * 1_000),
            ..act(
                "a slow network",
                format!("delay {HELD_MS}ms egress udp to port {echo}"),
                Traffic::Pings,
            )
        },
        act(
            "damage that no checksum catches",
            "corrupt 10% silent egress udp".to_owned(),
            Traffic::Datagrams,
        ),
        act("a partition", partition(), Traffic::Datagrams),
        act("the same, as connections see it", partition(), Traffic::FewConnects),
    ]
}

impl Act {
    /// Breaks the client for the length of its traffic.
    ///
    /// # Errors
    /// When a process can't be started or does not report; a fault that is refused is an outcome.
    pub fn perform(&self, hosts: &Hosts) -> Result<Performed, DemoError> {
        let fault = self.fault.clone();
        let injector = match Injector::start(hosts.client.cgroup(), &fault)? {
            Attempt::Armed(injector) => injector,
            Attempt::Refused(refused) => {
                return Ok(Performed { fault, outcome: Outcome::Refused { refused } });
            }
        };
        let neighbour = self.traffic.start(hosts, hosts.at_client(&hosts.neighbour))?;
        let victim = self.traffic.start(hosts, hosts.at_client(&hosts.client))?.finish()?;
        let neighbour = neighbour.finish()?;
        let kernel = injector.stop()?.counts;
        let agrees = self.agrees(&victim, &neighbour, &kernel);
        Ok(Performed { fault, outcome: Outcome::Done { victim, neighbour, kernel, agrees } })
    }

    fn agrees(&self, victim: &Seen, neighbour: &Seen, kernel: &Counts) -> bool {
        let is_spared = neighbour.broken == 0
            && self.held_us.is_none_or(|held| neighbour.median_us.is_some_and(|took| took < held));
        let is_hit = match self.held_us {
            None => kernel.injected == victim.broken,
            Some(held) => {
                let is_held = victim.median_us.is_some_and(|took| took >= held);
                is_held && victim.broken == 0 && kernel.injected == victim.tried
            }
        };
        is_spared && is_hit
    }
}

/// What the client sees while nothing is armed.
///
/// # Errors
/// When a process can't be started or does not report.
pub fn healthy(hosts: &Hosts) -> Result<[Seen; 2], DemoError> {
    let look = |traffic: Traffic| traffic.start(hosts, hosts.at_client(&hosts.client))?.finish();
    Ok([look(Traffic::Datagrams)?, look(Traffic::Connects)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_victim_and_neighbour_agree_or_not() {
        let act =
            |held_us| Act { what: "", fault: String::new(), traffic: Traffic::Pings, held_us };
        let seen = |broken, median_us| Seen { tried: 40, broken, median_us, ..Seen::default() };
        let counts = |injected| Counts { injected, ..Counts::default() };
        let lossy = act(None);
        assert!(lossy.agrees(&seen(7, None), &seen(0, None), &counts(7)));
        assert!(!lossy.agrees(&seen(7, None), &seen(0, None), &counts(8)));
        assert!(!lossy.agrees(&seen(7, None), &seen(1, None), &counts(7)));
        let slow = act(Some(50_000));
        assert!(slow.agrees(&seen(0, Some(50_100)), &seen(0, Some(90)), &counts(40)));
        assert!(!slow.agrees(&seen(0, Some(49_000)), &seen(0, Some(90)), &counts(40)));
        assert!(!slow.agrees(&seen(0, Some(50_100)), &seen(0, Some(50_100)), &counts(40)));
        assert!(!slow.agrees(&seen(0, Some(50_100)), &seen(0, Some(90)), &counts(39)));
    }
}
