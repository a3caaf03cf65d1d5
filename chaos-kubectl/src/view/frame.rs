//! Renders a Run as it stands now: what `watch` rewrites in place.

use chaos_api::kinds::{Mode, Run, RunPhase, RunStatus, Step, StepPhase, StepStatus, TargetCounts};
use chaos_controller::counted;
use jiff::Timestamp;
use kube::ResourceExt as _;

use super::{
    deed, done_word, halt_reason, hypothesis, in_words, ledger, mode_word, probes::probes, source,
    state, until, verdict,
};
use crate::{
    printable::Printable,
    text::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, number, pad, styled, table, width, wrap},
};

/// How long a Run may go without a word before the controller is asked after.
const PATIENCE_SECONDS: i64 = 10;

/// Exceptions that are shown.
const MOST_EXCEPTIONS: usize = 6;

/// The longest bar.
const BAR: usize = 32;

/// Lines about a Run at a moment, each at most `most` characters long where words allow it.
pub fn frame(run: &Printable<Run>, now: Timestamp, most: usize) -> Vec<String> {
    let run: &Run = run;
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
    for judged in [verdict(status), hypothesis(status)].into_iter().flatten() {
        lines.extend(wrap(&judged, most));
    }
    lines.extend(phase(status).map(|text| styled(YELLOW, text)));
    lines.push(String::new());
    lines.extend(steps(run, status, now, most));
    let running = status.steps.iter().find(|step| step.phase == StepPhase::Running);
    let last = status.steps.iter().rev().find(|step| step.picked > 0);
    if let Some(step) = running.filter(|step| step.picked > 0).or(last) {
        lines.push(String::new());
        let deed = deed(run, status, &step.name);
        let done = deed.map_or("armed", done_word);
        lines.push(targets(&status.targets, step.picked, done, most));
        if status.ledger.matched > 0 || deed.is_none_or(|step| step.fault.is_some()) {
            let ledger = ledger(&status.ledger, run.spec.mode);
            lines.push(format!("{}  {ledger}", styled(DIM, "ledger ")));
        }
    }
    lines.extend(probes(run, status, most));
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
    match silence(run, now) {
        None => vec!["no controller has taken it up yet".to_owned()],
        Some(text) => wrap(&text, most).iter().map(|line| styled(YELLOW, line)).collect(),
    }
}

/// What is said of a Run that no controller takes up.
pub fn silence(run: &Run, now: Timestamp) -> Option<String> {
    let created = run.creation_timestamp().filter(|_| run.status.is_none())?;
    let waited = now.duration_since(created.0).as_secs();
    (waited >= PATIENCE_SECONDS).then(|| {
        format!(
            "no controller has taken it up for {waited}s; `kubectl chaos doctor` says whether one is there"
        )
    })
}

/// What a Run does while none of its steps runs.
fn phase(status: &RunStatus) -> Option<&'static str> {
    match status.phase {
        RunPhase::Baseline => Some("the probes are asked before anything is broken"),
        RunPhase::Recovering => Some("every step has ended; the probes must hold again"),
        RunPhase::Running | RunPhase::Finished => None,
    }
}

/// Each step with what it does, how far it is, and what it has done.
fn steps(run: &Run, status: &RunStatus, now: Timestamp, most: usize) -> Vec<String> {
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
            let deed = deed(run, status, &step.name);
            vec![
                format!("{} {}", styled(style, sign), step.name),
                progress(step, now),
                deed.map(|deed| done(step, deed, run.spec.mode)).unwrap_or_default(),
                deed.map(|deed| styled(DIM, &in_words(deed))).unwrap_or_default(),
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

/// What a step has done so far.
fn done(step: &StepStatus, deed: &Step, mode: Mode) -> String {
    if deed.pods.is_some() {
        // What only says what it would do removes nothing.
        return match (step.phase, mode) {
            (StepPhase::Pending | StepPhase::Skipped, _) | (_, Mode::Plan) => String::new(),
            (_, Mode::Shadow) => format!("0 of {} removed", step.picked),
            (_, Mode::Armed) => format!("{} of {} removed", step.evidence.armed, step.picked),
        };
    }
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

/// How many of the picked pods are armed, or removed, as a bar and in numbers.
fn targets(counts: &TargetCounts, picked: u32, done: &str, most: usize) -> String {
    let TargetCounts { selected, nodes, armed, waiting, refused, ended, .. } = *counts;
    let mut parts = vec![format!("{}/{picked} {done}", armed + ended)];
    // What is removed has ended for good.
    let over = if done == "removed" { 0 } else { ended };
    for (number, word, style) in
        [(waiting, "waiting", YELLOW), (refused, "refused", RED), (over, "ended", DIM)]
    {
        if number > 0 {
            parts.push(styled(style, &format!("{number} {word}")));
        }
    }
    parts.push(styled(DIM, &format!("of {selected} selected, on {}", counted(nodes, "node"))));
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
                styled(YELLOW, &counted(one.count, "pod")),
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
