//! Pairs with a verb that answers in the other end's place, `reset` and `fail dns`: what is answered
//! reaches no later stage, the rest is met there as if it were alone.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::Result;
use chaos_api::Counts;
use chaos_tests::{
    clock::is_emulated,
    job::{Call, Repeated, TcpServe},
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_frames, has_line},
    dns::{ask, question},
    name_server::NameServer,
    pair::Pair,
};

const QUESTIONS: u64 = 60;
const CONNECTS: u64 = 20;

/// The other verbs, how often they hit, and what becomes of what they hit: whether it is received,
/// and how often.
const OTHERS: [(&str, u64, u64); 6] = [
    ("drop", 5, 0),
    ("corrupt", 5, 0),
    ("duplicate", 4, 2),
    ("limit 100mbit", 1, 1),
    ("delay 20ms", 7, 1),
    ("reorder by 20ms", 7, 1),
];

fn sentence(verb: &str, every: u64, peer: &str) -> String {
    match every {
        1 => format!("{verb} egress {peer}"),
        every => format!("{verb} every {every} egress {peer}"),
    }
}

/// What a verb met and did; `None` where an emulated processor was away for so long that frames
/// passed unheld.
fn done(counts: &Counts) -> Option<(u64, u64)> {
    let is_unheld = is_emulated() && counts.spared.contains_key("unfit");
    (!is_unheld).then_some((counts.matched, counts.injected))
}

#[test]
fn questions_that_are_refused_and_others() -> Result<()> {
    const REFUSED_EVERY: u64 = 3;
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let ip = IpAddr::from(pair.server_end.v4);
    let server = NameServer::start(&pair.server_netns, ip, Ipv4Addr::LOCALHOST)?;
    for (verb, every, received) in OTHERS {
        let other = sentence(verb, every, "udp to port 53");
        let dns = format!("fail dns with NXDOMAIN for *.example.com every {REFUSED_EVERY}");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &format!("{dns}\n{other}"))?;
        let before = server.asked();
        let questions = vec![question("www.example.com", 1, false); QUESTIONS as usize];
        let patience = if is_emulated() { "2" } else { "0.2" };
        let answers = ask(pair.client(), server.address, patience, &questions)?;
        let codes: Vec<_> =
            answers.iter().filter_map(|one| Some(one.answer.as_ref()?[3] & 15)).collect();
        let [dns, other] = [0, 1].map(|fault| agent.counts(&pair.client_cgroup, fault));
        let (dns, other) = (dns?, other?);

        // What is lost on its way out is lost before it is asked about.
        let is_first = verb == "drop";
        let asked = if is_first { QUESTIONS - QUESTIONS / every } else { QUESTIONS };
        let refused = asked / REFUSED_EVERY;
        let met = if is_first { QUESTIONS } else { QUESTIONS - refused };
        assert_eq!((dns.matched, dns.injected), (asked, refused), "{verb}: {dns:?}");
        if let Some(done) = done(&other) {
            assert_eq!(done, (met, met / every), "{verb}: {other:?}");
        }
        let arrived = asked - refused;
        let arrived = match received {
            0 if is_first => arrived,
            0 => arrived - met / every,
            1 => arrived,
            _ => arrived + met / every,
        };
        assert_eq!(server.asked() - before, arrived, "{verb}");
        let told = codes.iter().filter(|code| **code == 3).count() as u64;
        // Of two answers to a copied question the second is taken for that to the next question.
        if received != 2 {
            assert_eq!((told, codes.len() as u64), (refused, refused + arrived), "{verb}");
        }
    }
    Ok(())
}

/// Of connections that are refused only the SYN is met by anybody, and by no later stage.
#[test]
fn connections_that_are_reset_and_others() -> Result<()> {
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for (verb, every, _) in OTHERS {
        let server = Victim::start(TcpServe { bind: pair.server_end.socket_v4(0) }, pair.server())?;
        let to = server.address();
        let peer = format!("tcp to port {}", to.port());
        let other = sentence(verb, every, &peer);
        let faults = format!("{other}\nreset 50% of flows egress {peer} seed 5");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &faults)?;
        let connect =
            Repeated::Connect { to, nonblocking: false, timeout: Duration::from_secs(20) };
        let client = Victim::run(Call::new(connect, CONNECTS), pair.client())?.total();
        let refused = client.failed_with("ECONNREFUSED");
        let accepted = server.stop()?.accepted;
        let [other, reset] = [0, 1].map(|fault| agent.counts(&pair.client_cgroup, fault));
        let (other, reset) = (other?, reset?);
        println!(
            "{verb}: {refused} of {CONNECTS} refused, {accepted} accepted, {other:?}, {reset:?}"
        );
        assert!((1..CONNECTS).contains(&refused), "{verb}: {refused}");
        assert_eq!((client.ok + refused, reset.injected), (CONNECTS, refused), "{verb}");
        match verb {
            // What is lost on its way out is lost before it is asked about.
            "drop" => assert_eq!(reset.matched, other.matched - other.injected, "{verb}"),
            _ => assert_eq!(other.matched, reset.matched - refused, "{verb}"),
        }
        if let Some((met, hit)) = done(&other) {
            assert_eq!(hit, met / every, "{verb}: {other:?}");
        }
        assert_eq!(accepted, client.ok, "{verb}");
    }
    Ok(())
}
