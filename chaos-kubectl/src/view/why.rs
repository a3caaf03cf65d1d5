//! Renders what was found out about a pod.

use std::time::Duration;

use chaos_api::{Counts, Phase};
use chaos_fault::print_duration;

use crate::{
    diagnosis::why::{FaultLine, State, Why},
    printable::Printable,
    text::{BOLD, DIM, GREEN, RED, YELLOW, number, styled, table, wrap},
};

/// Lines about a pod.
pub fn why(why: &Printable<Why>, most: usize) -> Vec<String> {
    let node = why.node.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default();
    let (words, style) = match why.state {
        State::Nothing => ("nobody asks for faults", GREEN),
        State::Armed => ("faults are in force", RED),
        State::Waiting => ("faults are asked for, and not in force yet", YELLOW),
        State::Refused => ("faults are asked for, and refused", YELLOW),
        State::Ended => ("faults were asked for, and are over", GREEN),
        State::Unanswered => ("faults are asked for, and not in force", YELLOW),
    };
    let mut lines = vec![format!("{}{node}: {}", styled(BOLD, &why.pod), styled(style, words))];
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, text: &str| rows.push(vec![styled(DIM, name), text.to_owned()]);
    for owner in &why.written_by {
        row("written by", owner);
    }
    if let Some(run) = &why.run {
        row("for Run", run);
    }
    for message in &why.messages {
        row("agent says", message);
    }
    lines.extend(table(&rows, most));
    for fault in &why.faults {
        lines.push(String::new());
        lines.extend(wrap(&fault.fault, most));
        lines.extend(indented(&details(fault), most));
    }
    if !why.causes.is_empty() {
        let heading = match why.state {
            State::Armed => "what is odd",
            State::Nothing | State::Waiting | State::Refused | State::Ended | State::Unanswered => {
                "what stands in the way"
            }
        };
        lines.extend([String::new(), styled(BOLD, heading)]);
        for cause in &why.causes {
            let rows = [
                vec![styled(YELLOW, "!"), cause.what.clone()],
                vec![styled(DIM, "→"), cause.remedy.clone()],
            ];
            lines.extend(table(&rows, most));
        }
    }
    lines
}

fn details(fault: &FaultLine) -> Vec<String> {
    let mut details = Vec::new();
    let mut time = Vec::new();
    if let Some(phase) = fault.phase {
        time.push(
            match phase {
                Phase::Waiting => "waiting",
                Phase::Active => "active",
                Phase::Ended => "ended",
            }
            .to_owned(),
        );
    }
    if let Some(since) = &fault.since {
        time.push(format!("since {since}"));
    }
    if let Some(until) = &fault.until {
        time.push(format!("until {until}"));
    }
    if let Some(left) = fault.seconds_left.and_then(|left| u64::try_from(left).ok()) {
        time.push(format!("({} left)", print_duration(Duration::from_secs(left))));
    }
    if !time.is_empty() {
        details.push(time.join("  "));
    }
    if let Some(counts) = &fault.counts {
        details.push(ledger(counts));
    }
    if let Some(unmatched) = &fault.unmatched {
        details.push(format!("nothing has matched: {unmatched}"));
    }
    details
}

fn ledger(counts: &Counts) -> String {
    let mut parts = vec![
        format!("matched {}", number(counts.matched)),
        format!("injected {}", number(counts.injected)),
    ];
    for (word, value) in [("shadowed", counts.shadowed), ("lost", counts.lost)] {
        if value > 0 {
            parts.push(format!("{word} {}", number(value)));
        }
    }
    for (reason, value) in &counts.spared {
        parts.push(format!("spared by {reason} {}", number(*value)));
    }
    parts.join("  ")
}

fn indented(lines: &[String], most: usize) -> Vec<String> {
    let wrapped = lines.iter().flat_map(|line| wrap(line, most.saturating_sub(2)));
    wrapped.map(|line| format!("  {}", styled(DIM, &line))).collect()
}
