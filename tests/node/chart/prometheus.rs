//! Debian's Prometheus, on the host's end of the node's network, scrapes the pods of the chart.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_tests::{control_plane::ControlPlane, prometheus::PrometheusServer};
use serde_json::{Value, json};
use xtask::prometheus_binaries::PrometheusBinaries;

use crate::{experiments::PATIENCE, scene::Scene};

/// Where it answers, in a network namespace in which nobody else listens there.
const ADDRESS: &str = "127.0.0.1:9090";

/// The port for metrics of agents and controllers.
pub const METRICS: u16 = 9464;

/// A server. Dropping it kills it.
pub struct Prometheus<'a> {
    plane: &'a ControlPlane,
    programs: PrometheusBinaries,
    _server: PrometheusServer,
}

impl<'a> Prometheus<'a> {
    /// Starts a server that scrapes all pods of agent and controller that are to stay.
    pub fn start(scene: &'a Scene) -> Result<Self> {
        let plane = scene.node.plane();
        let pods = scene.node.kubectl(
            "get pods --namespace chaos-agent --selector=app.kubernetes.io/part-of=chaos-agent --output=json",
        )?;
        let pods: Value = serde_json::from_str(&pods).context("pods")?;
        let pods = pods["items"].as_array().context("a list of pods")?;
        let stays = |pod: &&Value| pod["metadata"]["deletionTimestamp"].is_null();
        let address = |pod: &Value| Some(format!("{}:{METRICS}", pod["status"]["podIP"].as_str()?));
        let addresses: Vec<String> = pods.iter().filter(stays).filter_map(address).collect();
        let directory = tempfile::tempdir().context("make a directory for Prometheus")?;
        let config = json!({
            "global": { "scrape_interval": "2s", "scrape_timeout": "2s" },
            "scrape_configs": [{
                "job_name": "chaos-agent",
                "honor_labels": true,
                "static_configs": [{ "targets": addresses }],
            }],
        });
        let programs = PrometheusBinaries::find()?;
        let command = plane.command(&programs.prometheus);
        let server = PrometheusServer::start(command, directory, &config, ADDRESS.parse()?)?;
        Ok(Self { plane, programs, _server: server })
    }

    /// Waits until a query has one number, and one that is wanted.
    pub fn await_number(&self, query: &str, is_wanted: impl Fn(f64) -> bool) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let said = self.query(query)?;
            let found: Value = serde_json::from_str(&said).unwrap_or_default();
            let value = found[0]["value"][1].as_str().and_then(|value| value.parse().ok());
            if value.is_some_and(&is_wanted) {
                return Ok(());
            }
            ensure!(Instant::now() < give_up, "{query}: {said}");
            sleep(Duration::from_millis(500));
        }
    }

    /// What promtool says of a query: JSON, or why there is none, as before the server listens.
    fn query(&self, query: &str) -> Result<String> {
        let mut command = self.plane.command(&self.programs.promtool);
        let server = format!("http://{ADDRESS}");
        let output = command.args(["query", "instant", "--format=json", &server, query]).output();
        let output = output.context("start promtool")?;
        let said = if output.status.success() { output.stdout } else { output.stderr };
        Ok(String::from_utf8_lossy(&said).into_owned())
    }
}
