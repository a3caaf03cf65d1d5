//! Publishes on the agent's own pod what can be planned for its node.

use std::{convert::Infallible, time::Duration};

use chaos_api::NodeFeatures;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::PartialObjectMeta,
};
use serde_json::json;
use tokio::time::sleep;

use super::names::{FEATURES, FEATURES_MANAGER, PodName};

/// Between two tries.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LAST_PAUSE: Duration = Duration::from_secs(60);

/// Writes it once, however often that has to be tried.
pub(super) async fn publish(client: &Client, own: &PodName, features: &NodeFeatures) -> Infallible {
    let mut pause = FIRST_PAUSE;
    while let Err(error) = write(client, own, features).await {
        tracing::warn!(pod = %own, %error, "the features of this node were not published");
        sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
    std::future::pending().await
}

async fn write(client: &Client, own: &PodName, features: &NodeFeatures) -> kube::Result<()> {
    let features = features.to_annotation().map_err(kube::Error::SerdeError)?;
    let patch = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": own.name,
            "namespace": own.namespace,
            "annotations": { FEATURES: features },
        },
    });
    let api: Api<PartialObjectMeta<Pod>> = Api::namespaced(client.clone(), &own.namespace);
    // A manager of its own: the agent's answer on the same pod is another matter.
    let params = PatchParams::apply(FEATURES_MANAGER).force();
    api.patch_status(&own.name, &params, &Patch::Apply(patch)).await?;
    Ok(())
}
