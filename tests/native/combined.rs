//! Two verbs in one target: by count, each does what it does alone.

mod answers;
mod apart;
mod pairs;

use std::time::Duration;

use anyhow::Result;
use chaos_api::Counts;
use chaos_tests::{
    cgroup::TestCgroup,
    job::{Call, Repeated, Sunk, TcpServe, UdpSend, UdpSink},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames},
    pair::Pair,
};

const DATAGRAMS: u64 = 3_000;

/// The faults, each of which hits every so many packets.
struct Both {
    counts: [Counts; 2],
    received: Sunk,
}

/// Sends [`DATAGRAMS`] from the client to the server under two faults, of which one or the other
/// side is the target.
fn send(pair: &Pair, target: &TestCgroup, direction: &str, verbs: [&str; 2]) -> Result<Both> {
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let port = sink.address().port();
    let [first, second] = verbs.map(|verb| format!("{verb} {direction} udp to port {port}"));
    let agent = Agent::armed(&pair.claim, target, &format!("{first}\n{second}"))?;
    let sent = Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pair.client())?.total();
    assert_eq!((sent.ok, sent.failed()), (DATAGRAMS, 0), "{:?}", sent.errors);
    let received = sink.stop()?;
    Ok(Both { counts: [agent.counts(target, 0)?, agent.counts(target, 1)?], received })
}

#[test]
fn lost_and_damaged() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for verbs in [
        ["drop every 3rd", "corrupt silent every 5th"],
        ["corrupt silent every 5th", "drop every 3rd"],
    ] {
        let lost_by = usize::from(verbs[0].starts_with("corrupt"));
        for (direction, target) in
            [("egress", &pair.client_cgroup), ("ingress", &pair.server_cgroup)]
        {
            let Both { counts, received } = send(&pair, target, direction, verbs)?;
            let (lost, damaged) = (&counts[lost_by], &counts[1 - lost_by]);
            assert_eq!((lost.matched, lost.injected), (DATAGRAMS, DATAGRAMS / 3));
            // What leaves meets `drop` first, what arrives meets it last.
            let met = if direction == "egress" { DATAGRAMS * 2 / 3 } else { DATAGRAMS };
            assert_eq!((damaged.matched, damaged.injected), (met, met / 5), "{direction}");
            assert_eq!(received.received, DATAGRAMS - lost.injected, "{direction}");
            // Of those that arrive every 15th is damaged and lost.
            assert_eq!(received.corrupted, DATAGRAMS * 2 / 3 / 5, "{direction}");
        }
    }
    Ok(())
}

#[test]
fn copies_of_what_is_lost_or_damaged() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for (direction, target) in [("egress", &pair.client_cgroup), ("ingress", &pair.server_cgroup)] {
        let leaves = direction == "egress";
        let verbs = ["duplicate every 2nd", "corrupt silent every 5th"];
        let Both { counts: [copied, damaged], received } = send(&pair, target, direction, verbs)?;
        assert_eq!((copied.matched, copied.injected), (DATAGRAMS, DATAGRAMS / 2), "{direction}");
        assert_eq!((damaged.matched, damaged.injected), (DATAGRAMS, DATAGRAMS / 5), "{direction}");
        assert_eq!(received.received, DATAGRAMS * 3 / 2, "{direction}");
        // Damage comes first: of what is damaged, every second is copied.
        assert_eq!(received.corrupted, DATAGRAMS / 5 * 3 / 2, "{direction}");

        let verbs = ["duplicate every 2nd", "drop every 3rd"];
        let Both { counts: [copied, lost], received } = send(&pair, target, direction, verbs)?;
        // What leaves is lost before it is copied; what arrives is copied before, and the copy is a
        // packet that can be lost, too.
        let met = if leaves { DATAGRAMS * 2 / 3 } else { DATAGRAMS };
        assert_eq!((copied.matched, copied.injected), (met, met / 2), "{direction}");
        let all = if leaves { DATAGRAMS } else { DATAGRAMS * 3 / 2 };
        assert_eq!((lost.matched, lost.injected), (all, all / 3), "{direction}");
        assert_eq!(received.received, DATAGRAMS + copied.injected - lost.injected, "{direction}");
    }
    Ok(())
}

/// What asks for no such name is left alone, and copied all the same.
#[test]
fn no_question_and_copied() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let sink = Victim::start(UdpSink { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let port = sink.address().port();
    let fault = format!(
        "fail dns with TIMEOUT for *.example.com to port {port}\nduplicate egress udp to port {port}"
    );
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    Victim::run(UdpSend::new(sink.address(), DATAGRAMS), pair.client())?;
    assert_eq!(sink.stop()?.received, 2 * DATAGRAMS);
    let [dns, copied] = [0, 1].map(|fault| agent.counts(&pair.client_cgroup, fault));
    assert_eq!((dns?.matched, copied?.injected), (0, DATAGRAMS));
    Ok(())
}

/// A connection that is refused reaches no later stage; one that is not has its segments copied.
#[test]
fn refused_or_copied() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    let server = Victim::start(TcpServe { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let to = server.address();
    let port = to.port();
    let fault =
        format!("duplicate egress tcp to port {port}\nreset 50% of flows tcp to port {port}");
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    let connect = Repeated::Connect { to, nonblocking: false, timeout: Duration::from_secs(10) };
    let client = Victim::run(Call::new(connect, 200), pair.client())?.total();
    let refused = client.failed_with("ECONNREFUSED");
    assert_eq!((client.ok, client.ok + refused), (server.stop()?.accepted, 200));
    let [copied, reset] = [0, 1].map(|fault| agent.counts(&pair.client_cgroup, fault));
    let (copied, reset) = (copied?, reset?);
    assert!((1..200).contains(&refused));
    assert_eq!(reset.injected, refused);
    // Both rules met every segment, but what is answered goes no further.
    assert_eq!((copied.matched, copied.injected), (reset.matched - refused, copied.matched));
    Ok(())
}
