//! Faults by an address that NAT in the target's own network namespace hides: what packets carry instead is
//! told, and that address is met.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    job::{UdpEcho, UdpSend},
    process::Process,
    require,
    victim::Victim,
};

use crate::{
    agent::{Agent, has_line},
    nat,
    pair::Pair,
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A Service: an address that is nobody's.
const SERVICE: &str = "10.96.0.10:80";

/// Or there is no way to a Service.
fn route(pair: &Pair) -> Result<()> {
    let mut route = pair.client_netns.command("ip");
    route.args(["route", "add", "10.96.0.0/16", "via", &pair.server_end.v4.to_string()]);
    ensure!(route.status()?.success(), "{route:?}");
    Ok(())
}

/// Connects, asks with a word, prints the answer.
const TALK: &str = r#"
use IO::Socket;
my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) or die "connect: $@";
print $s "word\n";
print scalar <$s>;
"#;

/// Answers each line with itself, one connection after the other, at an address and a port that it prints.
const ECHO: &str = r#"
use IO::Socket;
my $l = IO::Socket::INET->new(LocalAddr => $ARGV[0], LocalPort => 0, Listen => 5) or die "listen: $@";
$| = 1;
print $l->sockport, "\n";
while (my $s = $l->accept) { print $s scalar <$s>; close $s }
"#;

/// A connection to a Service with an end on this machine goes on, unheld, as NAT would not know it again.
#[test]
fn what_nat_brings_back_to_its_own_machine_is_not_held() -> Result<()> {
    require!("iptables"; nat::works());
    let pair = Pair::new()?;
    require!("a delay line", since 5, 10; has_line(&pair.claim));
    let own = "10.200.0.1";
    let perl = |script: &str, arguments: &[&str]| {
        let mut perl = Command::new("perl");
        perl.args(["-e", script]).args(arguments);
        perl
    };
    let echo = Process::spawn(perl(ECHO, &[own]), pair.client())?;
    let port = echo.line(PATIENCE)?;
    let rule =
        format!("-A OUTPUT -d 10.96.0.10 -p tcp --dport 80 -j DNAT --to-destination {own}:{port}");
    nat::change(&pair.client_netns, "iptables", &rule)?;
    route(&pair)?;
    for (to, to_port, held) in [(own, port.as_str(), true), ("10.96.0.10", "80", false)] {
        let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "delay 50ms tcp")?;
        let talk = Process::spawn(perl(TALK, &[to, to_port]), pair.client())?;
        let said: Vec<String> = talk.remaining_lines().collect();
        assert_eq!(said, ["word"], "{to}");
        let counts = agent.report(&pair.client_cgroup)?.faults.remove(0).counts;
        assert_eq!(counts.injected > 0, held, "{to}: {counts:?}");
        assert_eq!(counts.spared.contains_key("unfit"), !held, "{to}: {counts:?}");
    }
    Ok(())
}

#[test]
fn the_address_that_packets_carry_is_told() -> Result<()> {
    require!("iptables"; nat::works());
    let pair = Pair::new()?;
    let echo = Victim::start(UdpEcho { bind: pair.server_end.socket_v4(0) }, pair.server())?;
    let behind = echo.address();
    let rule =
        format!("-A OUTPUT -d 10.96.0.10 -p udp --dport 80 -j DNAT --to-destination {behind}");
    nat::change(&pair.client_netns, "iptables", &rule)?;
    route(&pair)?;

    let mut agent = Agent::armed(&pair.claim, &pair.client_cgroup, "drop udp to 10.96.0.10")?;
    let send = || Victim::run(UdpSend::new(SERVICE.parse()?, 5), pair.client());
    assert_eq!(send()?.total().ok, 5);
    let told = format!("write `to {} port {}`", behind.ip(), behind.port());
    // It looks every few seconds.
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        agent.look()?;
        let report = agent.report(&pair.client_cgroup)?;
        assert_eq!(report.faults[0].counts.matched, 0, "NAT is in front of it");
        if report.notes.iter().any(|note| note.contains(&told)) {
            break;
        }
        assert!(Instant::now() < until, "{told} is not in {report:?}");
        std::thread::sleep(Duration::from_millis(100));
    }

    // An agent that comes when connections are there tells it at once.
    drop(agent);
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, "drop udp to 10.96.0.10 port 80")?;
    let notes = agent.report(&pair.client_cgroup)?.notes;
    let note = notes.iter().find(|note| note.contains(&told)).context("it is told at once")?;
    let (_, wanted) = note.split_once("write `").context("what to write")?;
    drop(agent);
    let fault = format!("drop udp {}", wanted.trim_end_matches('`'));
    let agent = Agent::armed(&pair.claim, &pair.client_cgroup, &fault)?;
    assert_eq!(send()?.total().ok, 5);
    assert_eq!(agent.counts(&pair.client_cgroup, 0)?.injected, 5, "{fault}");
    assert_eq!(agent.report(&pair.client_cgroup)?.notes, Vec::<String>::new());
    Ok(())
}
