//! What an interface segments on its way out, and merges on its way in.

use std::{net::SocketAddr, process::Command, time::Duration};

use anyhow::{Result, ensure};
use chaos_api::Counts;
use chaos_tests::{
    cgroup::TestCgroup,
    clock::is_emulated,
    job::{TcpReceive, TcpSend},
    netns::TestNetns,
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames, has_line},
    pair::Pair,
};

const BYTES: u64 = 2_000_000;

/// Fewer segments than that it does not take: 1448 bytes are in one at most.
const SEGMENTS: u64 = BYTES / 1448;

const VERBS: [&str; 5] =
    ["drop every 50th", "corrupt every 50th", "duplicate every 10th", "delay 20ms", "limit 1gbit"];

/// Whether the interfaces of both ends segment and merge (ethtool(8)).
fn offload(pair: &Pair, on: bool) -> Result<()> {
    for netns in [&pair.client_netns, &pair.server_netns] {
        set(netns, if on { "on" } else { "off" })?;
    }
    Ok(())
}

fn set(netns: &TestNetns, state: &str) -> Result<()> {
    let mut ethtool = netns.command("ethtool");
    ethtool.args(["-K", "eth0", "tso", state, "gso", state, "gro", state]);
    let output = ethtool.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Sends a stream, which arrives whole.
fn stream(pair: &Pair, bind: SocketAddr, target: &TestCgroup, fault: &str) -> Result<Counts> {
    let receiver = Victim::start(TcpReceive { bind }, pair.server())?;
    let fault = format!("{fault} tcp to port {}", receiver.address().port());
    let agent = Agent::armed(&pair.claim, target, &fault)?;
    let timeout = Duration::from_secs(20);
    let send = TcpSend { to: receiver.address(), bytes: BYTES, timeout };
    let sent = Victim::run(send, pair.client())?;
    let received = receiver.report()?;
    let counts = agent.counts(target, 0)?;
    println!("{fault}, {bind}: {counts:?}");
    assert_eq!((sent.bytes, sent.error), (BYTES, None), "{fault}, {bind}");
    let arrived = (received.bytes, received.wrong_bytes, received.error);
    assert_eq!(arrived, (BYTES, 0, None), "{fault}, {bind}");
    assert!(counts.injected > 0, "{fault}, {bind}: {counts:?}");
    assert_eq!(counts.lost, 0, "{fault}, {bind}: {counts:?}");
    Ok(counts)
}

#[test]
fn a_stream_arrives_whole_in_segments_or_not() -> Result<()> {
    let ethtool = Command::new("ethtool").arg("--version").output();
    require!("ethtool"; ethtool.map(drop));
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for on in [true, false] {
        offload(&pair, on)?;
        for bind in pair.addresses() {
            for (direction, target) in
                [("egress", &pair.client_cgroup), ("ingress", &pair.server_cgroup)]
            {
                for verb in VERBS {
                    let fault = format!("{verb} {direction}");
                    let counts = stream(&pair, bind, target, &fault)?;
                    // What waits for acknowledgements is sent many segments at once, unless an
                    // emulated processor writes more slowly than they come. The kernel divides
                    // them behind our programs, whoever does it for the interface, and they
                    // arrive as they were sent.
                    let is_whole = counts.matched < SEGMENTS;
                    if direction == "ingress" && !on && !verb.starts_with("drop") {
                        assert!(!is_whole, "{fault}, in segments: {counts:?}");
                    } else if verb == "delay 20ms" && !is_emulated() {
                        assert!(is_whole, "{fault}, as a whole: {counts:?}");
                    }
                }
            }
        }
    }
    Ok(())
}
