//! Says what an annotation has of a run. Pure: it goes by the run's status.

use std::fmt::Debug;

use chaos_api::kinds::{Mode, Run, RunStatus};
use jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use crate::{
    names::full_name,
    probes::{breaking, first_broken},
    retention::finished,
};

/// The tag of all annotations.
const TAG: &str = "chaos-agent";

/// Grafana's database has so many characters for the value of a tag.
const LONGEST_VALUE: usize = 100;

/// In bytes, of a text.
const LONGEST_TEXT: usize = 2048;

/// What Grafana has of a run: a point in time as long as the run goes on, then a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// No other run has all of them.
    pub tags: Vec<String>,
    pub begin: Timestamp,
    pub end: Option<Timestamp>,
    pub text: String,
    /// How the text calls the run.
    pub title: String,
}

/// From when a run breaks pods, and when it has ended if it has. Nothing of one that breaks none.
pub fn span(run: &Run) -> Option<(Timestamp, Option<Timestamp>)> {
    match run.spec.mode {
        Mode::Armed => {}
        Mode::Plan | Mode::Shadow => return None,
    }
    let begin = first_broken(run.status.as_ref()?)?;
    Some((begin, finished(run).map(|end| end.max(begin))))
}

impl Annotation {
    /// The annotation of a run that has broken pods.
    pub fn of(run: &Run) -> Option<Self> {
        let (begin, end) = span(run)?;
        let status = run.status.as_ref()?;
        let title = title(run);
        let text = match end {
            None => begun(&title, status),
            Some(_) => ended(&title, status),
        };
        Some(Self { tags: tags(run), begin, end, text: shown(&text), title })
    }

    /// The same, once its run is gone before its end.
    pub fn deleted(self, now: Timestamp) -> Self {
        let text = format!("{} was deleted before it had ended", self.title);
        Self { end: Some(now.max(self.begin)), text: shown(&text), ..self }
    }

    /// As Grafana takes it.
    pub fn body(&self) -> Value {
        let mut body =
            json!({ "time": self.begin.as_millisecond(), "tags": self.tags, "text": self.text });
        if let Some(end) = self.end {
            body["timeEnd"] = end.as_millisecond().into();
        }
        body
    }
}

/// What people choose by, and the UID, by which it is found again.
fn tags(run: &Run) -> Vec<String> {
    let namespace = run.namespace().unwrap_or_default();
    let experiment = run.spec.experiment.as_deref().map(|name| {
        let name = &name[..name.floor_char_boundary(LONGEST_VALUE)];
        format!("experiment:{name}")
    });
    let begin = [TAG.to_owned(), format!("namespace:{namespace}")];
    let end = [format!("run:{}", run.name_any()), format!("run:{}", run.uid().unwrap_or_default())];
    begin.into_iter().chain(experiment).chain(end).collect()
}

fn title(run: &Run) -> String {
    let of = run.spec.experiment.as_ref().map(|name| format!(" of experiment {name}"));
    format!("Run {}{}", full_name(run), of.unwrap_or_default())
}

fn begun(title: &str, status: &RunStatus) -> String {
    let steps: Vec<&str> = breaking(status).map(|step| step.name.as_str()).collect();
    format!("{title} breaks pods\nSteps: {}", steps.join(", "))
}

fn ended(title: &str, status: &RunStatus) -> String {
    let verdict = judged(status.verdict, status.verdict_reason, &status.verdict_message);
    let hypothesis =
        judged(status.hypothesis, status.hypothesis_reason, &status.hypothesis_message);
    let reason = status.reason.map_or_else(String::new, |reason| format!(": {reason:?}"));
    let hypothesis = hypothesis.unwrap_or_else(|| "none, the run has no probes".to_owned());
    let verdict = verdict.unwrap_or_else(|| "none".to_owned());
    format!("{title} has ended{reason}\nVerdict: {verdict}\nHypothesis: {hypothesis}")
}

/// A judgement with its reason, in words where there are some.
fn judged(what: Option<impl Debug>, reason: Option<impl Debug>, message: &str) -> Option<String> {
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason:?})"));
    let message = if message.is_empty() { String::new() } else { format!(", {message}") };
    what.map(|what| format!("{what:?}{reason}{message}"))
}

/// A text that Grafana, which takes it for HTML, shows as it is.
fn shown(text: &str) -> String {
    let text = &text[..text.floor_char_boundary(LONGEST_TEXT)];
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(spec: Value, status: Value) -> Run {
        let run = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run",
            "metadata": { "name": "slow-7k2", "namespace": "shop", "uid": "0d1e" },
            "spec": spec, "status": status,
        });
        serde_json::from_value(run).unwrap()
    }

    fn status(phase: &str, more: Value) -> Value {
        let mut status = json!({
            "phase": phase,
            "spec": { "steps": [
                { "name": "before", "wait": { "for": "1s" } },
                { "name": "slow", "fault": { "target": "web", "do": "drop", "for": "5m" } },
                { "name": "gone", "pods": { "target": "web", "action": "Evict" } },
            ] },
            "steps": [
                { "name": "before", "phase": "Done", "started": "2026-11-28T10:00:00Z" },
                { "name": "slow", "phase": "Running", "started": "2026-11-28T10:00:01Z" },
                { "name": "gone", "phase": "Pending" },
            ],
        });
        status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        status
    }

    fn finished(more: Value) -> Value {
        let mut status = status("Finished", more);
        status["conditions"] = json!([{ "type": "Finished", "status": "True", "reason": "Halted",
            "message": "", "lastTransitionTime": "2026-11-28T10:05:00Z" }]);
        status
    }

    #[test]
    fn a_run_that_breaks_pods_is_a_point_in_time() {
        let run = run(json!({ "experiment": "slow" }), status("Running", json!({})));
        let annotation = Annotation::of(&run).unwrap();
        assert_eq!(
            annotation.body(),
            json!({
                "time": 1_795_860_001_000_i64,
                "tags": ["chaos-agent", "namespace:shop", "experiment:slow", "run:slow-7k2", "run:0d1e"],
                "text": "Run shop/slow-7k2 of experiment slow breaks pods\nSteps: slow, gone",
            })
        );
        let now: Timestamp = "2026-11-28T10:01:00Z".parse().unwrap();
        let deleted = annotation.clone().deleted(now);
        assert_eq!((&deleted.tags, deleted.end), (&annotation.tags, Some(now)));
        assert_eq!(
            deleted.text,
            "Run shop/slow-7k2 of experiment slow was deleted before it had ended"
        );
    }

    #[test]
    fn one_that_has_ended_is_a_region_with_what_came_of_it() {
        let judged = finished(json!({
            "reason": "Completed",
            "verdict": "Confirmed", "verdictReason": "AllInjected", "verdictMessage": "3 pods",
            "hypothesis": "Deviated", "hypothesisReason": "ProbeBroke",
            "hypothesisMessage": "probe web: 1s > 500ms & <b>",
        }));
        let annotation = Annotation::of(&run(json!({ "experiment": "slow" }), judged)).unwrap();
        assert_eq!(annotation.body()["timeEnd"], 1_795_860_300_000_i64);
        assert_eq!(
            annotation.text,
            "Run shop/slow-7k2 of experiment slow has ended: Completed\n\
             Verdict: Confirmed (AllInjected), 3 pods\n\
             Hypothesis: Deviated (ProbeBroke), probe web: 1s &gt; 500ms &amp; &lt;b&gt;"
        );
        let plain = finished(json!({ "reason": "Halted", "verdict": "Inconclusive",
            "verdictReason": "NoTraffic", "verdictMessage": "é".repeat(LONGEST_TEXT) }));
        let annotation = Annotation::of(&run(json!({ "inline": { "steps": [] } }), plain)).unwrap();
        assert_eq!(annotation.tags.len(), 4);
        let begin = "Run shop/slow-7k2 has ended: Halted\nVerdict: Inconclusive (NoTraffic), éé";
        assert!(annotation.text.starts_with(begin), "{}", annotation.text);
        assert!(annotation.text.len() <= LONGEST_TEXT);
        let unprobed = finished(json!({ "reason": "Halted", "verdict": "Confirmed" }));
        let annotation = Annotation::of(&run(json!({ "experiment": "slow" }), unprobed)).unwrap();
        let end = "\nVerdict: Confirmed\nHypothesis: none, the run has no probes";
        assert!(annotation.text.ends_with(end), "{}", annotation.text);
    }

    #[test]
    fn what_breaks_nothing_has_no_annotation() {
        for mode in ["Plan", "Shadow"] {
            let spec = json!({ "experiment": "slow", "mode": mode });
            assert_eq!(span(&run(spec, status("Running", json!({})))), None, "{mode}");
        }
        let baseline =
            json!({ "phase": "Baseline", "steps": [{ "name": "slow", "phase": "Pending" }] });
        assert_eq!(span(&run(json!({ "experiment": "slow" }), baseline)), None);
        assert_eq!(span(&run(json!({ "experiment": "slow" }), Value::Null)), None);
    }

    #[test]
    fn tags_fit_into_grafanas_database() {
        let spec = json!({ "experiment": "e".repeat(253) });
        let tags = Annotation::of(&run(spec, status("Running", json!({})))).unwrap().tags;
        assert_eq!(tags[2], format!("experiment:{}", "e".repeat(100)));
    }
}
