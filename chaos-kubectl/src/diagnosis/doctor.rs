//! Judges what experiments need: agents, controller, guard, definitions, policies, the namespace, the user's rights.

use std::collections::BTreeSet;

use chaos_api::NodeFeatures;
use chaos_controller::counted;
use chaos_kube::{ALLOW_VERBS, ENABLED, FEATURES, GUARD_PATIENCE, HALT};
use chaos_plan::{Capability, Support};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};

use super::{Known, why::is_ready};
use crate::{cluster::Asked, view::age};

/// Replicas of the controller that survive the loss of one.
const REPLICAS: usize = 2;

/// The kinds that are to be there.
const KINDS: [&str; 2] = ["experiments", "runs"];

/// The policies that narrow what agents and controller may write.
pub const POLICIES: [&str; 10] = [
    "chaos-agent-pods",
    "chaos-agent-events",
    "chaos-controller-pods",
    "chaos-controller-events",
    "chaos-controller-removals",
    "chaos-controller-runs",
    "chaos-controller-reports",
    "chaos-controller-lease",
    "chaos-experiments-namespaces",
    "chaos-experiments-accounts",
];

/// What was read of a cluster.
#[derive(Debug)]
pub struct Facts {
    pub namespace_name: String,
    pub agent_namespace: String,
    /// The plural names of the kinds of `chaos-agent.dev/v1alpha1`.
    pub kinds: Known<Vec<String>>,
    pub agents: Known<Vec<Pod>>,
    pub controllers: Known<Vec<Pod>>,
    /// The names of all nodes.
    pub nodes: Known<Vec<String>>,
    pub lease: Known<Option<Lease>>,
    pub policies: Known<Vec<String>>,
    pub namespace: Known<Namespace>,
    pub rights: Vec<Right>,
    pub now: Timestamp,
}

/// Something that the user may do or not.
#[derive(Debug, Clone)]
pub struct Right {
    /// What it is good for, such as `kubectl chaos run`.
    pub used_for: &'static str,
    pub asked: Asked,
    /// Without it the plugin is of little use.
    pub is_needed: bool,
    pub granted: Known<bool>,
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    Good,
    /// Not as it could be, and nothing is broken by it.
    Note,
    Bad,
    /// It could not be looked at.
    Unknown,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    pub verdict: Verdict,
    pub subject: String,
    pub finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Check {
    fn new(verdict: Verdict, subject: &str, finding: impl Into<String>) -> Self {
        Self { verdict, subject: subject.to_owned(), finding: finding.into(), remedy: None }
    }

    fn with(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// Everything that was looked at, in the order in which it is needed.
pub fn examine(facts: &Facts) -> Vec<Check> {
    let mut checks = vec![kinds(facts)];
    checks.extend(controllers(facts));
    checks.extend(guard(facts));
    checks.extend(agents(facts));
    checks.push(policies(facts));
    checks.extend(namespace(facts));
    checks.extend(facts.rights.iter().map(right));
    checks
}

/// Whether something is wrong.
pub fn is_bad(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.verdict == Verdict::Bad)
}

/// Judges what is known; says why the rest is not.
fn judge<T>(subject: &str, known: &Known<T>, judged: impl FnOnce(&T) -> Vec<Check>) -> Vec<Check> {
    match known {
        Known::Is(value) => judged(value),
        Known::No(why) => vec![Check::new(Verdict::Unknown, subject, why.clone())],
    }
}

fn kinds(facts: &Facts) -> Check {
    const SUBJECT: &str = "kinds";
    let install = "`kubectl apply -k manifests/controller` installs them";
    match &facts.kinds {
        Known::No(why) => Check::new(Verdict::Unknown, SUBJECT, why.clone()),
        Known::Is(there) => {
            let missing: Vec<&str> =
                KINDS.into_iter().filter(|kind| there.iter().all(|one| one != kind)).collect();
            match missing.is_empty() {
                true => Check::new(Verdict::Good, SUBJECT, "Experiment and Run are installed"),
                false => {
                    let missing = missing.join(" and ");
                    Check::new(Verdict::Bad, SUBJECT, format!("{missing} are not installed"))
                        .with(install)
                }
            }
        }
    }
}

fn controllers(facts: &Facts) -> Vec<Check> {
    const SUBJECT: &str = "controller";
    judge(SUBJECT, &facts.controllers, |pods| {
        let ready = pods.iter().filter(|pod| is_ready(pod)).count();
        let finding = format!("{ready} of {} ready", counted(pods.len() as u64, "replica"));
        let namespace = &facts.agent_namespace;
        let check = match (pods.len(), ready) {
            (0, _) => Check::new(Verdict::Bad, SUBJECT, format!("none in namespace {namespace}"))
                .with("`kubectl apply -k manifests/controller`; `--agent-namespace` if it is elsewhere"),
            (_, 0) => Check::new(Verdict::Bad, SUBJECT, finding)
                .with(format!("`kubectl describe deployment chaos-controller -n {namespace}`")),
            (_, ready) if ready < REPLICAS => Check::new(Verdict::Note, SUBJECT, finding)
                .with("with two replicas, another leads within 20 s when one dies"),
            (..) => Check::new(Verdict::Good, SUBJECT, finding),
        };
        vec![check]
    })
}

fn guard(facts: &Facts) -> Vec<Check> {
    const SUBJECT: &str = "guard";
    judge(SUBJECT, &facts.lease, |lease| {
        let Some(lease) = lease else {
            let check = Check::new(Verdict::Bad, SUBJECT, "there is no Lease chaos-controller");
            return vec![check.with("a controller that works makes it; look at its log")];
        };
        let spec = lease.spec.as_ref();
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
        let renewed = spec.and_then(|spec| spec.renew_time.as_ref());
        let mut checks = vec![match renewed {
            None => Check::new(Verdict::Bad, SUBJECT, "the Lease was never renewed")
                .with("no controller leads: faults that are guarded are not armed"),
            Some(renewed) => {
                let ago = age(renewed.0, facts.now);
                let stands = facts.now.duration_since(renewed.0).unsigned_abs();
                let who = if holder.is_empty() { "nobody" } else { holder };
                let finding = format!("held by {who}, renewed {ago} ago");
                match stands > GUARD_PATIENCE || holder.is_empty() {
                    false => Check::new(Verdict::Good, SUBJECT, finding),
                    true => Check::new(Verdict::Bad, SUBJECT, finding).with(
                        "no controller leads, or this machine's clock is wrong: Runs stand still, and guarded faults have ended",
                    ),
                }
            }
        }];
        let reason = lease.annotations().get(HALT).map(|reason| reason.trim()).unwrap_or_default();
        checks.push(match reason.is_empty() {
            true => Check::new(Verdict::Good, "lever", "the cluster is not halted"),
            false => Check::new(Verdict::Bad, "lever", format!("the cluster is halted: {reason}"))
                .with("`kubectl chaos resume --cluster` lets Runs begin again"),
        });
        checks
    })
}

/// What is wrong with the agent of a node; `Ok` is what it says of itself.
fn agent(pod: &Pod) -> Result<NodeFeatures, (String, String)> {
    let (name, namespace) = (pod.name_any(), pod.namespace().unwrap_or_default());
    if !is_ready(pod) {
        let look = format!("`kubectl describe pod {name} -n {namespace}`");
        return Err((format!("{name} is not ready"), look));
    }
    let said = pod.annotations().get(FEATURES);
    let update = "update it to the version of the controller".to_owned();
    let said = said.ok_or_else(|| {
        (format!("{name} is too old: it does not say what its kernel can do"), update.clone())
    })?;
    NodeFeatures::read(said)
        .ok_or_else(|| (format!("what {name} says of its kernel cannot be read"), update))
}

fn agents(facts: &Facts) -> Vec<Check> {
    const SUBJECT: &str = "agents";
    judge(SUBJECT, &facts.agents, |pods| {
        let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        let mut checks = Vec::new();
        if pods.is_empty() {
            let finding = format!("none in namespace {}", facts.agent_namespace);
            let check = Check::new(Verdict::Bad, SUBJECT, finding);
            return vec![check.with(
                "`kubectl apply -k manifests/base`; `--agent-namespace` if they are elsewhere",
            )];
        }
        let mut versions = BTreeSet::new();
        let (mut ready, mut rows) = (0, Vec::new());
        for pod in pods {
            let place = node(pod).unwrap_or_else(|| "no node".to_owned());
            match agent(pod) {
                Ok(features) => {
                    ready += 1;
                    versions.insert(features.version.clone());
                    rows.push(Check::new(
                        Verdict::Good,
                        &format!("node {place}"),
                        in_words(&features),
                    ));
                }
                Err((what, remedy)) => {
                    rows.push(Check::new(Verdict::Bad, &format!("node {place}"), what).with(remedy))
                }
            }
        }
        rows.sort_by(|one, other| one.subject.cmp(&other.subject));
        let finding = format!("{ready} of {} ready", counted(pods.len() as u64, "agent"));
        let verdict = if ready == pods.len() { Verdict::Good } else { Verdict::Note };
        checks.push(Check::new(verdict, SUBJECT, finding));
        if versions.len() > 1 {
            let versions = versions.into_iter().collect::<Vec<_>>().join(", ");
            let check =
                Check::new(Verdict::Note, SUBJECT, format!("of different versions: {versions}"));
            checks
                .push(check.with("`kubectl rollout status daemonset chaos-agent -n chaos-agent`"));
        }
        checks.append(&mut rows);
        if let Known::Is(nodes) = &facts.nodes {
            let with: BTreeSet<String> = pods.iter().filter_map(node).collect();
            for name in nodes.iter().filter(|name| !with.contains(*name)) {
                let check = Check::new(
                    Verdict::Note,
                    &format!("node {name}"),
                    "no agent; Runs refuse its pods",
                );
                checks.push(
                    check.with(
                        "taints or a node selector keep the DaemonSet away, or it is no Linux",
                    ),
                );
            }
        }
        checks
    })
}

/// What an agent says of itself, in short.
fn in_words(features: &NodeFeatures) -> String {
    let all = Capability::all().count();
    let works = |one: &Capability| matches!(features.kernel.support(*one), Support::Works);
    let works = Capability::all().filter(works).count();
    format!(
        "version {}, kernel {} ({}), {works} of {all} mechanisms, at most {} pods at once",
        features.version,
        features.kernel.release,
        features.architecture,
        features.limits.most_targets
    )
}

fn policies(facts: &Facts) -> Check {
    const SUBJECT: &str = "policies";
    match &facts.policies {
        Known::No(why) => Check::new(Verdict::Unknown, SUBJECT, why.clone()),
        Known::Is(there) => {
            let is_missing = |name: &&str| there.iter().all(|one| one != name);
            let missing: Vec<&str> = POLICIES.into_iter().filter(is_missing).collect();
            if missing.is_empty() {
                return Check::new(Verdict::Good, SUBJECT, "all are there");
            }
            let finding = format!("{} not there", missing.join(", "));
            Check::new(Verdict::Bad, SUBJECT, finding).with(
                "without them the tokens of agents and controller may write more than annotations; apply manifests/base and manifests/controller, or see manifests/components/without-policies",
            )
        }
    }
}

fn namespace(facts: &Facts) -> Vec<Check> {
    let name = &facts.namespace_name;
    let subject = format!("namespace {name}");
    judge(&subject, &facts.namespace, |namespace| {
        if namespace.labels().get(ENABLED).is_none_or(|value| value != "true") {
            let check = Check::new(Verdict::Bad, &subject, format!("has no label {ENABLED}=true"));
            let remedy = format!(
                "`kubectl label namespace {name} {ENABLED}=true` allows its pods to be broken"
            );
            return vec![check.with(remedy)];
        }
        let verbs = namespace.annotations().get(ALLOW_VERBS);
        let verbs = verbs.map_or("all verbs that are not destructive", String::as_str);
        vec![Check::new(Verdict::Good, &subject, format!("allows faults: {verbs}"))]
    })
}

fn right(right: &Right) -> Check {
    let subject = "your rights";
    let Right { used_for, asked, is_needed, granted } = right;
    match granted {
        Known::Is(true) => {
            Check::new(Verdict::Good, subject, format!("{used_for}: you may {asked}"))
        }
        Known::Is(false) => {
            let verdict = if *is_needed { Verdict::Bad } else { Verdict::Note };
            Check::new(verdict, subject, format!("{used_for}: you may not {asked}"))
                .with(asked.resource.role(asked.verb))
        }
        Known::No(why) => Check::new(Verdict::Unknown, subject, format!("{used_for}: {why}")),
    }
}
