//! Writes what was decided: statuses, and annotations by server-side apply without force, so that nobody's annotation is
//! overwritten.

use chaos_api::kinds::{Experiment, ExperimentStatus, Run, RunStatus};
use chaos_kube::FAULTS;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{names::FIELD_MANAGER, reconcile::PodWrite};

/// Writes or takes away the annotation of a pod. A text is written only on the pod as it was when that was decided.
pub async fn annotate(client: Client, write: &PodWrite) -> kube::Result<Pod> {
    let PodWrite { pod, uid, version, text } = write;
    let mut metadata = json!({ "name": pod.name, "namespace": pod.namespace, "uid": uid });
    if let Some(text) = text {
        metadata["resourceVersion"] = json!(version);
        metadata["annotations"] = json!({ FAULTS: text });
    }
    let patch = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata });
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    // Annotations may be written through the status, which needs no right to change pods.
    api.patch_status(&pod.name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(patch)).await
}

/// Writes the status of a run, if the run is still as it was when that was decided.
pub async fn run_status(client: Client, run: &Run, status: RunStatus) -> kube::Result<Run> {
    let api: Api<Run> = Api::namespaced(client, &run.namespace().unwrap_or_default());
    let run = Run { status: Some(status), ..run.clone() };
    api.replace_status(&run.name_any(), &params(), &run).await
}

/// Writes the status of an experiment.
pub async fn experiment_status(
    client: Client,
    experiment: &Experiment,
    status: ExperimentStatus,
) -> kube::Result<Experiment> {
    let namespace = experiment.namespace().unwrap_or_default();
    let api: Api<Experiment> = Api::namespaced(client, &namespace);
    let experiment = Experiment { status: Some(status), ..experiment.clone() };
    api.replace_status(&experiment.name_any(), &params(), &experiment).await
}

fn params() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}
