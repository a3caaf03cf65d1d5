//! `delay dns`: questions for the name are held and answered all the same, nothing else is held.

use std::net::IpAddr;

use anyhow::Result;
use chaos_tests::{clock::is_emulated, require};

use super::{ADDRESS, SOON, ask, names, question, took};
use crate::{
    agent::{Agent, has_line},
    name_server::NameServer,
    pair::Pair,
};

/// Milliseconds in which an answer comes that nothing holds.
fn at_once() -> f64 {
    if is_emulated() { 150.0 } else { 80.0 }
}

pub fn check(pair: &Pair, server: &NameServer) -> Result<()> {
    let (held, spared) = names();
    for (shape, least, most) in
        [("200ms", 200.0, 200.0), ("250ms jitter 40ms normal", 250.0 - 160.0, 250.0 + 160.0)]
    {
        let ip = server.address.ip();
        let fault = format!("delay dns by {shape} for *.example.com to {ip} seed 1");
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
        for (kind, edns) in [(1, true), (28, false)] {
            let before = server.asked();
            let questions: Vec<_> = held.iter().map(|name| question(name, kind, edns)).collect();
            let answers = ask(pair.client(), server.address, SOON, &questions)?;
            for (name, answered) in held.iter().zip(&answers) {
                let took = took(answered, kind, name)?;
                assert!((least..most + at_once()).contains(&took), "{fault}: {name}: {took}");
            }
            assert_eq!(server.asked(), before + held.len() as u64, "{fault}");
            let questions: Vec<_> = spared.map(|name| question(name, kind, edns)).into();
            let answers = ask(pair.client(), server.address, SOON, &questions)?;
            for (name, answered) in spared.iter().zip(&answers) {
                let took = took(answered, kind, name)?;
                assert!(took < at_once(), "{fault}: {name}: {took}");
            }
        }
        // The same name in what is no question: an answer, by its first bit.
        let mut answer = question(&held[0], 1, false);
        answer[2] |= 0x80;
        let [answered] = &ask(pair.client(), server.address, SOON, &[answer])?[..] else {
            unreachable!("one answer for each question")
        };
        assert!(answered.milliseconds < at_once(), "{fault}: {}", answered.milliseconds);
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        let hits = 2 * held.len() as u64;
        assert_eq!((counts.matched, counts.injected), (hits, hits), "{fault}: {counts:?}");
    }
    Ok(())
}

#[test]
fn questions_for_the_name_alone_are_held() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    for ip in [IpAddr::V4(pair.server_end.v4), IpAddr::V6(pair.server_end.v6)] {
        check(&pair, &NameServer::start(&pair.server_netns, ip, ADDRESS)?)?;
    }
    Ok(())
}

#[test]
fn questions_to_a_server_on_loopback_are_held() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    for ip in ["127.0.0.53", "::1"] {
        check(&pair, &NameServer::start(&pair.client_netns, ip.parse()?, ADDRESS)?)?;
    }
    Ok(())
}

#[test]
fn a_question_can_be_held_and_then_refused_an_answer() -> Result<()> {
    let pair = Pair::new()?;
    require!("a delay line", since 5, 8; has_line(&pair.claim));
    let server = NameServer::start(&pair.server_netns, pair.server_end.v4.into(), ADDRESS)?;
    // What is answered goes no further; the others are held.
    let faults = "delay dns by 100ms for *; fail dns with NXDOMAIN every 2nd for *.example.com";
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, faults)?;
    let questions = vec![question("www.example.com", 1, false); 4];
    let answers = ask(pair.client(), server.address, SOON, &questions)?;
    let codes: Vec<_> = answers
        .iter()
        .map(|answered| answered.answer.as_ref().map(|answer| answer[3] & 0xf))
        .collect();
    assert_eq!(codes, [Some(0), Some(3), Some(0), Some(3)]);
    let slow: Vec<_> = answers.iter().map(|answered| answered.milliseconds >= 100.0).collect();
    assert_eq!(slow, [true, false, true, false]);
    let counts = [0, 1].map(|fault| agent.counts(&pair.client_cgroup, fault));
    let [delayed, failed] = counts;
    assert_eq!((delayed?.injected, failed?.injected), (2, 2));
    Ok(())
}
