//! Lays two Runs side by side: what differs first. Pure.

use serde::Serialize;

use super::{
    markdown::{table, text},
    model::{ProbeReport, Report},
    words,
};
use crate::{text::number, view::number_in_words};

/// Two Runs side by side. Serialized, it is the JSON of `report --compare -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    pub schema: &'static str,
    /// `NAMESPACE/NAME`.
    pub runs: [String; 2],
    /// Those that differ first.
    pub rows: Vec<Row>,
}

/// One thing about both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub what: String,
    pub values: [String; 2],
    pub differs: bool,
}

impl Comparison {
    /// Compares what both say.
    pub fn of(one: &Report, other: &Report) -> Self {
        let mut rows = Vec::new();
        let mut row = |what: &str, of: &dyn Fn(&Report) -> String| {
            let values = [of(one), of(other)];
            let differs = values[0] != values[1];
            rows.push(Row { what: what.to_owned(), values, differs });
        };
        row("verdict", &|report| judged(report.verdict.result, report.verdict.reason));
        row("hypothesis", &|report| {
            judged(report.hypothesis.judged.result, report.hypothesis.judged.reason)
        });
        row("state", &Report::state);
        row("experiment", &|report| {
            report.experiment.clone().unwrap_or_else(|| "inline".to_owned())
        });
        row("mode", &|report| format!("{:?}", report.mode));
        row("lasted", &|report| {
            let lasted = report.lasted().and_then(|lasted| lasted.try_into().ok());
            lasted.map(chaos_fault::print_duration).unwrap_or_default()
        });
        row("pods selected", &|report| number(report.targets.selected.into()));
        row("pods picked", &|report| {
            number(report.steps.iter().map(|step| step.picked).max().unwrap_or(0).into())
        });
        for (what, of) in LEDGER {
            row(what, &|report| number(of(report)));
        }
        for name in names(one, other, |report| report.steps.iter().map(|step| &step.name)) {
            let step = |report: &Report| {
                let step = report.steps.iter().find(|step| step.name == name)?;
                let injected = words::number_or_none(step.ledger.injected);
                let injected =
                    if injected.is_empty() { injected } else { format!("injected {injected}") };
                let mut parts = vec![format!("{:?}", step.phase), words::pods_of(step), injected];
                parts.retain(|part| !part.is_empty());
                Some(parts.join(", "))
            };
            row(&format!("step {name}"), &|report| step(report).unwrap_or_default());
        }
        for name in names(one, other, |report| report.probes.iter().map(|probe| &probe.name)) {
            for (what, of) in PROBE {
                let value =
                    |report: &Report| report.probes.iter().find(|probe| probe.name == name).map(of);
                row(&format!("probe {name}: {what}"), &|report| value(report).unwrap_or_default());
            }
        }
        row("exceptions", &|report| {
            number(report.exceptions.iter().map(|one| u64::from(one.count)).sum())
        });
        rows.sort_by_key(|row| !row.differs);
        Self { schema: SCHEMA, runs: [one.title(), other.title()], rows }
    }

    /// As a table of Markdown.
    pub fn markdown(&self) -> String {
        let [one, other] = &self.runs;
        let (one, other) = (text(one), text(other));
        let rows = self.rows.iter().map(|row| {
            let sign = if row.differs { "≠" } else { "" };
            let what = match row.differs {
                true => format!("**{}**", text(&row.what)),
                false => text(&row.what),
            };
            vec![sign.to_owned(), what, text(&row.values[0]), text(&row.values[1])]
        });
        let count = self.rows.iter().filter(|row| row.differs).count();
        let differ = if count == 1 { "1 thing differs" } else { &format!("{count} things differ") };
        format!(
            "# {one} and {other}\n\n{differ}\n\n{}",
            table(&["", "", one.as_str(), other.as_str()], rows)
        )
    }
}

/// What the form of the JSON is called.
const SCHEMA: &str = "chaos-agent.dev/comparison/v1";

type OfRun = fn(&Report) -> u64;

const LEDGER: [(&str, OfRun); 5] = [
    ("matched", |report| report.ledger.matched),
    ("injected", |report| report.ledger.injected),
    ("shadowed", |report| report.ledger.shadowed),
    ("spared", |report| report.ledger.spared),
    ("lost", |report| report.ledger.lost),
];

type OfProbe = fn(&ProbeReport) -> String;

const PROBE: [(&str, OfProbe); 6] = [
    ("result", |probe| format!("{:?}", probe.result)),
    ("failed", |probe| format!("{} of {}", probe.failed, probe.checks)),
    ("without an answer", |probe| probe.errors.to_string()),
    ("before", |probe| value(probe, probe.baseline)),
    ("median", |probe| value(probe, median(probe))),
    ("worst answer", |probe| probe.worst.clone()),
];

fn value(probe: &ProbeReport, value: Option<f64>) -> String {
    value.map(|value| number_in_words(value, probe.is_time())).unwrap_or_default()
}

fn median(probe: &ProbeReport) -> Option<f64> {
    let mut values: Vec<f64> = probe.samples.iter().filter_map(|sample| sample.value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn judged(result: Option<impl std::fmt::Debug>, reason: Option<impl std::fmt::Debug>) -> String {
    match (result, reason) {
        (Some(result), Some(reason)) => format!("{result:?} ({reason:?})"),
        (Some(result), None) => format!("{result:?}"),
        (None, _) => String::new(),
    }
}

/// The names that are in one or both, in their order, each once.
fn names<'r, I: Iterator<Item = &'r String>>(
    one: &'r Report,
    other: &'r Report,
    of: impl Fn(&'r Report) -> I,
) -> Vec<String> {
    let mut names: Vec<String> = of(one).cloned().collect();
    names.extend(of(other).filter(|name| !of(one).any(|known| known == *name)).cloned());
    names
}
