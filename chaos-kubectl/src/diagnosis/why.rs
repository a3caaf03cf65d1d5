//! Explains what is on a pod: who broke it, since when and until when, and what keeps faults from being armed.

use chaos_api::{NodeFeatures, Phase, kinds::Run};
use chaos_controller::FIELD_MANAGER;
use chaos_fault::Fault;
use chaos_kube::{
    ENABLED, FAULTS, FEATURES, GUARD_PATIENCE, HALT, HALTED_RUNS, PodPhase, Status, digest,
};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use super::{
    Known,
    armed::{is_over, run_of_text, status},
    owner::{Owner, owners},
};
use crate::view::{age, phase_word};

/// What was read of a cluster about one pod.
#[derive(Debug)]
pub struct Facts {
    pub pod: Pod,
    pub namespace: Known<Namespace>,
    /// The agents of the pod's node.
    pub agents: Known<Vec<Pod>>,
    pub lease: Known<Option<Lease>>,
    /// The Run that the text on the pod names; `None` where it names none, or it is gone.
    pub run: Known<Option<Run>>,
    pub now: Timestamp,
}

/// What is told.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    pub pod: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub state: State,
    /// Who wrote the annotation, and when.
    pub written_by: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    pub faults: Vec<FaultLine>,
    /// What the agent says besides.
    pub messages: Vec<String>,
    /// What keeps faults from being armed, or will end them, and what is to be done.
    pub causes: Vec<Cause>,
}

/// What becomes of the faults of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum State {
    /// Nobody asks for faults.
    Nothing,
    /// They are in force.
    Armed,
    /// They are asked for, and not in force yet.
    Waiting,
    Refused,
    /// Their time is over.
    Ended,
    /// The agent has not said anything of them.
    Unanswered,
}

/// One fault.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultLine {
    pub fault: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How long it still lasts, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds_left: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counts: Option<chaos_api::Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<String>,
}

/// One thing that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    pub what: String,
    pub remedy: String,
}

/// Explains a pod.
pub fn explain(facts: &Facts) -> Why {
    let pod = &facts.pod;
    let text = pod.annotations().get(FAULTS).map(String::as_str);
    let status = status(pod);
    let answer = status.as_ref().filter(|status| status.observed == text.map(digest));
    let state = match (text, answer) {
        (None, _) => match &status {
            Some(status) if status.phase == PodPhase::Armed && !is_over(pod) => State::Armed,
            Some(_) | None => State::Nothing,
        },
        (Some(_), None) => State::Unanswered,
        (Some(_), Some(status)) => match status.phase {
            PodPhase::Armed => State::Armed,
            PodPhase::Waiting => State::Waiting,
            PodPhase::Refused => State::Refused,
            PodPhase::Ended => State::Ended,
        },
    };
    let faults = match (answer.or(status.as_ref().filter(|_| text.is_none())), text) {
        (Some(status), _) if !status.faults.is_empty() => lines(status, facts.now),
        (_, Some(text)) => sentences(text),
        (_, None) => Vec::new(),
    };
    let mut causes = Vec::new();
    match state {
        State::Nothing => {}
        State::Armed => causes.extend(leftovers(facts, text)),
        State::Waiting | State::Refused | State::Ended | State::Unanswered => {
            causes.extend(obstacles(facts, state));
        }
    }
    Why {
        pod: format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any()),
        node: node(pod).map(str::to_owned),
        state,
        written_by: text.map(|_| written_by(pod, facts.now)).unwrap_or_default(),
        run: text.and_then(|text| run(facts, text)),
        faults,
        messages: answer.map(|status| status.messages.clone()).unwrap_or_default(),
        causes,
    }
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

fn written_by(pod: &Pod, now: Timestamp) -> Vec<String> {
    let owners = owners(pod);
    if owners.is_empty() {
        return vec!["somebody when the pod was made (nobody owns the annotation)".to_owned()];
    }
    owners
        .iter()
        .map(|Owner { manager, at }| match at {
            Some(at) => format!("{manager}, {} ago", age(*at, now)),
            None => manager.clone(),
        })
        .collect()
}

/// The Run of a text, and how it stands.
fn run(facts: &Facts, text: &str) -> Option<String> {
    let name = run_of_text(text)?;
    Some(match &facts.run {
        Known::Is(Some(run)) => format!("{name}, which is {}", phase_word(run)),
        Known::Is(None) => format!("{name}, which is not there any more"),
        Known::No(why) => format!("{name} ({why})"),
    })
}

fn lines(status: &Status, now: Timestamp) -> Vec<FaultLine> {
    status
        .faults
        .iter()
        .map(|fault| {
            let left = fault.until.as_ref().map(|until| until.0.duration_since(now).as_secs());
            let goes_on = match fault.phase {
                Phase::Waiting | Phase::Active => true,
                Phase::Ended => false,
            };
            FaultLine {
                fault: fault.fault.clone(),
                phase: Some(fault.phase),
                since: fault.since.as_ref().map(|since| since.0.to_string()),
                until: fault.until.as_ref().map(|until| until.0.to_string()),
                seconds_left: left.filter(|left| goes_on && *left > 0),
                counts: Some(fault.counts.clone()),
                unmatched: fault.unmatched.clone(),
            }
        })
        .collect()
}

/// The faults that are asked for, where no agent says anything of them.
fn sentences(text: &str) -> Vec<FaultLine> {
    let read: Vec<Fault> = chaos_fault::read(text)
        .map(|read| read.into_iter().map(|sentence| sentence.fault).collect())
        .unwrap_or_default();
    let line = |fault: Fault| FaultLine {
        fault: fault.to_string(),
        phase: None,
        since: None,
        until: fault.until.map(|until| until.to_string()),
        seconds_left: None,
        counts: None,
        unmatched: None,
    };
    read.into_iter().map(line).collect()
}

fn cause(what: impl Into<String>, remedy: impl Into<String>) -> Cause {
    Cause { what: what.into(), remedy: remedy.into() }
}

/// What is odd about faults that are in force.
fn leftovers(facts: &Facts, text: Option<&str>) -> Vec<Cause> {
    let mut causes = Vec::new();
    if text.is_none() {
        causes.push(cause(
            "the annotation is gone, and the agent has not said yet that its faults have ended",
            "wait some seconds and ask again",
        ));
    }
    let owners = owners(&facts.pod);
    let is_run = text.is_some_and(|text| run_of_text(text).is_some());
    if is_run && let Some(other) = owners.iter().find(|owner| owner.manager != FIELD_MANAGER) {
        causes.push(cause(
            format!(
                "{} has written the annotation of a Run: the pod is not the Run's any more",
                other.manager
            ),
            format!(
                "`kubectl annotate pod {} -n {} {FAULTS}-` takes the faults away",
                facts.pod.name_any(),
                facts.pod.namespace().unwrap_or_default()
            ),
        ));
    }
    causes
}

/// What keeps faults from being armed.
fn obstacles(facts: &Facts, state: State) -> Vec<Cause> {
    let pod = &facts.pod;
    let namespace = pod.namespace().unwrap_or_default();
    let mut causes = Vec::new();
    if is_over(pod) {
        causes.push(cause("the pod has finished", "a pod that runs can be broken"));
    }
    if let Known::Is(object) = &facts.namespace
        && object.labels().get(ENABLED).is_none_or(|value| value != "true")
    {
        causes.push(cause(
            format!("namespace {namespace} does not allow faults: it has no label {ENABLED}=true"),
            format!("`kubectl label namespace {namespace} {ENABLED}=true`"),
        ));
    }
    causes.extend(of_the_guard(facts, &namespace));
    let Some(node) = node(pod) else {
        causes.push(cause("the pod is on no node yet", "wait until it is scheduled"));
        return causes;
    };
    causes.extend(of_the_agent(facts, node, &namespace));
    if causes.is_empty() && state == State::Unanswered {
        let agent = facts.agents.value().and_then(|agents| agents.first());
        let log = agent.map(|agent| {
            let namespace = agent.namespace().unwrap_or_default();
            format!("`kubectl logs -n {namespace} {}` says what it does", agent.name_any())
        });
        causes.push(cause(
            "the agent of the node has not said anything of this annotation yet",
            log.unwrap_or_else(|| "wait some seconds and ask again".to_owned()),
        ));
    }
    causes
}

fn of_the_guard(facts: &Facts, namespace: &str) -> Vec<Cause> {
    let text = facts.pod.annotations().get(FAULTS).map(String::as_str).unwrap_or_default();
    let is_guarded = sentences(text)
        .iter()
        .any(|line| line.fault.parse::<Fault>().is_ok_and(|fault| fault.guarded));
    let mut causes = Vec::new();
    let Known::Is(lease) = &facts.lease else { return causes };
    let Some(lease) = lease else {
        if is_guarded {
            causes.push(cause(
                "the faults are guarded, and there is no Lease chaos-controller: no controller watches over them",
                "start the controller (`kubectl apply -k manifests/controller`), or write faults without `guarded`",
            ));
        }
        return causes;
    };
    let reason = lease.annotations().get(HALT).map(|reason| reason.trim()).unwrap_or_default();
    if !reason.is_empty() {
        causes.push(cause(
            format!("the cluster is halted: {reason}"),
            "`kubectl chaos resume --cluster` lifts that; then write the faults anew",
        ));
    }
    let halted = lease.annotations().get(HALTED_RUNS).map(String::as_str).unwrap_or_default();
    if let Some(run) = run_of_text(text)
        && halted.split(',').any(|one| one.trim() == run.to_string())
    {
        causes.push(cause(format!("the Run {run} is halted"), "make another Run"));
    }
    let renewed = lease.spec.as_ref().and_then(|spec| spec.renew_time.as_ref());
    let stands = renewed.map(|renewed| facts.now.duration_since(renewed.0));
    let is_stale = stands.is_none_or(|stands| stands.unsigned_abs() > GUARD_PATIENCE);
    if is_guarded && is_stale {
        let since = renewed.map(|renewed| format!(" for {}", age(renewed.0, facts.now)));
        causes.push(cause(
            format!(
                "the faults are guarded, and the Lease chaos-controller has not moved{}: no controller watches over them",
                since.unwrap_or_default()
            ),
            format!("`kubectl chaos doctor -n {namespace}` says what the controller lacks"),
        ));
    }
    causes
}

fn of_the_agent(facts: &Facts, node: &str, namespace: &str) -> Vec<Cause> {
    let Known::Is(agents) = &facts.agents else { return Vec::new() };
    let Some(agent) = agents.iter().find(|agent| is_ready(agent)).or(agents.first()) else {
        return vec![cause(
            format!("no agent runs on node {node}"),
            "`kubectl get daemonset chaos-agent -n chaos-agent` says why: taints, a node selector, or it is not installed",
        )];
    };
    let name = agent.name_any();
    let home = agent.namespace().unwrap_or_default();
    if !is_ready(agent) {
        return vec![cause(
            format!("the agent of node {node}, {name}, is not ready"),
            format!(
                "`kubectl describe pod {name} -n {home}` and `kubectl logs {name} -n {home}` say why"
            ),
        )];
    }
    let Some(said) = agent.annotations().get(FEATURES) else {
        return vec![cause(
            format!(
                "the agent of node {node} is too old: it does not say what its kernel can do, and knows neither `as`, `until` nor `guarded`"
            ),
            "update it to the version of the controller",
        )];
    };
    let Some(features) = NodeFeatures::read(said) else {
        return vec![cause(
            format!("what the agent of node {node} says of itself cannot be read"),
            "use the same version of agents, controller and this program",
        )];
    };
    let mut causes = Vec::new();
    if features.limits.protected_namespaces.contains(namespace) {
        causes.push(cause(
            format!("the agent of node {node} protects namespace {namespace}"),
            "its `--protected-namespaces` says which namespaces are never broken",
        ));
    }
    let text = facts.pod.annotations().get(FAULTS).map(String::as_str).unwrap_or_default();
    for line in sentences(text) {
        let Ok(fault) = line.fault.parse::<Fault>() else { continue };
        if !features.limits.verbs.admits(&fault.verb) {
            let words = fault.verb.words();
            causes.push(cause(
                format!("the agent of node {node} does not allow `{words}`"),
                format!("it allows {} (`--allow-verbs`)", features.limits.verbs),
            ));
        }
    }
    causes
}

/// Whether a pod serves.
pub fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none()
        && conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
