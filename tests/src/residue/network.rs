//! The interfaces, qdiscs and filters of a network namespace, as `ip` and `tc` list them.

use anyhow::{Context, Result, bail};

use super::Inventory;
use crate::netns::TestNetns;

pub(super) fn inventory(netns: &TestNetns) -> Result<Inventory> {
    let mut found = lines(netns, "ip", &["-oneline", "link", "show"])?;
    let qdiscs = lines(netns, "tc", &["qdisc", "show"])?;
    for device in qdiscs.iter().filter_map(|qdisc| device_with_hooks(qdisc)) {
        for direction in ["ingress", "egress"] {
            let filters = lines(netns, "tc", &["filter", "show", "dev", device, direction])?;
            let named = |filter| format!("{device} {direction} {filter}");
            found.extend(filters.into_iter().map(named));
        }
    }
    found.extend(qdiscs);
    Ok(found)
}

/// The device of a clsact qdisc, the kind that filters hang on; tcx programs are BPF links.
fn device_with_hooks(qdisc: &str) -> Option<&str> {
    let mut words = qdisc.strip_prefix("qdisc clsact ")?.split(' ');
    words.find(|word| *word == "dev")?;
    words.next()
}

fn lines(netns: &TestNetns, program: &str, arguments: &[&str]) -> Result<Inventory> {
    let output = netns
        .command(program)
        .args(arguments)
        .output()
        .with_context(|| format!("run {program} (package iproute2)"))?;
    if !output.status.success() {
        bail!("{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let listing = String::from_utf8(output.stdout).with_context(|| format!("read {program}"))?;
    Ok(listing.lines().map(|line| line.trim_end().to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::device_with_hooks;

    #[test]
    fn filters_are_looked_for_below_clsact_alone() {
        let clsact = "qdisc clsact ffff: dev eth0 parent ffff:fff1 ";
        assert_eq!(device_with_hooks(clsact), Some("eth0"));
        assert_eq!(device_with_hooks("qdisc noqueue 0: dev lo root refcnt 2"), None);
    }
}
