//! `docs/metrics.md` has each metric, with its type and its labels, and no other.

use std::{collections::BTreeSet, time::Duration};

use chaos_plan::KernelFeatures;

use crate::{AgentMeter, ControllerMeter, Kind, Metric, Reading, agent, controller};

/// Name, type and labels, as the page has them.
fn row(metric: &Metric) -> String {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {kind} | {}", metric.name, labels.join(", "))
}

fn rows(reading: &Reading) -> BTreeSet<String> {
    let rows: Vec<String> = reading.metrics().map(|one| row(one).trim_end().to_owned()).collect();
    let different: BTreeSet<String> = rows.iter().cloned().collect();
    assert_eq!(different.len(), rows.len(), "one is put twice: {rows:?}");
    different
}

/// The rows of the tables that begin with the name of a metric.
fn documented(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter(|line| line.starts_with("| `chaos_"));
    rows.map(|line| line.split(" | ").take(3).collect::<Vec<_>>().join(" | "))
        .map(|row| row.trim_end_matches(['|', ' ']).to_owned())
        .collect()
}

#[test]
fn the_page_has_each_metric_and_no_other() {
    let page = include_str!("../../docs/metrics.md");
    let (_, rest) = page.split_once("\n## Metrics of an agent\n").expect("a section of agents");
    let (of_agent, rest) =
        rest.split_once("\n## Metrics of a controller\n").expect("a section of controllers");
    let meter = AgentMeter::new("1.2.3", &KernelFeatures::everything("6.12.0"), false);
    let now = agent::Moment::now();
    let in_code = |reading: Reading| {
        rows(&reading).into_iter().map(|row| row.trim_end_matches(['|', ' ']).to_owned()).collect()
    };
    let told: BTreeSet<String> = in_code(agent::reading(&meter, &now, Duration::ZERO));
    assert_eq!(documented(of_agent), told);
    let told: BTreeSet<String> = in_code(controller::reading(&ControllerMeter::new("1.2.3")));
    assert_eq!(documented(rest), told);
}
