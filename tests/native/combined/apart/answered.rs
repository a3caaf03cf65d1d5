//! The same for verbs that answer in the other end's place, and for questions of the DNS.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use anyhow::Result;
use chaos_tests::{
    clock::is_emulated,
    job::{Call, Repeated, TcpServe},
    require,
    victim::Victim,
};

use super::{Apart, Scene, WAYS, Way};
use crate::{
    agent::{has_frames, has_line},
    dns::{ask, question},
    name_server::NameServer,
};

const CONNECTS: u64 = 20;
const QUESTIONS: usize = 24;

/// Both orders of two texts, each with a seed of its own.
fn orders(one: &str, other: &str) -> [[String; 2]; 2] {
    let (one, other) = (format!("{one} seed 3"), format!("{other} seed 4"));
    [[one.clone(), other.clone()], [other, one]]
}

/// Connections are refused or are served, whatever else is armed.
#[test]
fn connections_that_are_reset_and_others_apart() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    require!("a delay line", since 5, 8; has_line(&scene.pair.claim));
    let others = [
        "drop every 9",
        "corrupt every 9",
        "corrupt silent every 9",
        "duplicate every 4",
        "limit 100mbit",
        "delay 20ms every 7",
        "reorder by 20ms every 7",
        "reset 30% of flows",
    ];
    let mut turn = 0;
    for direction in ["egress", "ingress"] {
        for other in others {
            let verbs = ["reset 30% of flows", other].map(|verb| format!("{verb} {direction} tcp"));
            for texts in orders(&verbs[0], &verbs[1]) {
                turn += 1;
                if is_emulated() && turn % 4 != 0 {
                    continue;
                }
                let texts = texts.each_ref().map(String::as_str);
                let way = WAYS[turn % WAYS.len()];
                let what = format!("{way:?}, {texts:?}");
                let bind = scene.pair.server_end.socket_v4(0);
                let server = Victim::start(TcpServe { bind }, scene.server())?;
                let apart = match Apart::arm(&scene, way, direction, texts)? {
                    Ok(apart) => apart,
                    Err(refusal) => panic!("{what}: {refusal}"),
                };
                let (to, timeout) = (server.address(), Duration::from_secs(20));
                let connect = Repeated::Connect { to, nonblocking: false, timeout };
                let client = Victim::run(Call::new(connect, CONNECTS), scene.client())?.total();
                let refused = client.failed_with("ECONNREFUSED");
                let accepted = server.stop()?.accepted;
                println!("{what}: {refused} of {CONNECTS} refused, {accepted} accepted");
                assert_eq!((client.ok, client.ok + refused), (accepted, CONNECTS), "{what}");
                assert!((1..CONNECTS).contains(&refused), "{what}: {refused}");
                let reset = usize::from(!texts[0].starts_with("reset"));
                assert!(apart.counts(reset)?.injected >= 1, "{what}");
            }
        }
    }
    Ok(())
}

/// Questions are answered by the fault or by the server, whatever else is armed; those that both would
/// hold are refused, but to texts of one process.
#[test]
fn questions_and_others_apart() -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    require!("a delay line", since 5, 8; has_line(&scene.pair.claim));
    let ip = IpAddr::from(scene.pair.server_end.v4);
    let server = NameServer::start(&scene.pair.server_netns, ip, Ipv4Addr::LOCALHOST)?;
    let answer = "fail dns with NXDOMAIN for *.example.com every 3";
    let hold = "delay dns 20ms for *.example.com every 3";
    let others = [
        "corrupt every 5 egress udp",
        "duplicate every 4 egress udp",
        "limit 100mbit egress udp",
        "delay 20ms every 7 egress udp",
        "reorder by 20ms every 7 egress udp",
        "reset egress",
        answer,
        hold,
    ];
    let mut turn = 0;
    for dns in [answer, hold] {
        for other in others {
            let holds = |text: &str| {
                ["dup", "limit", "delay", "reorder"].iter().any(|word| text.starts_with(word))
            };
            let hold_both = holds(dns) && holds(other);
            for texts in orders(dns, other) {
                turn += 1;
                if is_emulated() && turn % 4 != 0 {
                    continue;
                }
                let texts = texts.each_ref().map(String::as_str);
                let way = WAYS[turn % WAYS.len()];
                let what = format!("{way:?}, {texts:?}");
                let is_refused = hold_both && way != Way::OneProcess;
                let apart = match Apart::arm(&scene, way, "egress", texts)? {
                    Ok(apart) => apart,
                    Err(refusal) => {
                        assert!(is_refused, "{what}: {refusal}");
                        continue;
                    }
                };
                assert!(!is_refused, "{what}");
                let before = server.asked();
                let questions = vec![question("www.example.com", 1, false); QUESTIONS];
                let patience = if is_emulated() { "2" } else { "0.2" };
                let answers = ask(scene.client(), server.address, patience, &questions)?;
                let told = answers.iter().filter_map(|one| Some(one.answer.as_ref()?[3] & 15));
                let told: Vec<u8> = told.collect();
                let refused = told.iter().filter(|code| **code == 3).count();
                let arrived = server.asked() - before;
                println!("{what}: {refused} refused of {} answers, {arrived} arrived", told.len());
                assert!(told.len() >= QUESTIONS / 2 && arrived >= 1, "{what}: {told:?}");
                // No more than both could make of one.
                assert!(arrived <= 2 * QUESTIONS as u64, "{what}: {arrived}");
                assert_eq!(
                    refused > 0,
                    texts.iter().any(|text| text.starts_with("fail")),
                    "{what}"
                );
                let counts = apart.counts(usize::from(texts[0] != format!("{dns} seed 3")))?;
                assert!(counts.matched > 0, "{what}: {counts:?}");
                assert_eq!(counts.injected, counts.matched / 3, "{what}: {counts:?}");
            }
        }
    }
    Ok(())
}
