//! Writes what was decided: statuses, and annotations by server-side apply without force, so that nobody's annotation is
//! overwritten.

use chaos_api::kinds::{Experiment, ExperimentStatus, Run, RunStatus};
use chaos_kube::FAULTS;
use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use crate::{
    names::{FIELD_MANAGER, REPORT_LABEL},
    reconcile::PodWrite,
    removal::{PodRemoval, Way},
    report::KEY,
};

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

/// Removes a pod, if it is still the one that was meant.
pub async fn remove(client: Client, removal: &PodRemoval) -> kube::Result<()> {
    let PodRemoval { pod, uid, way, grace } = removal;
    let api: Api<Pod> = Api::namespaced(client, &pod.namespace);
    let only_this = Preconditions { uid: Some(uid.clone()), resource_version: None };
    let options = DeleteParams {
        grace_period_seconds: *grace,
        preconditions: Some(only_this),
        ..DeleteParams::default()
    };
    match way {
        Way::Delete => api.delete(&pod.name, &options).await.map(|_| ()),
        Way::Evict => {
            // Not by `Api::evict`, which writes `delete_options`: the API server knows no such field, and evicts whatever
            // pod has the name.
            let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "deleteOptions": options,
                "metadata": { "name": pod.name, "namespace": pod.namespace } });
            let params = params();
            let asked = api.create_subresource("eviction", &pod.name, &params, &eviction);
            asked.await.map(|_: serde_json::Value| ())
        }
    }
}

/// Writes the status of a run, if the run is still as it was when that was decided.
pub async fn run_status(client: Client, run: &Run, status: RunStatus) -> kube::Result<Run> {
    let api: Api<Run> = Api::namespaced(client, &run.namespace().unwrap_or_default());
    let run = Run { status: Some(status), ..run.clone() };
    api.replace_status(&run.name_any(), &params(), &run).await
}

/// Writes the report of a run, into a ConfigMap that is deleted with the run.
pub async fn report(client: Client, run: &Run, packed: Vec<u8>) -> kube::Result<()> {
    let name = format!("{}-report", run.name_any());
    let owner = json!({ "apiVersion": Run::api_version(&()), "kind": Run::kind(&()), "name": run.name_any(),
                        "uid": run.uid() });
    let packed = serde_json::to_value(ByteString(packed)).map_err(kube::Error::SerdeError)?;
    let report = json!({ "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": name, "ownerReferences": [owner], "labels": { REPORT_LABEL: "true" } },
        "binaryData": { KEY: packed } });
    let api: Api<ConfigMap> = Api::namespaced(client, &run.namespace().unwrap_or_default());
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER), &Patch::Apply(report)).await.map(|_| ())
}

/// Reads the report of a run, if there is one: by a patch that changes nothing, because whoever may get it may get every
/// ConfigMap, and a policy can hold patches to reports only.
pub async fn read_report(client: Client, run: &Run) -> kube::Result<Option<Vec<u8>>> {
    let name = format!("{}-report", run.name_any());
    let same = json!({ "metadata": { "labels": { REPORT_LABEL: "true" } } });
    let api: Api<ConfigMap> = Api::namespaced(client, &run.namespace().unwrap_or_default());
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(same)).await {
        Ok(report) => {
            let mut data = report.binary_data.unwrap_or_default();
            Ok(data.remove(KEY).map(|ByteString(packed)| packed))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes a run, if it is still the one that was meant, as it was.
pub async fn delete_run(client: Client, run: &Run) -> kube::Result<()> {
    let api: Api<Run> = Api::namespaced(client, &run.namespace().unwrap_or_default());
    let only_this = Preconditions { uid: run.uid(), resource_version: run.resource_version() };
    let options = DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() };
    api.delete(&run.name_any(), &options).await.map(|_| ())
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
