//! Renders what a Run of mode `Plan` has found: what would be done, and what stands against it.

use chaos_api::kinds::{Reason, Run, RunStatus};
use chaos_controller::counted;
use kube::ResourceExt as _;

use super::in_words;
use crate::{
    printable::Printable,
    removable::Removable,
    text::{BOLD, DIM, GREEN, RED, YELLOW, styled, table, wrap},
};

/// The pods whose names are shown; the others are counted.
const MOST_NAMED: usize = 12;

/// The result of a plan, whole. `removable` has what is known of the pods of steps that remove some.
pub fn planned(
    run: &Printable<Run>,
    removable: &[Printable<Removable>],
    most: usize,
) -> Vec<String> {
    let run: &Run = run;
    let Some(status) = &run.status else { return vec!["there is no result".to_owned()] };
    let namespace = run.namespace().unwrap_or_default();
    let mut lines = Vec::new();
    if status.reason == Some(Reason::Planned) {
        lines.push(format!("{}  nothing was touched", styled(GREEN, "can be done")));
    } else {
        lines.push(format!("{}  nothing was touched", styled(RED, "is refused")));
        // The controller gives every reason, with semicolons between.
        let reasons = status.message.split("; ");
        let rows: Vec<Vec<String>> =
            reasons.map(|reason| vec![styled(RED, "✗"), reason.to_owned()]).collect();
        lines.extend(table(&rows, most));
    }
    lines.extend(targets(run, status, &namespace, most));
    lines.extend(steps(run, status, most));
    for one in removable {
        lines.extend(removals(one, most));
    }
    lines.extend(limits(run, status));
    if !status.exceptions.is_empty() {
        lines.push(String::new());
        lines.push(styled(BOLD, "exceptions"));
        let rows: Vec<Vec<String>> = status
            .exceptions
            .iter()
            .map(|one| {
                vec![
                    styled(YELLOW, &counted(one.count, "pod")),
                    format!("{} (such as {})", one.message, one.example),
                ]
            })
            .collect();
        lines.extend(table(&rows, most));
    }
    lines
}

fn targets(run: &Run, status: &RunStatus, namespace: &str, most: usize) -> Vec<String> {
    let counts = &status.targets;
    let mut lines = vec![String::new(), styled(BOLD, "targets")];
    let summary = format!(
        "{} selected in namespace {namespace}; {} picked for the first step, on {}",
        counted(counts.selected, "ready pod"),
        status.steps.iter().map(|step| step.picked).find(|picked| *picked > 0).unwrap_or(0),
        counted(counts.nodes, "node"),
    );
    lines.extend(wrap(&summary, most));
    if counts.refused > 0 {
        lines.push(styled(RED, &format!("{} of them cannot be armed", counts.refused)));
    }
    let spec = status.spec.as_ref().or(run.spec.inline.as_ref());
    for (name, target) in spec.iter().flat_map(|spec| &spec.targets) {
        let json = serde_json::to_value(target).unwrap_or_default();
        lines.extend(wrap(&format!("{}  {json}", styled(DIM, name)), most));
    }
    lines
}

fn steps(run: &Run, status: &RunStatus, most: usize) -> Vec<String> {
    let Some(spec) = status.spec.as_ref().or(run.spec.inline.as_ref()) else { return Vec::new() };
    let rows: Vec<Vec<String>> = spec
        .steps
        .iter()
        .map(|step| {
            let planned = status.steps.iter().find(|one| one.name == step.name);
            let pods = planned.filter(|_| step.fault.is_some() || step.pods.is_some());
            let pods = pods.map(|one| counted(one.picked, "pod")).unwrap_or_default();
            vec![step.name.clone(), pods, in_words(step)]
        })
        .collect();
    [String::new(), styled(BOLD, "steps")].into_iter().chain(table(&rows, most)).collect()
}

/// Which pods a step may remove, and what budgets say of them.
fn removals(removable: &Removable, most: usize) -> Vec<String> {
    let Removable { step, picked, pods, is_narrower, budgets, unknown, .. } = removable;
    let mut lines = vec![String::new(), styled(BOLD, &format!("removed by step {step}"))];
    let names: Vec<&str> = pods.iter().take(MOST_NAMED).map(String::as_str).collect();
    let more = match pods.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    if !pods.is_empty() {
        let of = counted(pods.len() as u64, "pod");
        let which = match (*picked as usize == pods.len(), *is_narrower) {
            (true, false) => String::new(),
            (_, false) => format!("{picked} of {of}, others in each Run: "),
            (_, true) => format!(
                "{picked} of {of} that the labels select, and of fewer by the target's other fields; others in each Run: "
            ),
        };
        lines.extend(wrap(&format!("{which}{}{more}", names.join(", ")), most));
    }
    lines.extend(budgets.iter().flat_map(|budget| wrap(budget, most)));
    lines.extend(unknown.iter().flat_map(|why| wrap(&format!("not looked at: {why}"), most)));
    lines
}

/// The limits of the experiment, as it has them.
fn limits(run: &Run, status: &RunStatus) -> Vec<String> {
    let Some(spec) = status.spec.as_ref().or(run.spec.inline.as_ref()) else { return Vec::new() };
    let limits = serde_json::to_value(&spec.limits).unwrap_or_default();
    let mut lines = vec![String::new(), styled(BOLD, "limits")];
    match limits.as_object().filter(|limits| !limits.is_empty()) {
        Some(limits) => lines.extend(limits.iter().map(|(name, value)| {
            format!("{name}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        })),
        None => lines.push(styled(DIM, "none; `pick` alone bounds the Run")),
    }
    lines
}
