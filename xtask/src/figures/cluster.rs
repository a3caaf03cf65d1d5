//! What a cluster of simulated nodes costs: the controller, the API server and etcd, in each phase of one run.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What was measured.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Measured {
    /// What it was measured on.
    pub machine: String,
    /// How the controller and the agents were built.
    pub profile: String,
    pub nodes: usize,
    pub pods: usize,
    pub results: Vec<Figure>,
    pub phases: Vec<Phase>,
}

/// One figure, and what it should be at most.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    pub what: String,
    pub value: f64,
    pub unit: String,
    pub most: Option<f64>,
}

/// What was asked of whom for some time.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Phase {
    pub what: String,
    pub seconds: f64,
    /// Answered in this time: writes of annotations of pods, of events, and everything else that is no watch.
    pub annotations: f64,
    pub events: f64,
    pub others: f64,
    /// Bytes that the API server sent to those who watch.
    pub watched: f64,
    /// Seconds of a processor.
    pub apiserver: f64,
    pub etcd: f64,
    pub controller: f64,
    /// Of all agents together.
    pub agents: f64,
}

impl Measured {
    /// As Markdown.
    pub fn table(&self) -> String {
        let Self { machine, profile, nodes, pods, results, phases } = self;
        let mut page = format!(
            "Measured on {machine}: {nodes} nodes, {pods} pods, profile `{profile}`.\n\n\
             | | figure | aim |\n\
             |---|---|---|\n"
        );
        for Figure { what, value, unit, most } in results {
            let aim = match most {
                Some(most) if value <= most => format!("≤ {most} {unit}: held"),
                Some(most) => format!("≤ {most} {unit}: **missed**"),
                None => String::new(),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(page, "| {what} | {value:.2} {unit} | {aim} |");
        }
        page.push_str(
            "\n| phase | s | annotations/s | events/s | other requests/s | watched, MB/s | API server | etcd | controller | all agents |\n\
             |---|---|---|---|---|---|---|---|---|---|\n",
        );
        for phase in phases {
            let each = |amount: f64| amount / phase.seconds;
            let share = |processor: f64| format!("{:.0} %", each(processor) * 100.0);
            let _ = writeln!(
                page,
                "| {} | {:.1} | {:.0} | {:.0} | {:.0} | {:.2} | {} | {} | {} | {} |",
                phase.what,
                phase.seconds,
                each(phase.annotations),
                each(phase.events),
                each(phase.others),
                each(phase.watched) / 1e6,
                share(phase.apiserver),
                share(phase.etcd),
                share(phase.controller),
                share(phase.agents),
            );
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_their_aims_and_phases_their_rates() {
        let figure = |value: f64, most: Option<f64>| Figure {
            what: "armed".to_owned(),
            value,
            unit: "s".to_owned(),
            most,
        };
        let phase = Phase {
            what: "arming".to_owned(),
            seconds: 4.0,
            annotations: 800.0,
            events: 400.0,
            others: 6.0,
            watched: 1e6,
            apiserver: 3.0,
            etcd: 1.0,
            controller: 0.5,
            agents: 2.0,
        };
        let measured = Measured {
            machine: "M".to_owned(),
            profile: "release".to_owned(),
            nodes: 200,
            pods: 6000,
            results: vec![figure(20.0, Some(30.0)), figure(31.0, Some(30.0)), figure(1.0, None)],
            phases: vec![phase],
        };
        let table = measured.table();
        for line in [
            "Measured on M: 200 nodes, 6000 pods, profile `release`.\n",
            "| armed | 20.00 s | ≤ 30 s: held |\n",
            "| armed | 31.00 s | ≤ 30 s: **missed** |\n",
            "| armed | 1.00 s |  |\n",
            "| arming | 4.0 | 200 | 100 | 2 | 0.25 | 75 % | 25 % | 12 % | 50 % |\n",
        ] {
            assert!(table.contains(line), "{line}: {table}");
        }
    }
}
