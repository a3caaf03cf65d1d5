//! Runs Prometheus, and asks it.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_tests::prometheus::PrometheusServer;
use serde_json::{Value, json};
use xtask::prometheus_binaries::PrometheusBinaries;

use super::{PATIENCE, free, rules_file};

/// What is scraped, with the labels that the PodMonitors give it.
pub struct Target<'a> {
    pub job: &'a str,
    pub node: Option<&'a str>,
    pub address: SocketAddr,
}

/// A server. Dropping it kills it.
pub struct Prometheus {
    _server: PrometheusServer,
    address: SocketAddr,
}

impl Prometheus {
    /// Starts a server that scrapes these each second and evaluates the rules as often, and waits until it answers.
    pub fn start(targets: &[Target<'_>]) -> Result<Self> {
        let directory = tempfile::tempdir().context("make a directory")?;
        let rules = directory.path().join("rules.yaml");
        fs::write(&rules, rules_file()?.to_string())?;
        let jobs: Vec<Value> = targets
            .iter()
            .map(|target| {
                let labels = match target.node {
                    Some(node) => json!({ "node": node }),
                    None => json!({}),
                };
                json!({ "job_name": target.job, "honor_labels": true,
                        "static_configs": [{ "targets": [target.address.to_string()], "labels": labels }] })
            })
            .collect();
        let config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "rule_files": [rules], "scrape_configs": jobs,
        });
        let address = free()?;
        let command = Command::new(PrometheusBinaries::find()?.prometheus);
        let server = PrometheusServer::start(command, directory, &config, address)?;
        let prometheus = Self { _server: server, address };
        let give_up = Instant::now() + PATIENCE;
        while prometheus.get("/-/ready").is_err() {
            ensure!(Instant::now() < give_up, "Prometheus does not answer");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(prometheus)
    }

    /// The body of an answer that is a good one.
    fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        // HTTP/1.0 has no chunks.
        write!(stream, "GET {path} HTTP/1.0\r\nhost: test\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
        ensure!(head.lines().next().is_some_and(|line| line.contains(" 200 ")), "{answer}");
        Ok(body.to_owned())
    }

    /// The series of an instant query; an error where Prometheus does not understand it.
    pub fn query(&self, query: &str) -> Result<Vec<Value>> {
        let body = self.get(&format!("/api/v1/query?query={}", encoded(query)))?;
        let answer: Value = serde_json::from_str(&body)?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        let result = answer["data"]["result"].as_array();
        Ok(result.with_context(|| format!("{query}: {answer}"))?.clone())
    }

    /// Waits until a query has this number.
    pub fn await_number(&self, query: &str, number: f64) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let found = self.query(query)?;
            let value = found.first().and_then(|series| series["value"][1].as_str());
            if value.and_then(|value| value.parse::<f64>().ok()) == Some(number) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "{query} is not {number}: {found:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until an alert fires.
    pub fn await_firing(&self, alert: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let firing = self.firing()?;
            if firing.contains(alert) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "{alert} does not fire: {firing:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The alerts that fire, once the server has evaluated all rules, and finds none of them wrong.
    fn firing(&self) -> Result<BTreeSet<String>> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let answer: Value = serde_json::from_str(&self.get("/api/v1/rules")?)?;
            let groups = answer["data"]["groups"].as_array().context("there are groups")?;
            let rules: Vec<&Value> = groups
                .iter()
                .flat_map(|group| group["rules"].as_array().into_iter().flatten())
                .collect();
            ensure!(rules.iter().all(|rule| rule["health"] != "err"), "{answer}");
            if rules.iter().all(|rule| rule["health"] == "ok") {
                let firing = rules.into_iter().filter(|rule| rule["state"] == "firing");
                return Ok(firing
                    .filter_map(|rule| rule["name"].as_str().map(str::to_owned))
                    .collect());
            }
            ensure!(Instant::now() < give_up, "the rules are not evaluated: {answer}");
            thread::sleep(Duration::from_millis(100));
        }
    }
}

fn encoded(query: &str) -> String {
    query.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes every write");
        }
        encoded
    })
}

/// What promtool says of the rules.
pub fn check_rules() -> Result<String> {
    let directory = tempfile::tempdir().context("make a directory")?;
    let file = directory.path().join("rules.yaml");
    fs::write(&file, rules_file()?.to_string())?;
    let promtool = PrometheusBinaries::find()?.promtool;
    let output = Command::new(promtool).args(["check", "rules"]).arg(&file).output()?;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}");
    Ok(said.into_owned())
}
