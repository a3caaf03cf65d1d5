//! Writes a report as one page of HTML that needs nothing else: no script, no other resource. What strangers chose is text
//! there, never markup: `maud` escapes all of it.

mod chart;

use chaos_api::kinds::Hypothesis;
use chaos_controller::counted;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    compare::Comparison,
    model::{ProbeReport, Report, StepReport},
    words,
};
use crate::{text::number, view::number_in_words};

/// The page may load nothing and run nothing, whatever is in it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = include_str!("style.css");

/// Pods that have a line of their own; the others are counted.
const MOST_PODS: usize = 500;

/// The whole report.
pub fn page(report: &Report) -> String {
    let title = format!("{}: {}", report.title(), words::outcome(report));
    document(
        &title,
        html! {
            (heading(report))
            (judgements(report))
            @for note in &report.notes { p.note { (note) } }
            (facts(report))
            (probes(report))
            (steps(report))
            (exceptions(report))
            (timeline(report))
            (pods(report))
            @if report.lines_cut > 0 { p.note { (words::cut(report.lines_cut)) } }
        },
    )
}

/// Two Runs side by side.
pub fn comparison(comparison: &Comparison) -> String {
    let [one, other] = &comparison.runs;
    document(
        &format!("{one} and {other}"),
        html! {
            p.over { "chaos-agent, two Runs side by side" }
            h1 { (one) " and " (other) }
            h2 { "What differs comes first" }
            div.card.scroll {
                table {
                    tr { th { "" } th { (one) } th { (other) } }
                    @for row in &comparison.rows {
                        tr class=(if row.differs { "differs" } else { "same" }) {
                            td { (row.what) }
                            @for value in &row.values { td.message { (value) } }
                        }
                    }
                }
            }
        },
    )
}

fn document(title: &str, body: Markup) -> String {
    let document = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    document.into_string()
}

fn heading(report: &Report) -> Markup {
    let what = report.experiment.as_deref().unwrap_or("an experiment of its own");
    html! {
        p.over { "chaos-agent, a Run of " (what) }
        h1 { (report.title()) }
        @if !report.hypothesis.text.is_empty() { blockquote { (report.hypothesis.text) } }
    }
}

fn judgements(report: &Report) -> Markup {
    let verdict = report.verdict.result.map(words::verdict);
    let (verdict, verdict_class) = verdict.unwrap_or(("Not judged yet", "dim"));
    let (held, held_class) = match report.hypothesis.judged.result {
        Some(Hypothesis::Held) => ("Held", "good"),
        Some(Hypothesis::Deviated) => ("Deviated", "bad"),
        Some(Hypothesis::Unknown) => ("Unknown", "warn"),
        None if report.probes.is_empty() => ("Not asked", "dim"),
        None => ("Not judged yet", "dim"),
    };
    html! {
        div.judgements {
            section class={ "card " (verdict_class) } {
                p.over { "Was it really done?" }
                strong { (verdict) }
                p { (report.verdict.message) }
                @if let Some(reason) = report.verdict.reason { (chip(&format!("{reason:?}"), "dim")) }
            }
            section class={ "card " (held_class) } {
                p.over { "Did the service hold?" }
                strong { (held) }
                @if report.probes.is_empty() { p { "There are no probes." } }
                p { (report.hypothesis.judged.message) }
                @if let Some(reason) = report.hypothesis.judged.reason { (chip(&format!("{reason:?}"), "dim")) }
            }
        }
    }
}

fn chip(word: &str, class: &str) -> Markup {
    html! { span class={ "chip " (class) } { (word) } }
}

fn facts(report: &Report) -> Markup {
    let shown = ["Verdict", "Hypothesis", "Ledger"];
    let rows = words::summary(report).into_iter().filter(|(name, _)| !shown.contains(name));
    let ledger = report.ledger;
    let (heading, hits) = words::hits(report.mode);
    let hit = hits(&ledger);
    let share =
        |part: u64| format!("width:{:.2}%", 100.0 * part as f64 / ledger.matched.max(1) as f64);
    let word = heading.to_lowercase();
    html! {
        section.card {
            dl { @for (name, value) in rows { div { dt { (name) } dd { (value) } } } }
            @if ledger.matched > 0 {
                div.bar {
                    i.injected style=(share(hit)) {}
                    i.lost style=(share(ledger.lost)) {}
                }
                div.legend {
                    span { "matched " b { (number(ledger.matched)) } }
                    span { (word) " " b { (number(hit)) } }
                    span { "spared " b { (number(ledger.spared)) } }
                    @if ledger.lost > 0 { span.bad-text { "lost " b { (number(ledger.lost)) } } }
                }
            }
        }
    }
}

fn probes(report: &Report) -> Markup {
    html! {
        @if !report.probes.is_empty() {
            h2 { "Probes" }
            @for one in &report.probes { (probe(one, report)) }
        }
    }
}

fn probe(probe: &ProbeReport, report: &Report) -> Markup {
    let (word, class) = words::hypothesis(probe.result);
    let value = |value: f64| number_in_words(value, probe.is_time());
    html! {
        section.card.probe {
            header {
                h3 { (probe.name) }
                (chip(word, class))
                (chip(&format!("{:?}", probe.during), "dim"))
                span { (probe.message) }
            }
            p {
                @if !probe.question.is_empty() { code { (probe.question) } }
                @if let Some(expect) = &probe.expect { " must give " code { (expect) } }
            }
            @if !probe.samples.is_empty() {
                div.chart { (chart::chart(probe, report)) }
                p.numbers { (chart::legend(probe, report)) }
            }
            p.numbers {
                (counted(probe.checks, "check")) ", " (number(probe.failed.into())) " failed, "
                (number(probe.errors.into())) " without an answer"
                @if let Some(baseline) = probe.baseline { " · before " (value(baseline)) }
                @if let Some(last) = probe.value { " · last " (value(last)) }
                @if !probe.worst.is_empty() { " · worst " (probe.worst) }
            }
        }
    }
}

fn steps(report: &Report) -> Markup {
    let steps = &report.steps;
    let (heading, hits) = words::hits(report.mode);
    let phase = |step: &StepReport| {
        let (word, class) = words::phase(step);
        chip(word, class)
    };
    html! {
        @if !steps.is_empty() {
            h2 { "Steps" }
            div.card.scroll { table {
                tr { th { "Step" } th { "State" } th { "What it does" } th { "Pods" } th.number { (heading) } th { "Time (UTC)" } }
                @for step in steps {
                    tr {
                        td { b { (step.name) } }
                        td { (phase(step)) }
                        td.message {
                            code { (step.what) }
                            @if let Some(why) = &step.failure { p.bad-text { (why) } }
                        }
                        td { (words::pods_of(step)) }
                        td.number { (words::number_or_none(hits(&step.ledger))) }
                        td.time { (words::span(step.started, step.ended)) }
                    }
                }
            } }
        }
    }
}

fn exceptions(report: &Report) -> Markup {
    html! {
        @if !report.exceptions.is_empty() {
            h2 { "Exceptions" }
            div.card.scroll { table {
                tr { th { "Pods" } th { "What" } th { "Such as" } }
                @for one in &report.exceptions {
                    tr { td.time { (counted(one.count, "pod")) } td.message { (one.message) } td { code { (one.example) } } }
                }
            } }
        }
    }
}

fn timeline(report: &Report) -> Markup {
    html! {
        @if !report.timeline.is_empty() {
            h2 { "Timeline" }
            div.card.scroll { table {
                tr { th { "Time (UTC)" } th { "What" } th { "Message" } }
                @for event in &report.timeline {
                    tr {
                        td.time { (words::clock(event.at)) }
                        td { b { (event.what) } @if let Some(step) = &event.step { " " (step) } }
                        td.message { (event.message) }
                    }
                }
            } }
        }
    }
}

fn pods(report: &Report) -> Markup {
    let pods = &report.pods;
    let (heading, hits) = words::hits(report.mode);
    let class = |state: &str| match state {
        "Refused" => "bad",
        "Waiting" => "warn",
        "Armed" | "Ended" | "Removed" => "good",
        _ => "dim",
    };
    html! {
        @if !pods.is_empty() {
            h2 { "Pods" }
            div.card.scroll { table {
                tr { th { "Pod" } th { "Node" } th { "Step" } th { "State" } th.number { "Matched" } th.number { (heading) } }
                @for line in pods.iter().take(MOST_PODS) {
                    tr {
                        td.message { (line.namespace) "/" (line.pod) @if let Some(why) = &line.refusal { p.bad-text { (why) } } }
                        td { (line.node.as_deref().unwrap_or_default()) }
                        td { (line.step) }
                        td { (chip(&line.state.to_lowercase(), class(&line.state))) }
                        td.number { (words::number_or_none(line.ledger.matched)) }
                        td.number { (words::number_or_none(hits(&line.ledger))) }
                    }
                }
            } }
            @if pods.len() > MOST_PODS { p.over { "and " (pods.len() - MOST_PODS) " more; -o json has them all" } }
        }
    }
}
