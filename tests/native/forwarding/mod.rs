//! Traffic that the target's network namespace only forwards is nobody's there: whatever is armed, it
//! goes by as if nothing were.

mod echo;
mod scene;

use std::{
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use chaos_api::Counts;
use chaos_tests::{machine::Shared, require};
use echo::{Transport, exchange};
use scene::{NEIGHBOURS, Scene, Way, targets_own};

use crate::{
    agent::{Agent, has_frames, has_line},
    dns::question,
    nat,
};

/// Also on an emulated machine, under load.
const SOON: Duration = Duration::from_secs(20);
const A_WHILE: Duration = Duration::from_millis(300);

/// Whether a datagram comes back as it was within [`A_WHILE`] from the target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Echoes {
    Come,
    DoNot,
    /// As it happens.
    May,
}

/// All verbs on frames, such that whatever one of them acts on is noticed.
const VERBS: [(&str, Echoes); 9] = [
    ("corrupt ingress", Echoes::DoNot),
    ("corrupt silent ingress", Echoes::DoNot),
    ("delay 60s ingress", Echoes::DoNot),
    ("reorder by 10s ingress", Echoes::DoNot),
    ("limit 10kbit ingress", Echoes::May),
    ("duplicate ingress", Echoes::Come),
    ("reset ingress tcp", Echoes::Come),
    ("fail dns with TIMEOUT for *", Echoes::DoNot),
    ("delay dns by 60s for *", Echoes::DoNot),
];

/// Datagrams are questions for a name, and come from the port of name servers, so that their echoes are
/// sent to it. No two are the same.
fn datagram() -> Vec<u8> {
    static NUMBER: AtomicU16 = AtomicU16::new(0);
    let mut question = question("www.example.com", 1, true);
    question[..2].copy_from_slice(&NUMBER.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    question
}

/// The router's neighbours talk to each other through it.
fn forward(scene: &Scene, way: Way, fault: &str) -> Result<()> {
    for to in way.destinations() {
        for transport in [Transport::Tcp, Transport::Udp] {
            // More than one, as a verb may let the first pass.
            for _ in 0..3 {
                exchange(&scene.client, transport, to, NEIGHBOURS, &datagram(), SOON)
                    .with_context(|| format!("{fault}: {way:?}"))?;
            }
        }
    }
    Ok(())
}

/// The client talks to the target itself. Whether its datagram came back as it was.
fn talk_to_target(scene: &Scene, to: SocketAddr) -> Result<bool> {
    let datagram = datagram();
    let came = exchange(&scene.client, Transport::Udp, to, NEIGHBOURS, &datagram, A_WHILE).is_ok();
    // Whatever comes of it, its first segment arrives.
    let _ = scene.client.run(|| TcpStream::connect_timeout(&to, A_WHILE))?;
    Ok(came)
}

/// For each fault what is forwarded, and then, so that this can fail, what is the target's own.
fn forward_under_each(shadow: bool) -> Result<()> {
    let claim = Shared::acquire()?;
    require!("frames", since 4, 5; has_frames(&claim));
    require!("a delay line", since 5, 8; has_line(&claim));
    require!("iptables"; nat::works());
    let scene = Scene::new(claim)?;
    for way in Way::ALL {
        forward(&scene, way, "nothing armed")?;
    }
    for (verb, echoes) in VERBS {
        let fault = format!("{}{verb}", if shadow { "shadow " } else { "" });
        let agent = Agent::armed(&scene.claim, &scene.target, &fault)?;
        for way in Way::ALL {
            forward(&scene, way, &fault)?;
        }
        let mut before = agent.counts(&scene.target, 0)?;
        assert_eq!(before.matched, 0, "{fault}: {before:?}");
        for to in targets_own() {
            let came = talk_to_target(&scene, to)?;
            let after = agent.counts(&scene.target, 0)?;
            let done = |counts: &Counts| if shadow { counts.shadowed } else { counts.injected };
            assert!(done(&after) > done(&before), "{fault}, {to}: {after:?}");
            match echoes {
                Echoes::May => {}
                Echoes::Come | Echoes::DoNot => {
                    assert_eq!(came, shadow || echoes == Echoes::Come, "{fault}, {to}: {after:?}")
                }
            }
            before = after;
        }
    }
    Ok(())
}

#[test]
fn what_is_forwarded_is_nobodys() -> Result<()> {
    forward_under_each(false)
}

#[test]
fn what_is_forwarded_is_nobodys_in_the_shadow() -> Result<()> {
    forward_under_each(true)
}
