//! What is left at the end: nothing.

use std::time::Duration;

use anyhow::Result;
use chaos_ebpf_common::object::{MAPS, PROGRAMS};
use chaos_tests::{machine::Quiet, residue::Snapshot};

use crate::{hosts::Hosts, print};

/// The kernel frees what a killed process held a moment later.
const SOON: Duration = Duration::from_secs(5);

pub fn take(quiet: &Quiet, hosts: &Hosts) -> Result<Snapshot> {
    Snapshot::take(quiet, &[&hosts.client_netns, &hosts.server_netns])
}

/// Says what has appeared since `before`, and returns whether that is nothing.
pub fn report(quiet: &Quiet, hosts: &Hosts, before: &Snapshot) -> Result<bool> {
    let diff = before.settle(quiet, &[&hosts.client_netns, &hosts.server_netns], SOON)?;
    // Other programs of this machine go on meanwhile: systemd makes cgroups and loads programs.
    let appeared = diff.appeared.iter().filter(|thing| is_ours(thing));
    let left: Vec<&String> = appeared.chain(&diff.vanished).collect();
    print::residue(&left);
    Ok(left.is_empty())
}

/// Links are left out: one that is left keeps its program.
fn is_ours(thing: &str) -> bool {
    let mut names = PROGRAMS.iter().map(|(name, _)| *name).chain(MAPS);
    thing.starts_with("namespace ")
        || thing.contains("chaos")
        || thing.starts_with("bpf ") && names.any(|name| thing.split(' ').any(|word| word == name))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn what_others_do_meanwhile_is_not_ours() {
        assert!(is_ours("bpf program 7 skb_egress (CgroupSkb)"));
        assert!(is_ours("bpf map 9 LEDGER"));
        assert!(is_ours("namespace 0: qdisc clsact dev eth0"));
        assert!(is_ours("cgroup /sys/fs/cgroup/chaos-agent-1"));
        assert!(!is_ours("bpf program 8 sd_fw_egress (CgroupSkb)"));
        assert!(!is_ours("cgroup /sys/fs/cgroup/system.slice/cron.service"));
    }
}
