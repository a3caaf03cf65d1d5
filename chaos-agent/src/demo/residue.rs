//! What is left at the end: nothing.

use std::{
    collections::BTreeSet,
    thread,
    time::{Duration, Instant},
};

use chaos_engine::{
    cgroup::NetNs,
    kernel::{added_disciplines, loaded, map_ids, wait_for_maps},
};

use super::{DemoError, Hosts};

/// The kernel frees what a killed process held a moment later.
const SOON: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What there was of ours before the first fault: other agents may have armed something.
pub struct Residue {
    before: BTreeSet<String>,
    /// The ids of maps.
    maps: BTreeSet<u32>,
}

impl Residue {
    /// # Errors
    /// When the kernel does not say what it holds.
    pub fn look(hosts: &Hosts) -> Result<Self, DemoError> {
        Ok(Self { before: found(hosts)?, maps: map_ids()? })
    }

    /// What has appeared since and does not go away.
    ///
    /// # Errors
    /// When the kernel does not say what it holds.
    pub fn left(&self, hosts: &Hosts) -> Result<Vec<String>, DemoError> {
        wait_for_maps(&self.maps, SOON)?;
        let give_up = Instant::now() + SOON;
        loop {
            let left: Vec<String> = found(hosts)?.difference(&self.before).cloned().collect();
            if left.is_empty() || Instant::now() > give_up {
                return Ok(left);
            }
            thread::sleep(LOOK_AGAIN);
        }
    }
}

/// Programs, maps and links of ours, and what is on the hosts' networks.
fn found(hosts: &Hosts) -> Result<BTreeSet<String>, DemoError> {
    let mut found = loaded()?;
    for (host, network) in [("client", &hosts.client_network), ("server", &hosts.server_network)] {
        found.extend(on_network(host, network)?);
    }
    Ok(found)
}

fn on_network(host: &str, network: &NetNs) -> Result<Vec<String>, DemoError> {
    let interfaces = network.interfaces()?;
    let interfaces =
        interfaces.into_iter().map(|one| format!("interface {} of the {host}", one.name));
    let disciplines = network.enter_in_thread(added_disciplines)??;
    let disciplines = disciplines.into_iter().map(|kind| format!("qdisc {kind} of the {host}"));
    Ok(interfaces.chain(disciplines).collect())
}
