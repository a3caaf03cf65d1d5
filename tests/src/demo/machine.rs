//! Two hosts on this machine, and one agent for each fault.

use std::path::Path;

use anyhow::Result;
use chaos_tests::machine::Quiet;

use crate::{
    agent::{Agent, Attempt},
    hosts::Hosts,
    print, recovery, residue,
    traffic::Traffic,
};

/// A sentence, what it does in words, and what the client does meanwhile.
struct Act {
    what: &'static str,
    fault: String,
    traffic: Traffic,
}

/// Whether victim and kernel agreed, nobody else was touched and nothing was left.
pub fn run(agent: &Path) -> Result<bool> {
    let quiet = Quiet::acquire()?;
    let hosts = Hosts::new(&quiet)?;
    let before = residue::take(&quiet, &hosts)?;
    print::scene(&hosts, agent);

    let mut agrees = healthy(&hosts)?;
    for act in acts(&hosts) {
        agrees &= perform(agent, &hosts, &act)?;
    }
    agrees &= healthy(&hosts)?;
    recovery::kill_the_agent(agent, &hosts)?;
    let clean = residue::report(&quiet, &hosts, &before)?;
    Ok(agrees && clean)
}

fn acts(hosts: &Hosts) -> [Act; 5] {
    let port = hosts.tcp_port();
    [
        Act {
            what: "packet loss",
            fault: "drop 30% egress udp".to_owned(),
            traffic: Traffic::Datagrams,
        },
        Act {
            what: "a service that refuses half of its connections",
            fault: format!("fail connect with ECONNREFUSED 50% to port {port}"),
            traffic: Traffic::Connects,
        },
        Act {
            what: "damage that no checksum catches",
            fault: "corrupt 10% silent egress udp".to_owned(),
            traffic: Traffic::Datagrams,
        },
        Act {
            what: "a partition",
            fault: format!("drop egress to {}", hosts.network()),
            traffic: Traffic::Datagrams,
        },
        Act {
            what: "the same, as connections see it",
            fault: format!("drop egress to {}", hosts.network()),
            traffic: Traffic::FewConnects,
        },
    ]
}

fn healthy(hosts: &Hosts) -> Result<bool> {
    print::healthy();
    let mut fine = true;
    for traffic in [Traffic::Datagrams, Traffic::Connects] {
        let seen = traffic.start(hosts.route(&hosts.client))?.finish()?;
        print::victim("victim", &seen);
        fine &= seen.broken == 0;
    }
    Ok(fine)
}

/// Breaks the client for the length of its traffic. Whether the client and the kernel agree, and
/// the client's neighbour has seen nothing.
fn perform(agent: &Path, hosts: &Hosts, act: &Act) -> Result<bool> {
    print::fault(act.what, &act.fault);
    let armed = match Agent::inject(agent, &hosts.client, &act.fault)? {
        Attempt::Armed(agent) => agent,
        Attempt::Refused(why) => {
            print::refused(&why);
            return Ok(true);
        }
    };
    let neighbour = act.traffic.start(hosts.route(&hosts.neighbour))?;
    let victim = act.traffic.start(hosts.route(&hosts.client))?.finish()?;
    let neighbour = neighbour.finish()?;
    let counted = armed.stop()?;
    print::victim("victim", &victim);
    print::victim("neighbour", &neighbour);
    let agrees = print::kernel(&counted, &victim);
    Ok(agrees && neighbour.broken == 0)
}
