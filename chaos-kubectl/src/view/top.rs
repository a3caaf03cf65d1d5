//! Renders the Runs that go on as a table with one of them chosen: what `top` rewrites in place.

use chaos_api::kinds::{LedgerSums, Mode, Run, RunPhase, StepPhase};
use chaos_controller::counted;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    is_time, left, number_in_words,
    probes::{state_word, worst},
    source, state,
};
use crate::{
    printable::Printable,
    text::{BOLD, DIM, number, styled, table},
};

/// A Run, and what is known of it besides.
pub struct Going {
    pub run: Printable<Run>,
    /// Events that were hit in a second, between two looks.
    pub rate: Option<f64>,
}

/// Lines about Runs. `chosen` is the place of one among them.
pub fn top(
    runs: &[Going],
    with_namespace: bool,
    chosen: Option<usize>,
    now: Timestamp,
    most: usize,
) -> Vec<String> {
    if runs.is_empty() {
        return vec!["no Run goes on".to_owned()];
    }
    let mut heading = vec![
        "",
        "NAME",
        "EXPERIMENT",
        "STATE",
        "TARGETS",
        "INJECTED",
        "PER S",
        "LEFT",
        "WORST PROBE",
    ];
    if with_namespace {
        heading.insert(1, "NAMESPACE");
    }
    let mut rows = vec![heading.iter().map(|word| styled(BOLD, word)).collect::<Vec<_>>()];
    for (place, going) in runs.iter().enumerate() {
        let is_chosen = chosen == Some(place);
        rows.push(row(going, with_namespace, is_chosen, now));
    }
    table(&rows, most)
}

/// The lines that a terminal of this height has room for: what is said above and below the table always, and of its rows
/// those round the chosen one. `table` has its heading first.
pub fn screenful(
    sums: String,
    table: Vec<String>,
    footer: String,
    chosen: Option<usize>,
    height: usize,
) -> Vec<String> {
    // The last line of the terminal has the cursor.
    let most = height.saturating_sub(1);
    let blank = String::new;
    let mut lines = Vec::new();
    if table.len() + 4 <= most {
        lines.extend([sums, blank()]);
        lines.extend(table);
        lines.push(blank());
    } else if let Some((heading, rows)) = table.split_first() {
        let room = most.saturating_sub(3).clamp(1, rows.len().max(1));
        let first =
            chosen.unwrap_or(0).saturating_sub(room / 2).min(rows.len().saturating_sub(room));
        let shown = rows.iter().skip(first).take(room);
        if most > 3 {
            let last = (first + room).min(rows.len());
            lines.push(match rows.len() > room {
                true => {
                    format!("{sums}{}", styled(DIM, &format!(", {} to {last} shown", first + 1)))
                }
                false => sums,
            });
        }
        if most > 2 {
            lines.push(heading.clone());
        }
        lines.extend(shown.cloned());
    }
    lines.push(footer);
    lines
}

/// What is said above the table.
pub fn sums(runs: &[Going], place: &str) -> String {
    let armed: u32 = runs
        .iter()
        .filter_map(|going| going.run.status.as_ref())
        .map(|status| status.targets.armed)
        .sum();
    let failing = runs
        .iter()
        .filter_map(|going| going.run.status.as_ref())
        .filter(|status| worst(status).is_some_and(|probe| state_word(probe.state) == "fail"));
    let words = format!(
        "{} in {place}, {} armed, {} with a probe that fails",
        counted(runs.len() as u64, "Run"),
        counted(armed, "pod"),
        failing.count()
    );
    styled(DIM, &words)
}

/// Whether a Run goes on.
pub fn goes_on(run: &Run) -> bool {
    run.status.as_ref().is_none_or(|status| status.phase != RunPhase::Finished)
}

/// The events that count: in the mode `Shadow` those that would have been hit.
pub fn hits(run: &Run) -> u64 {
    let ledger: LedgerSums = run.status.as_ref().map(|status| status.ledger).unwrap_or_default();
    match run.spec.mode {
        Mode::Shadow => ledger.shadowed,
        Mode::Plan | Mode::Armed => ledger.injected,
    }
}

fn row(going: &Going, with_namespace: bool, is_chosen: bool, now: Timestamp) -> Vec<String> {
    let run: &Run = &going.run;
    let status = run.status.as_ref();
    let (word, style) = state(run);
    let spec = status.and_then(|status| status.spec.as_ref()).or(run.spec.inline.as_ref());
    let probe = status.and_then(worst).map(|probe| {
        let words = |value: f64| number_in_words(value, is_time(&probe.name, spec));
        let value = probe.value.map(|value| format!(" {}", words(value)));
        let baseline = probe.baseline.map(|value| format!(" (was {})", words(value)));
        let word = state_word(probe.state);
        format!(
            "{} {word}{}{}",
            probe.name,
            value.unwrap_or_default(),
            baseline.unwrap_or_default()
        )
    });
    let name = run.name_any();
    let mut row = vec![
        if is_chosen { styled(BOLD, "▶") } else { String::new() },
        if is_chosen { styled(BOLD, &name) } else { name },
        source(run).to_owned(),
        styled(style, &word),
        status.map(|status| status.summary.targets.clone()).unwrap_or_default(),
        number(hits(run)),
        rate(going, now),
        left(run, now),
        probe.unwrap_or_default(),
    ];
    if with_namespace {
        row.insert(1, run.namespace().unwrap_or_default());
    }
    row
}

/// Hits in a second; before the second look the average since the step began, with `~`.
fn rate(going: &Going, now: Timestamp) -> String {
    if let Some(rate) = going.rate {
        return per_second(rate);
    }
    let steps = going.run.status.iter().flat_map(|status| &status.steps);
    let mut running =
        steps.filter(|step| step.phase == StepPhase::Running && step.ledger.matched > 0);
    let average = running.next().and_then(|step| {
        let seconds = now.duration_since(step.started.as_ref()?.0).as_secs_f64();
        let hits = if going.run.spec.mode == Mode::Shadow {
            step.ledger.shadowed
        } else {
            step.ledger.injected
        };
        (seconds >= 1.0).then(|| hits as f64 / seconds)
    });
    average.map(|rate| format!("~{}", per_second(rate))).unwrap_or_default()
}

/// Counts move in jumps: more digits would mean nothing.
fn per_second(rate: f64) -> String {
    number_in_words(if rate >= 10.0 { rate.round() } else { (rate * 10.0).round() / 10.0 }, false)
}
