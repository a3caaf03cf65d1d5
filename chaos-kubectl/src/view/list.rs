//! Renders Runs as a table.

use chaos_api::kinds::Run;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{age, left, mode_word, source, state};
use crate::{
    printable::{Printable, in_one_line},
    text::{BOLD, number, styled, table},
};

/// A table of Runs, the newest last.
pub fn list(
    runs: &[Printable<Run>],
    with_namespace: bool,
    now: Timestamp,
    most: usize,
) -> Vec<String> {
    let mut runs: Vec<&Run> = runs.iter().map(|run| &**run).collect();
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
            status.map(|status| in_one_line(&status.message)).unwrap_or_default(),
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
