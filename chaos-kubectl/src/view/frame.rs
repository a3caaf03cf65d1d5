//! Renders a Run as it stands now: what `watch` rewrites in place.

use chaos_api::kinds::{
    ExperimentSpec, Mode, Run, RunStatus, Step, StepPhase, StepStatus, TargetCounts,
};
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{halt_reason, ledger, mode_word, source, state, until, verdict};
use crate::text::{
    BOLD, CYAN, DIM, GREEN, RED, YELLOW, count, number, pad, styled, table, width, wrap,
};

/// How long a Run may go without a word before the controller is asked after.
const PATIENCE_SECONDS: i64 = 10;

/// Exceptions that are shown.
const MOST_EXCEPTIONS: usize = 6;

/// The longest bar.
const BAR: usize = 32;

/// Lines about a Run at a moment, each at most `most` characters long where words allow it.
pub fn frame(run: &Run, now: Timestamp, most: usize) -> Vec<String> {
    let mut lines = vec![heading(run)];
    let Some(status) = &run.status else {
        lines.push(String::new());
        lines.extend(pending(run, now, most));
        return lines;
    };
    if !status.message.is_empty() {
        let mut message = status.message.clone();
        if let Some(reason) = halt_reason(run) {
            message.push_str(&format!(" ({reason})"));
        }
        lines.extend(wrap(&message, most));
    }
    if let Some(verdict) = verdict(status) {
        lines.extend(wrap(&verdict, most));
    }
    lines.push(String::new());
    lines.extend(steps(run, status, now, most));
    let running = status.steps.iter().find(|step| step.phase == StepPhase::Running);
    let last = status.steps.iter().rev().find(|step| step.picked > 0);
    if let Some(step) = running.filter(|step| step.picked > 0).or(last) {
        lines.push(String::new());
        lines.push(targets(&status.targets, step.picked, most));
        lines.push(format!(
            "{}  {}",
            styled(DIM, "ledger "),
            ledger(&status.ledger, run.spec.mode)
        ));
    }
    lines.extend(exceptions(status, most));
    lines
}

fn heading(run: &Run) -> String {
    let (word, style) = state(run);
    format!(
        "{}  {}  {}",
        styled(BOLD, &format!("{}/{}", run.namespace().unwrap_or_default(), run.name_any())),
        styled(style, &word),
        styled(DIM, &format!("{}, {}", source(run), mode_word(run.spec.mode))),
    )
}

fn pending(run: &Run, now: Timestamp, most: usize) -> Vec<String> {
    let waited = run.creation_timestamp().map_or(0, |time| now.duration_since(time.0).as_secs());
    if waited < PATIENCE_SECONDS {
        return vec!["no controller has taken it up yet".to_owned()];
    }
    let text = format!(
        "no controller has taken it up for {waited}s; `kubectl chaos doctor` says whether one is there"
    );
    wrap(&text, most).iter().map(|line| styled(YELLOW, line)).collect()
}

/// Each step with what it does, how far it is, and what it has done.
fn steps(run: &Run, status: &RunStatus, now: Timestamp, most: usize) -> Vec<String> {
    let spec = status.spec.as_ref().or(run.spec.inline.as_ref());
    let rows: Vec<Vec<String>> = status
        .steps
        .iter()
        .map(|step| {
            let (sign, style) = match step.phase {
                StepPhase::Pending => ("·", DIM),
                StepPhase::Running => ("▶", GREEN),
                StepPhase::Done => ("✓", GREEN),
                StepPhase::Failed => ("✗", RED),
                StepPhase::Skipped => ("–", DIM),
            };
            vec![
                format!("{} {}", styled(style, sign), step.name),
                progress(step, now),
                done(step, run.spec.mode),
                spec.map(|spec| deed(spec, &step.name)).unwrap_or_default(),
            ]
        })
        .collect();
    table(&rows, most)
}

fn progress(step: &StepStatus, now: Timestamp) -> String {
    match step.phase {
        StepPhase::Pending => styled(DIM, "pending"),
        StepPhase::Running => match step.ends.as_ref().and_then(|ends| until(ends, now)) {
            Some(left) => styled(BOLD, &format!("{left} left")),
            None => "ending".to_owned(),
        },
        StepPhase::Done => styled(DIM, "done"),
        StepPhase::Failed => styled(RED, "failed"),
        StepPhase::Skipped => styled(DIM, "skipped"),
    }
}

fn done(step: &StepStatus, mode: Mode) -> String {
    if step.ledger.matched == 0 {
        return String::new();
    }
    match mode {
        Mode::Shadow => format!("{} shadowed", number(step.ledger.shadowed)),
        Mode::Armed | Mode::Plan => {
            format!("{} injected", number(step.ledger.injected))
        }
    }
}

/// What a step does, in one line.
fn deed(spec: &ExperimentSpec, name: &str) -> String {
    let Some(step) = spec.steps.iter().find(|step| step.name == name) else {
        return String::new();
    };
    styled(DIM, &in_words(step))
}

/// A step in one line.
pub(super) fn in_words(step: &Step) -> String {
    match (&step.fault, &step.wait) {
        (Some(fault), _) => {
            let lines = fault.sentences.lines().map(str::trim).filter(|line| !line.is_empty());
            let sentences = lines.collect::<Vec<_>>().join("; ");
            format!("{sentences} for {} on {}", fault.duration, fault.target)
        }
        (None, Some(wait)) => format!("wait {}", wait.duration),
        (None, None) => String::new(),
    }
}

/// How many of the picked pods are armed, as a bar and in numbers.
fn targets(counts: &TargetCounts, picked: u32, most: usize) -> String {
    let TargetCounts { selected, nodes, armed, waiting, refused, ended, .. } = *counts;
    let mut parts = vec![format!("{}/{picked} armed", armed + ended)];
    for (number, word, style) in
        [(waiting, "waiting", YELLOW), (refused, "refused", RED), (ended, "ended", DIM)]
    {
        if number > 0 {
            parts.push(styled(style, &format!("{number} {word}")));
        }
    }
    parts.push(styled(DIM, &format!("of {selected} selected, on {}", count(nodes, "node"))));
    let words = parts.join("  ");
    let head = format!("{}  ", styled(DIM, "targets"));
    let room = most.saturating_sub(width(&head) + width(&words) + 2).min(BAR);
    if room < 8 {
        return format!("{head}{words}");
    }
    format!(
        "{head}{}  {words}",
        bar(&[(armed, "█", GREEN), (ended, "▓", CYAN), (refused, "▒", RED)], picked, room)
    )
}

/// Shares of a whole, at least one character for each that is there.
fn bar(parts: &[(u32, &str, anstyle::Style)], whole: u32, length: usize) -> String {
    let mut bar = String::new();
    let mut used = 0;
    for (part, sign, style) in parts {
        if *part == 0 || used >= length {
            continue;
        }
        let share = (*part as usize * length) / (whole.max(1) as usize);
        let share = share.clamp(1, length - used);
        bar.push_str(&styled(*style, &sign.repeat(share)));
        used += share;
    }
    pad(&format!("{bar}{}", styled(DIM, &"░".repeat(length - used))), length)
}

fn exceptions(status: &RunStatus, most: usize) -> Vec<String> {
    if status.exceptions.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Vec<String>> = status
        .exceptions
        .iter()
        .take(MOST_EXCEPTIONS)
        .map(|one| {
            vec![
                styled(YELLOW, &count(one.count, "pod")),
                format!("{} (such as {})", one.message, one.example),
            ]
        })
        .collect();
    let mut lines = vec![String::new(), styled(DIM, "exceptions")];
    lines.extend(table(&rows, most));
    if status.exceptions.len() > MOST_EXCEPTIONS {
        let more = status.exceptions.len() - MOST_EXCEPTIONS;
        lines.push(styled(DIM, &format!("and {more} more")));
    }
    lines
}
