//! Makes runs and experiments, and reads what became of them.

use std::sync::Arc;

use chaos_api::kinds::{Condition, RunStatus};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::World;
use crate::report::{Entry, Line, Record, State};

impl World {
    pub fn run(&mut self, name: &str, inline: Value) {
        self.run_in_mode(name, inline, "Armed");
    }

    pub fn run_in_mode(&mut self, name: &str, inline: Value, mode: &str) {
        self.make_run(name, json!({ "inline": inline, "mode": mode }));
    }

    pub fn run_of(&mut self, name: &str, experiment: &str) {
        self.make_run(name, json!({ "experiment": experiment }));
    }

    fn make_run(&mut self, name: &str, spec: Value) {
        self.run_in("shop", name, spec);
    }

    pub fn run_in(&mut self, namespace: &str, name: &str, spec: Value) {
        self.made += 1;
        let run = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Run", "spec": spec,
            "metadata": { "namespace": namespace, "name": name, "uid": format!("run-{:04}", self.made),
                          "creationTimestamp": self.now.to_string() },
        });
        self.runs.insert(name.to_owned(), Arc::new(serde_json::from_value(run).unwrap()));
    }

    pub fn halt(&mut self, run: &str) {
        if let Some(run) = self.runs.get_mut(run) {
            Arc::make_mut(run).spec.halt = true;
        }
    }

    pub fn run_names(&self) -> Vec<String> {
        self.runs.keys().cloned().collect()
    }

    pub fn delete_run(&mut self, run: &str) {
        self.runs.remove(run);
    }

    /// When the first step of a run began.
    pub fn began(&self, run: &str) -> Option<Timestamp> {
        let steps = &self.runs.get(run)?.status.as_ref()?.steps;
        steps.first()?.started.as_ref().map(|time| time.0)
    }

    pub fn status(&self, run: &str) -> RunStatus {
        self.runs[run].status.clone().unwrap()
    }

    pub fn has_no_status(&self, run: &str) -> bool {
        self.runs[run].status.is_none()
    }

    pub fn condition(&self, run: &str, type_: &str) -> Option<Condition> {
        self.status(run).conditions.into_iter().find(|condition| condition.type_ == type_)
    }

    /// What the report of a run says: pod, step, state and what was injected.
    pub fn report(&self, run: &str) -> Vec<(String, String, State, u64)> {
        let uid = self.runs[run].metadata.uid.as_deref().unwrap();
        let line =
            |line: &Line| (line.pod.clone(), line.step.clone(), line.state, line.counts.injected);
        let entries = self.reports.get(uid).into_iter().flatten();
        let pods = entries.filter_map(|entry| match entry {
            Entry::Pod(line) => Some(line),
            Entry::Record(_) => None,
        });
        let mut lines: Vec<_> = pods.map(line).collect();
        lines.sort();
        lines
    }

    /// What the report of a run says has happened.
    pub fn happened(&self, run: &str) -> Vec<String> {
        let uid = self.runs[run].metadata.uid.as_deref().unwrap();
        let event = |entry: &Entry| match entry {
            Entry::Record(Record::Event(event)) => Some(event.what.clone()),
            Entry::Record(Record::Sample(_)) | Entry::Pod(_) => None,
        };
        self.reports.get(uid).into_iter().flatten().filter_map(event).collect()
    }

    /// So many answers of probes are in the report of a run.
    pub fn sampled(&self, run: &str) -> usize {
        let uid = self.runs[run].metadata.uid.as_deref().unwrap();
        let is_sample = |entry: &&Entry| matches!(entry, Entry::Record(Record::Sample(_)));
        self.reports.get(uid).into_iter().flatten().filter(is_sample).count()
    }

    pub fn experiment(&mut self, name: &str, spec: Value) {
        self.made += 1;
        let experiment = json!({
            "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment", "spec": spec,
            "metadata": { "namespace": "shop", "name": name, "uid": name, "generation": self.made },
        });
        let experiment = serde_json::from_value(experiment).unwrap();
        self.experiments.insert(name.to_owned(), Arc::new(experiment));
    }

    pub fn delete_experiment(&mut self, name: &str) {
        self.experiments.remove(name);
    }

    pub fn experiment_condition(&self, name: &str) -> Option<Condition> {
        self.experiments[name].status.as_ref()?.conditions.first().cloned()
    }
}
