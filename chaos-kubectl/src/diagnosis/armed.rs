//! Finds the pods on which faults are in force, by what their agents say.

use chaos_api::{Phase, RunName};
use chaos_controller::holder;
use chaos_fault::Fault;
use chaos_kube::{FAULTS, PodPhase, STATUS, Status};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

/// Whose faults are meant.
#[derive(Debug)]
pub enum Of<'a> {
    All,
    /// Of Runs of a namespace.
    Runs {
        namespace: &'a str,
        names: &'a [String],
    },
}

/// The pods, `NAMESPACE/NAME`, whose agents say that such faults are armed.
pub fn armed(pods: &[Pod], of: &Of<'_>) -> Vec<String> {
    let armed = pods.iter().filter(|pod| is_armed(pod, of));
    armed.map(|pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any())).collect()
}

/// What the agent of a pod says.
pub fn status(pod: &Pod) -> Option<Status> {
    serde_json::from_str(pod.annotations().get(STATUS)?).ok()
}

/// Whether a pod has ended: what its agent said of it is over.
pub fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_armed(pod: &Pod, of: &Of<'_>) -> bool {
    let Some(status) = status(pod).filter(|status| status.phase == PodPhase::Armed) else {
        return false;
    };
    if is_over(pod) {
        return false;
    }
    let Of::Runs { namespace, names } = of else { return true };
    // An agent that had no room for the faults says the phase alone.
    if status.faults.is_empty() {
        let text = pod.annotations().get(FAULTS).map(String::as_str).unwrap_or_default();
        let run = run_of_text(text);
        return run.is_some_and(|run| run.namespace == *namespace && names.contains(&run.name));
    }
    let in_namespace = pod.namespace().unwrap_or_default();
    status.faults.iter().any(|fault| {
        let goes_on = match fault.phase {
            Phase::Waiting | Phase::Active => true,
            Phase::Ended => false,
        };
        let read = fault.fault.parse::<Fault>().ok();
        let run = read.and_then(|read| RunName::of(&read, &in_namespace));
        goes_on && run.is_some_and(|run| run.namespace == *namespace && names.contains(&run.name))
    })
}

/// The Run that a text of the controller names in its first line.
pub fn run_of_text(text: &str) -> Option<RunName> {
    holder(text)?;
    let line = text.lines().next()?.strip_prefix("# Run ")?;
    line.split_once(" (")?.0.parse().ok()
}
