//! Keeps what the watches of the API server say.

use std::{collections::BTreeMap, sync::Arc};

use chaos_api::kinds::{Experiment, Run};
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    batch::v1::Job,
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::{ResourceExt as _, core::PartialObjectMeta, runtime::reflector::Store};

use crate::ownership::ControlledBy;

/// The label of a slice of endpoints that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// What the watches keep.
pub struct Stores {
    pub pods: Store<Pod>,
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    pub nodes: Store<PartialObjectMeta<Node>>,
    pub replica_sets: Store<PartialObjectMeta<ReplicaSet>>,
    pub jobs: Store<PartialObjectMeta<Job>>,
    pub budgets: Store<PodDisruptionBudget>,
    pub experiments: Store<Experiment>,
    pub runs: Store<Run>,
    pub services: Store<Service>,
    pub slices: Store<EndpointSlice>,
}

/// By namespace and name.
pub fn by_name(services: Vec<Arc<Service>>) -> BTreeMap<(String, String), Arc<Service>> {
    let key = |one: &Service| (one.namespace().unwrap_or_default(), one.name_any());
    services.into_iter().map(|service| (key(&service), service)).collect()
}

/// By namespace and the name of the Service whose endpoints they are.
pub fn by_service(
    slices: Vec<Arc<EndpointSlice>>,
) -> BTreeMap<(String, String), Vec<Arc<EndpointSlice>>> {
    let mut by_service: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for slice in slices {
        if let Some(service) = slice.labels().get(SERVICE_NAME) {
            let key = (slice.namespace().unwrap_or_default(), service.clone());
            by_service.entry(key).or_default().push(slice);
        }
    }
    by_service
}

/// What controls the objects of a store.
pub fn between<K: Clone>(
    store: &Store<PartialObjectMeta<K>>,
) -> impl Iterator<Item = (String, ControlledBy)>
where
    PartialObjectMeta<K>: kube::Resource<DynamicType = ()> + 'static,
{
    let of = |object: Arc<PartialObjectMeta<K>>| {
        Some((object.metadata.uid.clone()?, ControlledBy::of(&object.metadata)?))
    };
    store.state().into_iter().filter_map(of)
}

impl Stores {
    /// Waits until everything was listed once.
    pub async fn ready(&self) {
        let Self {
            pods,
            namespaces,
            nodes,
            replica_sets,
            jobs,
            budgets,
            experiments,
            runs,
            services,
            slices,
        } = self;
        // An error means that nobody fills a store any more, which ends the program elsewhere.
        let _ = tokio::join!(
            pods.wait_until_ready(),
            namespaces.wait_until_ready(),
            nodes.wait_until_ready(),
            replica_sets.wait_until_ready(),
            jobs.wait_until_ready(),
            budgets.wait_until_ready(),
            experiments.wait_until_ready(),
            runs.wait_until_ready(),
            services.wait_until_ready(),
            slices.wait_until_ready(),
        );
    }
}
