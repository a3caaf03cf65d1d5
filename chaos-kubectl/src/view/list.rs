//! Renders Runs as a table.

use chaos_api::kinds::Run;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{age, mode_word, source, state, until};
use crate::text::{BOLD, number, styled, table};

/// A table of Runs, the newest last.
pub fn list(runs: &[Run], with_namespace: bool, now: Timestamp, most: usize) -> Vec<String> {
    let mut runs: Vec<&Run> = runs.iter().collect();
    runs.sort_by_key(|run| (run.creation_timestamp().map(|time| time.0), run.name_any()));
    let heading =
        ["NAME", "EXPERIMENT", "MODE", "STATE", "TARGETS", "INJECTED", "LEFT", "AGE", "MESSAGE"];
    let mut rows = vec![heading.iter().map(|word| styled(BOLD, word)).collect::<Vec<_>>()];
    if with_namespace {
        rows[0].insert(0, styled(BOLD, "NAMESPACE"));
    }
    for run in runs {
        let (word, style) = state(run);
        let status = run.status.as_ref();
        let injected = status.map(|status| number(status.ledger.injected)).unwrap_or_default();
        let created = run.creation_timestamp().map(|time| age(time.0, now)).unwrap_or_default();
        let mut row = vec![
            run.name_any(),
            source(run).to_owned(),
            mode_word(run.spec.mode).to_owned(),
            styled(style, &word),
            status.map(|status| status.summary.targets.clone()).unwrap_or_default(),
            injected,
            left(run, now),
            created,
            status.map(|status| first_line(&status.message)).unwrap_or_default(),
        ];
        if with_namespace {
            row.insert(0, run.namespace().unwrap_or_default());
        }
        rows.push(row);
    }
    table(&rows, most)
}

/// How a Run stands, in one word.
pub fn phase_word(run: &Run) -> String {
    state(run).0
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// How long the step that runs takes.
fn left(run: &Run, now: Timestamp) -> String {
    let status = run.status.as_ref();
    let steps = status.iter().flat_map(|status| &status.steps);
    let mut running = steps.filter(|step| step.phase == chaos_api::kinds::StepPhase::Running);
    let ends = running.find_map(|step| step.ends.as_ref());
    ends.and_then(|ends| until(ends, now)).unwrap_or_default()
}
