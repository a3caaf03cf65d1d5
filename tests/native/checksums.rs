//! What a namespace's network stack noticed by itself.

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result};
use chaos_tests::netns::TestNetns;

/// The counters of a namespace: `Udp.InCsumErrors`, `IpExt.InCsumErrors`, `Udp6InCsumErrors`.
pub struct Counters(BTreeMap<String, u64>);

impl Counters {
    pub fn read(netns: &TestNetns) -> Result<Self> {
        let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/net/{name}"));
        let [snmp, netstat, snmp6] = netns.run(|| ["snmp", "netstat", "snmp6"].map(read))?;
        let mut counters = BTreeMap::new();
        for table in [snmp, netstat] {
            add_pairs_of_lines(&table.context("read IPv4 counters")?, &mut counters);
        }
        for line in snmp6.context("read IPv6 counters")?.lines() {
            let mut words = line.split_whitespace();
            if let (Some(name), Some(value)) = (words.next(), words.next()) {
                counters.insert(name.to_owned(), value.parse().unwrap_or(0));
            }
        }
        Ok(Self(counters))
    }

    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// Packets discarded because a checksum was wrong, in whichever layer.
    pub fn checksum_errors(&self) -> u64 {
        ["IpExt.InCsumErrors", "Udp.InCsumErrors", "Tcp.InCsumErrors", "Udp6InCsumErrors"]
            .iter()
            .map(|name| self.of(name))
            .sum()
    }
}

/// `Ip: Forwarding DefaultTTL …` and below it `Ip: 1 64 …` (proc(5), `/proc/net/snmp`).
fn add_pairs_of_lines(table: &str, counters: &mut BTreeMap<String, u64>) {
    let lines: Vec<&str> = table.lines().collect();
    for [names, values] in lines.as_chunks::<2>().0 {
        let protocol = names.split(':').next().unwrap_or_default();
        let columns = names.split(' ').zip(values.split(' ')).skip(1);
        for (name, value) in columns {
            // Some are -1 ("no limit"); none of those is asked for.
            counters.insert(format!("{protocol}.{name}"), value.parse().unwrap_or(0));
        }
    }
}
