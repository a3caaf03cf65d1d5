//! Reads what the programs of a cluster have used, and what the API server has answered.

use std::{fs, time::Instant};

use anyhow::{Context as _, Result};
use chaos_tests::control_plane::ControlPlane;
use nix::unistd::{Pid, getpid};
use xtask::figures::cluster::Phase;

use crate::scale::processor_time;

/// What has been counted up to a moment.
struct Counted {
    at: Instant,
    requests: Requests,
    /// Seconds of a processor: API server, etcd, controller, agents.
    processors: [f64; 4],
}

/// What the API server has answered.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Requests {
    annotations: f64,
    events: f64,
    others: f64,
    /// Bytes.
    watched: f64,
}

/// Measures phases that follow each other.
pub struct Meter<'a> {
    plane: &'a ControlPlane,
    controller: Pid,
    before: Counted,
    pub phases: Vec<Phase>,
}

impl<'a> Meter<'a> {
    pub fn start(plane: &'a ControlPlane, controller: Pid) -> Result<Self> {
        let before = count(plane, controller)?;
        Ok(Self { plane, controller, before, phases: Vec::new() })
    }

    /// Ends a phase, and begins the next one.
    pub fn phase(&mut self, what: &str) -> Result<()> {
        let now = count(self.plane, self.controller)?;
        let before = std::mem::replace(&mut self.before, now);
        let (one, two) = (&before.requests, &self.before.requests);
        let [apiserver, etcd, controller, agents] =
            [0, 1, 2, 3].map(|index| self.before.processors[index] - before.processors[index]);
        self.phases.push(Phase {
            what: what.to_owned(),
            seconds: (self.before.at - before.at).as_secs_f64(),
            annotations: two.annotations - one.annotations,
            events: two.events - one.events,
            others: two.others - one.others,
            watched: two.watched - one.watched,
            apiserver,
            etcd,
            controller,
            agents,
        });
        Ok(())
    }

    /// The most memory that the controller has had, MiB.
    pub fn peak(&self) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.controller))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        let kibibytes: f64 = line.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes / 1024.0)
    }
}

fn count(plane: &ControlPlane, controller: Pid) -> Result<Counted> {
    let metrics = plane.kubectl(&["get", "--raw=/metrics"])?;
    let [etcd, apiserver] = plane.pids();
    Ok(Counted {
        at: Instant::now(),
        requests: requests(&metrics),
        processors: [
            processor_time(apiserver)?,
            processor_time(etcd)?,
            processor_time(controller)?,
            processor_time(getpid())?,
        ],
    })
}

/// Sums up the text of `/metrics`.
fn requests(metrics: &str) -> Requests {
    let mut sums = Requests::default();
    for line in metrics.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let has = |label: &str| series.contains(label);
        if series.starts_with("apiserver_request_total{") && !has("verb=\"WATCH\"") {
            if has("resource=\"pods\"") && has("subresource=\"status\"") {
                sums.annotations += value;
            } else if has("resource=\"events\"") {
                sums.events += value;
            } else {
                sums.others += value;
            }
        } else if series.starts_with("apiserver_watch_events_sizes_sum") {
            sums.watched += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart_by_what_they_are_about() {
        let metrics = r#"
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="pods",subresource="status",verb="APPLY"} 40
apiserver_request_total{code="409",resource="pods",subresource="status",verb="APPLY"} 2
apiserver_request_total{code="201",resource="events",subresource="",verb="POST"} 7
apiserver_request_total{code="200",resource="pods",subresource="",verb="LIST"} 3
apiserver_request_total{code="0",resource="pods",subresource="",verb="WATCH"} 900
apiserver_request_duration_seconds_sum{resource="pods",verb="LIST"} 5
apiserver_watch_events_sizes_sum{kind="Pod",version="v1"} 1.5e+06
apiserver_watch_events_sizes_sum{kind="Lease",version="v1"} 1000
"#;
        let expected =
            Requests { annotations: 42.0, events: 7.0, others: 3.0, watched: 1_501_000.0 };
        assert_eq!(requests(metrics), expected);
    }
}
