//! `--metrics-address` and `--health-address` of an agent: what they say equals the ledgers, to the event.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{job::UdpSend, process::Place, victim::Victim};
use serde_json::Value;

use crate::{
    daemon::{Daemon, PATIENCE, command, complaint, path},
    pair::Pair,
};

/// Each is met at a port of its own, so that it is known which fault meets what.
const FAULTS: [(&str, &str); 6] = [
    ("drop egress udp to port 1001", "injected"),
    ("shadow drop egress udp to port 1002", "shadowed"),
    ("drop 50% egress udp to port 1003 as dice", "chance"),
    ("drop egress udp to port 1004 at most 3", "at-most"),
    ("drop egress udp to port 1005 after 20m", "early"),
    ("limit 64kbit queue 50ms egress udp to port 1006", "lost"),
];

const SENT: u64 = 100;

/// An address that nothing listens on at this moment.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Status and body of a page.
fn get(address: SocketAddr, path: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    Ok((head.lines().next().unwrap_or_default().to_owned(), body.to_owned()))
}

/// The values of a metric, by its labels as they are written.
fn values(body: &str, metric: &str) -> BTreeMap<String, u64> {
    let of_metric = body.lines().filter_map(|line| line.strip_prefix(metric)?.strip_prefix('{'));
    let value = |line: &str| {
        let (labels, value) = line.rsplit_once("} ")?;
        Some((labels.to_owned(), value.parse::<f64>().ok()? as u64))
    };
    of_metric.filter_map(value).collect()
}

/// What the series must be, by the reports of targets: events by outcome, and spared ones by reason.
fn expected(reports: &[Value]) -> [BTreeMap<String, u64>; 2] {
    let [mut events, mut spared] = [BTreeMap::new(), BTreeMap::new()];
    for fault in reports.iter().flat_map(|report| report["faults"].as_array().into_iter().flatten())
    {
        let sentence = fault["fault"].as_str().unwrap_or_default();
        let name = if sentence.contains(" as dice") { "dice" } else { sentence };
        let (counts, mut in_all) = (&fault["counts"], 0);
        for (reason, number) in counts["spared"].as_object().into_iter().flatten() {
            in_all += number.as_u64().unwrap_or(0);
            let labels = format!("fault=\"{name}\",reason=\"{reason}\"");
            *spared.entry(labels).or_insert(0) += number.as_u64().unwrap_or(0);
        }
        let of = |outcome: &str| counts[outcome].as_u64().unwrap_or(0);
        for (outcome, number) in [
            ("injected", of("injected")),
            ("shadowed", of("shadowed")),
            ("spared", in_all),
            ("lost", of("lost")),
        ] {
            *events.entry(format!("fault=\"{name}\",outcome=\"{outcome}\"")).or_insert(0) += number;
        }
    }
    [events, spared]
}

/// The metrics as they are now.
fn scrape(metrics: SocketAddr) -> Result<String> {
    // They are written once a second at most.
    thread::sleep(Duration::from_millis(1_100));
    let (status, body) = get(metrics, "/metrics")?;
    ensure!(status == "HTTP/1.1 200 OK", "{status}");
    Ok(body)
}

/// Fails unless metrics say the same as reports.
fn compare(metrics: SocketAddr, reports: &[Value], what: &str) -> Result<BTreeMap<String, u64>> {
    let body = scrape(metrics)?;
    let told =
        [values(&body, "chaos_fault_events_total"), values(&body, "chaos_fault_spared_total")];
    assert_eq!(told, expected(reports), "{what}:\n{body}");
    let [events, spared] = told;
    Ok(events.into_iter().chain(spared).collect())
}

#[test]
fn metrics_equal_the_ledgers_whatever_becomes_of_events_and_of_faults() -> Result<()> {
    let pair = Pair::new()?;
    let directory = tempfile::tempdir()?;
    let (metrics, health) = (free()?, free()?);
    let options = [format!("--metrics-address={metrics}"), format!("--health-address={health}")];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let daemon = Daemon::start(&pair.claim, &directory.path().join("agent.sock"), &options)?;
    for page in ["/healthz", "/readyz"] {
        let give_up = Instant::now() + PATIENCE;
        // It listens before it serves.
        while get(health, page)?.0 != "HTTP/1.1 200 OK" {
            ensure!(Instant::now() < give_up, "{page}: {:?}", get(health, page)?);
        }
    }
    let text: Vec<&str> = FAULTS.iter().map(|(fault, _)| *fault).collect();
    let text = text.join("; ");
    let client = daemon.arm(&pair.client_cgroup, &text)?;
    // The same faults of two targets are the same series.
    let server = daemon.arm(&pair.server_cgroup, FAULTS[0].0)?;
    for port in 1001..=1006 {
        let to = pair.server_end.socket_v4(port);
        let send = UdpSend { connected: false, ..UdpSend::new(to, SENT) };
        Victim::run(send.clone(), pair.client())?;
        if port == 1001 {
            Victim::run(send, Place::here().cgroup(&pair.server_cgroup).netns(&pair.client_netns))?;
        }
    }
    let list = || -> Result<Vec<Value>> {
        Ok(daemon.json(&["list"])?.as_array().cloned().unwrap_or_default())
    };
    let told = compare(metrics, &list()?, "while all are armed")?;
    for (fault, count) in FAULTS {
        let name = if fault.ends_with("as dice") { "dice" } else { fault };
        let label =
            if ["injected", "shadowed", "lost"].contains(&count) { "outcome" } else { "reason" };
        let counted = told.get(&format!("fault=\"{name}\",{label}=\"{count}\"")).copied();
        assert!(counted.is_some_and(|counted| counted > 0), "{fault}: {counted:?}");
    }

    // What is replaced, disarmed or over stays as it was counted last.
    let before: Vec<Value> = list()?;
    let report = daemon.json(&[
        "arm",
        "--cgroup",
        path(&pair.client_cgroup)?,
        "--replace",
        "--fault",
        FAULTS[1].0,
    ])?;
    assert_eq!(report["id"], client.as_str());
    compare(metrics, &before, "after most were replaced")?;
    daemon.json(&["disarm", &server])?;
    compare(metrics, &before, "after one was disarmed")?;
    daemon.json(&["halt"])?;
    compare(metrics, &before, "after all was halted")?;
    // And goes on from there.
    daemon.arm(&pair.client_cgroup, FAULTS[0].0)?;
    let to = pair.server_end.socket_v4(1001);
    Victim::run(UdpSend { connected: false, ..UdpSend::new(to, SENT) }, pair.client())?;
    let all: Vec<Value> = before.into_iter().chain(list()?).collect();
    compare(metrics, &all, "after another was armed")?;

    // Each try to arm is measured, also those that fail.
    let missing = format!("{}/none", path(&pair.client_cgroup)?);
    let refused = daemon.verb(&["arm", "--cgroup", &missing, "--fault", FAULTS[0].0])?;
    ensure!(!refused.status.success(), "it armed what is not there");
    let body = scrape(metrics)?;
    let has = |line: &str| body.lines().any(|one| one == line);
    assert!(has("chaos_refusals_total{reason=\"target\"} 1"), "{body}");
    assert!(has("chaos_arm_duration_seconds_count 4"), "{body}");
    Ok(())
}

#[test]
fn an_agent_does_not_start_where_its_address_is_taken() -> Result<()> {
    let pair = Pair::new()?;
    let directory = tempfile::tempdir()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    for option in ["--metrics-address", "--health-address"] {
        let mut agent = command();
        agent.args(["agent", "--standalone", option, &address, "--socket"]);
        agent.arg(directory.path().join("agent.sock"));
        let output = agent.output()?;
        let complaint = complaint(&output);
        ensure!(!output.status.success(), "{option}: it started");
        assert!(
            complaint.contains(&format!("cannot listen on {address} for `{option}`")),
            "{complaint}"
        );
    }
    drop(pair);
    Ok(())
}
