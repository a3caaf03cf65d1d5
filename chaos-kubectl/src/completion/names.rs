//! Reads names from the cluster, for as long as somebody who presses a key waits.

use std::time::Duration;

use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, StatefulSet},
        core::v1::Namespace,
    },
};
use kube::{Api, Resource, ResourceExt as _, api::ListParams, config::Kubeconfig};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::wanted::Of;
use crate::{cli::ClusterArgs, cluster::Cluster, runtime};

const PATIENCE: Duration = Duration::from_secs(2);

/// No more names than a screen has room for.
const MOST: u32 = 200;

/// The names; none where the cluster does not say them in time.
pub fn names(of: Of, args: &ClusterArgs) -> Vec<String> {
    if of == Of::Contexts {
        let file = match &args.kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let contexts = file.map(|file| file.contexts).unwrap_or_default();
        return contexts.into_iter().map(|context| context.name).collect();
    }
    let Ok(runtime) = runtime() else { return Vec::new() };
    let asked = async { timeout(PATIENCE, ask(of, args)).await.unwrap_or_default() };
    runtime.block_on(asked)
}

async fn ask(of: Of, args: &ClusterArgs) -> Vec<String> {
    let Ok(cluster) = Cluster::of(args).await else { return Vec::new() };
    match of {
        Of::Runs => list(cluster.runs(&cluster.namespace), "").await,
        Of::Experiments => list(cluster.experiments(), "").await,
        Of::Pods => list(cluster.pods(&cluster.namespace), "pod/").await,
        Of::Namespaces => list(Api::<Namespace>::all(cluster.client.clone()), "").await,
        Of::Contexts => Vec::new(),
        Of::Workloads => {
            let mut names = list(of_namespace::<Deployment>(&cluster), "deploy/").await;
            names.extend(list(of_namespace::<StatefulSet>(&cluster), "statefulset/").await);
            names.extend(list(of_namespace::<DaemonSet>(&cluster), "daemonset/").await);
            names.extend(list(cluster.pods(&cluster.namespace), "pod/").await);
            names
        }
    }
}

fn of_namespace<K>(cluster: &Cluster) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

async fn list<K>(api: Api<K>, prefix: &str) -> Vec<String>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let listed = api.list_metadata(&ListParams::default().limit(MOST)).await;
    let names = listed.map(|list| list.items).unwrap_or_default();
    names.iter().map(|object| format!("{prefix}{}", object.name_any())).collect()
}
