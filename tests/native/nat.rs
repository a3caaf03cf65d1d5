//! Translates addresses in a network namespace, by whichever iptables this machine has.

use anyhow::{Context, Result, ensure};
use chaos_tests::netns::TestNetns;

/// Has iptables or ip6tables do this to the table of translations, in its own words.
pub fn change(netns: &TestNetns, iptables: &str, rule: &str) -> Result<()> {
    let mut command = netns.command(iptables);
    command.args(["-w", "-t", "nat"]).args(rule.split_whitespace());
    let output =
        command.output().with_context(|| format!("start {command:?} (package iptables)"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {}", said.trim());
    Ok(())
}

/// Whether addresses can be translated here.
pub fn works() -> Result<(), String> {
    let netns = TestNetns::new().map_err(|error| error.to_string())?;
    ["iptables", "ip6tables"].into_iter().try_for_each(|iptables| {
        change(&netns, iptables, "-L").map_err(|error| format!("{error:#}"))
    })
}
