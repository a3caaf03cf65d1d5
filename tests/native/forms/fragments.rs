//! Datagrams that are longer than the interface takes.
//!
//! `cgroup_skb` sees them whole, tcx in pieces, of which the first alone has ports.

use std::{net::SocketAddr, thread::sleep, time::Duration};

use anyhow::Result;
use chaos_api::Counts;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Sunk, UdpSend, UdpSink},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames, has_line},
    checksums::Counters,
    pair::Pair,
};

const DATAGRAMS: u64 = 80;

/// Three pieces on an interface that takes 1500 bytes at a time.
const SIZE: usize = 4_000;
const PIECES: u64 = 3;

/// While one is held, fewer than 64 pieces of others overtake it: what more have overtaken a receiver
/// gives up (`net.ipv4.ipfrag_max_dist`).
const INTERVAL: Duration = Duration::from_millis(3);
const HELD: Duration = Duration::from_millis(30);

struct Seen {
    received: Sunk,
    counts: Counts,
    /// Pieces that came to the receiver's stack, and packets that it discarded for a checksum.
    pieces: u64,
    discarded: u64,
}

/// Sends datagrams in pieces under a fault, in which `PORT` stands for the receiver's.
fn send(pair: &Pair, bind: SocketAddr, target: &TestCgroup, fault: &str) -> Result<Seen> {
    send_every(INTERVAL, pair, bind, target, fault)
}

fn send_every(
    interval: Duration,
    pair: &Pair,
    bind: SocketAddr,
    target: &TestCgroup,
    fault: &str,
) -> Result<Seen> {
    let sink = Victim::start(UdpSink { bind }, pair.server())?;
    let fault = fault.replace("PORT", &sink.address().port().to_string());
    let agent = Agent::armed(&pair.claim, target, &fault)?;
    let before = Counters::read(&pair.server_netns)?;
    let send = UdpSend { size: SIZE, interval, ..UdpSend::new(sink.address(), DATAGRAMS) };
    let sent = Victim::run(send, pair.client())?.total();
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{fault}: {:?}", sent.errors);
    sleep(2 * HELD);
    let received = sink.stop()?;
    let after = Counters::read(&pair.server_netns)?;
    let since = |name: &str| after.of(name) - before.of(name);
    let counts = agent.counts(target, 0)?;
    println!("{fault}, {bind}: {} received, {counts:?}", received.received);
    Ok(Seen {
        received,
        counts,
        pieces: since("Ip.ReasmReqds") + since("Ip6ReasmReqds"),
        discarded: after.checksum_errors() - before.checksum_errors(),
    })
}

/// What each verb makes of datagrams in pieces, every 4th time.
fn check(seen: &Seen, verb: &str, what: &str) {
    let Seen { received, counts, pieces, discarded } = seen;
    let hits = counts.injected;
    assert_eq!((received.duplicates(), received.unrecognisable), (0, 0), "{what}");
    let expected = match verb {
        "drop" | "corrupt" => DATAGRAMS - hits,
        _ => DATAGRAMS,
    };
    assert_eq!(received.received, expected, "{what}: {counts:?}");
    match verb {
        "corrupt silent" => assert_eq!((received.corrupted, *discarded), (hits, 0), "{what}"),
        // A receiver has the copied piece already.
        "duplicate" => assert_eq!(*pieces, DATAGRAMS * PIECES + hits, "{what}"),
        "delay 30ms" => {
            let late: u64 = received.flows.values().map(|flow| flow.late).sum();
            assert!(late > 0, "{what}");
            assert_eq!(received.corrupted, 0, "{what}");
        }
        _ => assert_eq!(received.corrupted, 0, "{what}"),
    }
}

/// The families and directions, each on a wire of its own: what a receiver has of a datagram whose rest
/// does not come takes its memory for half a minute.
fn each(test: impl Fn(&Pair, SocketAddr, &str, &TestCgroup) -> Result<()>) -> Result<()> {
    for family in 0..2 {
        for direction in ["egress", "ingress"] {
            let pair = Pair::new()?;
            require!("frames", since 4, 5; has_frames(&pair.claim));
            require!("a delay line", since 5, 8; has_line(&pair.claim));
            let target = match direction {
                "egress" => &pair.client_cgroup,
                _ => &pair.server_cgroup,
            };
            test(&pair, pair.addresses()[family], direction, target)?;
        }
    }
    Ok(())
}

const VERBS: [&str; 5] = ["drop", "corrupt", "corrupt silent", "duplicate", "delay 30ms"];

#[test]
fn a_rule_with_ports_meets_the_first_piece_and_a_datagram_is_hit_once() -> Result<()> {
    each(|pair, bind, direction, target| {
        for verb in VERBS {
            let what = format!("{verb} every 4th {direction} udp to port PORT");
            let seen = send(pair, bind, target, &what)?;
            let counts = (seen.counts.matched, seen.counts.injected);
            assert_eq!(counts, (DATAGRAMS, DATAGRAMS / 4), "{what}, {bind}");
            check(&seen, verb, &format!("{what}, {bind}"));
        }
        Ok(())
    })
}

/// On its way out each piece is a frame of the target's; of what arrives only the first has a socket.
#[test]
fn a_rule_without_ports_meets_every_piece_that_leaves() -> Result<()> {
    each(|pair, bind, direction, target| {
        let leaves = direction == "egress";
        for verb in VERBS {
            let what = format!("{verb} every 4th {direction} udp");
            let seen = send(pair, bind, target, &what)?;
            let counts = &seen.counts;
            let frames = if leaves && verb != "drop" { PIECES } else { 1 } * DATAGRAMS;
            match verb {
                // A piece that is lost on its way out (of IPv6 every one but the first, which has the
                // checksum) takes with it those behind it, which are not sent.
                "corrupt" if leaves => assert!(counts.matched <= frames, "{what}: {counts:?}"),
                _ => assert_eq!(counts.matched, frames, "{what}, {bind}: {counts:?}"),
            }
            let unfit = counts.spared.get("unfit").copied().unwrap_or(0);
            assert_eq!(counts.injected + unfit, counts.matched / 4, "{what}, {bind}: {counts:?}");
            // The checksum of all is in the first.
            assert_eq!(unfit > 0, verb == "corrupt silent" && leaves, "{what}: {counts:?}");
            check(&seen, verb, &format!("{what}, {bind}"));
        }
        Ok(())
    })
}

#[test]
fn what_is_held_in_part_is_given_up_behind_many_others() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for bind in pair.addresses() {
        for (fault, is_held_in_part) in
            [("delay 30ms egress udp to port PORT", true), ("delay 30ms egress udp", false)]
        {
            let seen = send_every(Duration::ZERO, &pair, bind, &pair.client_cgroup, fault)?;
            let is_given_up = seen.received.received < DATAGRAMS;
            assert_eq!(is_given_up, is_held_in_part && bind.is_ipv4(), "{fault}, {bind}");
        }
    }
    Ok(())
}

/// Of flows nobody knows which a later piece belongs to.
#[test]
fn later_pieces_belong_to_no_flow() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let [bind, _] = pair.addresses();
    let seen = send(&pair, bind, &pair.client_cgroup, "duplicate 100% of flows egress udp")?;
    let Seen { counts, pieces, .. } = seen;
    assert_eq!((counts.matched, counts.injected), (PIECES * DATAGRAMS, DATAGRAMS), "{counts:?}");
    assert_eq!(counts.spared.get("fragment"), Some(&((PIECES - 1) * DATAGRAMS)), "{counts:?}");
    assert_eq!(pieces, (PIECES + 1) * DATAGRAMS);
    Ok(())
}
