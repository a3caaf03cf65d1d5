//! Writes a report as Markdown, for pull requests and chats. What strangers chose is text there, never markup.

use chaos_api::kinds::{Hypothesis, Verdict};
use chaos_controller::counted;

use super::{
    model::{ProbeReport, Report},
    words,
};
use crate::{printable::in_one_line, view::number_in_words};

/// Pods that have a line of their own; the others are counted.
const MOST_PODS: usize = 50;

/// The whole report.
pub fn markdown(report: &Report) -> String {
    let mut parts = vec![heading(report), summary(report)];
    parts.extend(report.notes.iter().map(|note| format!("> **Note:** {}", text(note))));
    parts.extend(steps(report));
    parts.extend(probes(&report.probes));
    parts.extend(exceptions(report));
    parts.extend(timeline(report));
    parts.extend(pods(report));
    parts.extend((report.lines_cut > 0).then(|| words::cut(report.lines_cut)));
    parts.join("\n\n")
}

fn heading(report: &Report) -> String {
    let mut heading =
        format!("# {} Run {}: {}", sign(report), text(&report.title()), words::outcome(report));
    if !report.hypothesis.text.is_empty() {
        heading.push_str(&format!("\n\n> {}", text(&report.hypothesis.text)));
    }
    heading
}

fn sign(report: &Report) -> &'static str {
    match (report.exit_code, report.verdict.result) {
        (Some(0), _) => "✅",
        (Some(3), _) => "❌",
        (Some(_), Some(Verdict::Mismatch)) => "❌",
        (Some(_), _) => "⚠️",
        (None, _) => "⏳",
    }
}

fn summary(report: &Report) -> String {
    let rows = words::summary(report)
        .into_iter()
        .map(|(name, value)| vec![format!("**{name}**"), text(&value)]);
    table(&["", ""], rows)
}

fn steps(report: &Report) -> Option<String> {
    let (hit, hits) = words::hits(report.mode);
    let rows = report.steps.iter().map(|step| {
        let (phase, _) = words::phase(step);
        let failure = step.failure.as_ref().map(|why| format!(": {}", text(why)));
        vec![
            code(&step.name),
            code(&step.what),
            format!("{phase}{}", failure.unwrap_or_default()),
            words::pods_of(step),
            words::number_or_none(hits(&step.ledger)),
            words::span(step.started, step.ended),
        ]
    });
    let heading = ["Step", "What it does", "State", "Pods", hit, "Time (UTC)"];
    section("Steps", report.steps.len(), &heading, rows)
}

fn probes(probes: &[ProbeReport]) -> Option<String> {
    let rows = probes.iter().map(|probe| {
        let value = |value: Option<f64>| {
            value.map(|value| number_in_words(value, probe.is_time())).unwrap_or_default()
        };
        let result = match probe.result {
            Hypothesis::Held => format!("held: {}", text(&probe.message)),
            Hypothesis::Deviated => format!("**deviated**: {}", text(&probe.message)),
            Hypothesis::Unknown => format!("unknown: {}", text(&probe.message)),
        };
        vec![
            code(&probe.name),
            code(&probe.question),
            probe.expect.as_deref().map(code).unwrap_or_default(),
            format!("{:?}", probe.during),
            result,
            format!("{} of {}", probe.failed, probe.checks),
            value(probe.baseline),
            value(probe.value),
            text(&probe.worst),
        ]
    });
    let heading = [
        "Probe",
        "Question",
        "Expected",
        "During",
        "Result",
        "Failed",
        "Before",
        "Last",
        "Worst answer",
    ];
    section("Probes", probes.len(), &heading, rows)
}

fn exceptions(report: &Report) -> Option<String> {
    let rows = report
        .exceptions
        .iter()
        .map(|one| vec![counted(one.count, "pod"), text(&one.message), code(&one.example)]);
    section("Exceptions", report.exceptions.len(), &["Pods", "What", "Such as"], rows)
}

fn timeline(report: &Report) -> Option<String> {
    let rows = report.timeline.iter().map(|event| {
        let step = event.step.as_deref().map(code).unwrap_or_default();
        vec![words::clock(event.at), text(&event.what), step, text(&event.message)]
    });
    section("Timeline", report.timeline.len(), &["Time (UTC)", "What", "Step", "Message"], rows)
}

fn pods(report: &Report) -> Option<String> {
    let pods = &report.pods;
    let (hit, hits) = words::hits(report.mode);
    let rows = pods.iter().take(MOST_PODS).map(|line| {
        vec![
            code(&format!("{}/{}", line.namespace, line.pod)),
            line.node.as_deref().map(code).unwrap_or_default(),
            code(&line.step),
            text(&line.state),
            words::number_or_none(line.ledger.matched),
            words::number_or_none(hits(&line.ledger)),
            line.refusal.as_deref().map(text).unwrap_or_default(),
        ]
    });
    let heading = ["Pod", "Node", "Step", "State", "Matched", hit, "Why not"];
    let mut section = section("Pods", pods.len(), &heading, rows)?;
    if let Some(more) = pods.len().checked_sub(MOST_PODS).filter(|more| *more > 0) {
        section.push_str(&format!("\n\nand {more} more; `-o json` has them all"));
    }
    Some(section)
}

fn section(
    name: &str,
    rows_there: usize,
    heading: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) -> Option<String> {
    (rows_there > 0).then(|| format!("## {name}\n\n{}", table(heading, rows)))
}

/// A table of Markdown.
pub(super) fn table(heading: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let mut lines = vec![row(heading.iter().map(|word| (*word).to_owned()).collect())];
    lines.push(format!("|{}", "---|".repeat(heading.len())));
    lines.extend(rows.map(row));
    lines.join("\n")
}

/// Text that means nothing to Markdown, in one line. Names are not mentioned by `@`.
pub(super) fn text(text: &str) -> String {
    let mut escaped = String::new();
    for character in in_one_line(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("&#64;\u{2060}"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(character);
            }
            other => escaped.push(other),
        }
    }
    // What looks like an address is no link.
    escaped.replace("://", ":\u{2060}//").replace("www.", "www\u{2060}.")
}

/// Text as it stands, in one line. In a table, a `|` ends the cell even in code.
pub(super) fn code(text: &str) -> String {
    let text = in_one_line(text);
    if text.is_empty() {
        return String::new();
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{}{space}{fence}", text.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_chose_is_no_markup() {
        assert_eq!(
            text("<script>|*x*`\n[a](http://b) @team"),
            "&lt;script&gt;\\|\\*x\\*\\` \\[a\\](http:\u{2060}//b) &#64;\u{2060}team"
        );
        assert_eq!(code("a|b"), "`a\\|b`");
        assert_eq!(code("``x`"), "``` ``x` ```");
        assert_eq!(code(""), "");
    }
}
