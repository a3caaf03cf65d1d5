//! Writes the status annotation of a pod, by server-side apply.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;

use super::{
    names::{FIELD_MANAGER, PodName, STATUS},
    status::Status,
};

/// Writes `status` onto the pod. The only call that changes a pod.
pub(super) async fn annotate(
    client: &Client,
    pod: &PodName,
    reference: &ObjectReference,
    status: &Status,
) -> kube::Result<()> {
    let patch = patch(pod, reference, status)?;
    let params = PatchParams::apply(FIELD_MANAGER).force();
    // Annotations may be written through the status, which needs no right to change pods.
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &pod.namespace);
    api.patch_status(&pod.name, &params, &Patch::Apply(patch)).await?;
    Ok(())
}

/// The whole of what the agent owns of a pod. With its UID, so that it never speaks of another
/// pod of the same name.
fn patch(
    pod: &PodName,
    reference: &ObjectReference,
    status: &Status,
) -> kube::Result<serde_json::Value> {
    let status = serde_json::to_string(status).map_err(kube::Error::SerdeError)?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": reference.uid,
            "annotations": { STATUS: status },
        },
    }))
}
