//! Docker's embedded name server, whose port NAT rules of the container's own namespace hide.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context, Result};
use chaos_tests::{program, require};
use serde_json::{Value, json};

use super::{A_WHILE, ADDRESS, ASK, SOON, ask, check, delays, hex, question, took};
use crate::{
    agent::{Agent, has_frames, has_line},
    name_server::NameServer,
    nat,
    pair::Pair,
};

const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// Where it really listens: Docker takes any port.
const HIDDEN: u16 = 43217;

/// Serves in the client's namespace as Docker does. It is asked at port 53.
fn start(pair: &Pair) -> Result<NameServer> {
    let netns = &pair.client_netns;
    let mut server = NameServer::start_at(netns, SocketAddr::new(SERVER.into(), HIDDEN), ADDRESS)?;
    server.address.set_port(53);
    for rule in [
        format!(
            "-A OUTPUT -d {SERVER} -p udp --dport 53 -j DNAT --to-destination {SERVER}:{HIDDEN}"
        ),
        format!("-A POSTROUTING -s {SERVER} -p udp --sport {HIDDEN} -j SNAT --to-source :53"),
    ] {
        nat::change(netns, "iptables", &rule)?;
    }
    Ok(server)
}

fn scene() -> Result<(Pair, NameServer)> {
    let pair = Pair::new()?;
    let server = start(&pair)?;
    // It is as it is meant to be without any fault.
    let name = "www.example.com";
    let [answered] = &ask(pair.client(), server.address, SOON, &[question(name, 1, true)])?[..]
    else {
        unreachable!("one answer for each question")
    };
    took(answered, 1, name)?;
    Ok((pair, server))
}

#[test]
fn it_is_answered_for() -> Result<()> {
    require!("iptables"; nat::works());
    let (pair, server) = scene()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    check(&server, &pair)
}

#[test]
fn a_server_that_comes_later_is_answered_for() -> Result<()> {
    require!("iptables"; nat::works());
    let pair = Pair::new()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let fault = "fail dns with NXDOMAIN for *.example.com";
    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
    let server = start(&pair)?;
    agent.look()?;
    let questions = [question("www.example.com", 1, false)];
    let [answered] = &ask(pair.client(), server.address, SOON, &questions)?[..] else {
        unreachable!("one answer for each question")
    };
    let answer = answered.answer.as_ref().context("no answer")?;
    assert_eq!(answer[3] & 0xf, 3);
    assert_eq!((server.asked(), agent.counts(&pair.client_cgroup, 0)?.injected), (0, 1));
    Ok(())
}

#[test]
fn its_questions_are_held() -> Result<()> {
    require!("iptables"; nat::works());
    let (pair, server) = scene()?;
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    delays::check(&pair, &server)
}

/// What a client of the server is answered that `run` has started under faults.
fn ask_under(pair: &Pair, server: &NameServer, faults: &str) -> Result<(Option<u8>, Value)> {
    let report = tempfile::NamedTempFile::new()?;
    let mut command = pair.client_netns.command(program::agent()?);
    command.args(["run", "--quiet", "--fault", faults, "--report"]).arg(report.path());
    command.args(["--", "perl", "-e", ASK, &SERVER.to_string(), "53", SOON]);
    command.arg(hex(&question("www.example.com", 1, true)));
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{faults}: {said}");
    let line = String::from_utf8(output.stdout)?;
    let bytes = line.split_once(' ').context("an answer and a time")?.0;
    let code = bytes.get(6..8).map(|code| u8::from_str_radix(code, 16)).transpose()?;
    assert!(server.address.port() == 53);
    let report: Value = serde_json::from_str(&fs::read_to_string(report.path())?)?;
    Ok((code.map(|code| code & 0xf), report["faults"][0]["counts"].clone()))
}

#[test]
fn a_client_that_run_starts_is_answered_for() -> Result<()> {
    require!("iptables"; nat::works());
    let (pair, server) = scene()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let (code, counts) = ask_under(&pair, &server, "fail dns with REFUSED for *.example.com")?;
    assert_eq!((code, &counts["injected"]), (Some(5), &json!(1)), "{counts}");
    // The question is held; its answer, which NAT changes, is not.
    let (code, counts) = ask_under(&pair, &server, "delay 50ms")?;
    assert_eq!((code, &counts["injected"]), (Some(0), &json!(1)), "{counts}");
    assert_eq!(counts["spared"], json!({ "unfit": 1 }), "{counts}");
    Ok(())
}

#[test]
fn its_questions_have_the_port_that_they_were_asked_at() -> Result<()> {
    require!("iptables"; nat::works());
    let (pair, server) = scene()?;
    require!("frames", since 4, 5; has_frames(&pair.claim));
    for fault in ["drop udp to port 53", "corrupt udp to port 53"] {
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, fault)?;
        let before = server.asked();
        let questions = vec![question("www.example.com", 1, false); 3];
        let answers = ask(pair.client(), server.address, A_WHILE, &questions)?;
        assert!(answers.iter().all(|answered| answered.answer.is_none()), "{fault}");
        assert_eq!(server.asked(), before, "{fault}");
        let counts = agent.counts(&pair.client_cgroup, 0)?;
        assert_eq!((counts.matched, counts.injected), (3, 3), "{fault}: {counts:?}");
    }
    Ok(())
}
