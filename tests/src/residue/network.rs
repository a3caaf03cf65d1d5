//! The interfaces, qdiscs and filters of a network namespace, as `ip` and `tc` list them.

use anyhow::{Context, Result, bail};

use super::Inventory;
use crate::netns::TestNetns;

pub(super) fn inventory(netns: &TestNetns) -> Result<Inventory> {
    let links = lines(netns, "ip", &["-oneline", "link", "show"])?;
    let mut found: Inventory = links.iter().map(|link| without_carrier(link)).collect();
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

/// An interface without what its other end does to it: the kernel takes note of that up to a second
/// later (before 6.9, `net/core/link_watch.c`).
fn without_carrier(link: &str) -> String {
    let mut words = Vec::new();
    let mut rest = link.split(' ');
    while let Some(word) = rest.next() {
        match word.strip_prefix('<').and_then(|flags| flags.strip_suffix('>')) {
            Some(flags) => {
                let of_others = ["LOWER_UP", "NO-CARRIER", "DORMANT"];
                words.extend(flags.split(',').filter(|flag| !of_others.contains(flag)));
            }
            None if word == "state" => drop(rest.next()),
            None => words.push(word),
        }
    }
    words.join(" ")
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
    use super::{device_with_hooks, without_carrier};

    #[test]
    fn an_interface_is_the_same_whatever_its_other_end_does() {
        let early = "2: eth0@if2: <NO-CARRIER,BROADCAST,UP> mtu 1500 qdisc noqueue state UNKNOWN mode DEFAULT";
        let late =
            "2: eth0@if2: <BROADCAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP mode DEFAULT";
        let known = "2: eth0@if2: BROADCAST UP mtu 1500 qdisc noqueue mode DEFAULT";
        assert_eq!([without_carrier(early), without_carrier(late)], [known, known]);
        let down = "2: eth0@if2: <BROADCAST> mtu 1500 qdisc noop state DOWN";
        assert_eq!(without_carrier(down), "2: eth0@if2: BROADCAST mtu 1500 qdisc noop");
    }

    #[test]
    fn filters_are_looked_for_below_clsact_alone() {
        let clsact = "qdisc clsact ffff: dev eth0 parent ffff:fff1 ";
        assert_eq!(device_with_hooks(clsact), Some("eth0"));
        assert_eq!(device_with_hooks("qdisc noqueue 0: dev lo root refcnt 2"), None);
    }
}
