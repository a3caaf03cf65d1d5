//! Runs experiments in a cluster: picks pods by what they are, breaks them by their annotation, and takes all of it away
//! at the end, when a run is halted, or when its experiment is gone.
//!
//! ```text
//! watch ─► observed ─► reconcile (progress, selection, limits, planning) ─► status, annotations, events
//!                        every write while the Lease is held, which the same loop renews
//! ```
//!
//! What decides is pure; it goes by everything that there is, and keeps nothing that another leader would need.

#![forbid(unsafe_code)]

mod addresses;
mod agents;
mod asking;
mod bounded;
mod budgets;
mod ceilings;
mod condition;
mod controller;
mod counted;
mod events;
mod exceptions;
mod expression;
mod fresh;
mod grafana;
mod hosts;
mod hours;
mod hypothesis;
mod lease;
mod ledger;
mod limits;
mod mistakes;
mod names;
mod namespaces;
mod obeyed;
mod observed;
mod ownership;
mod params;
mod peers;
mod pick;
mod planning;
mod pods;
mod probes;
mod progress;
mod promised;
mod reconcile;
mod removal;
mod removals;
mod report;
mod retention;
mod room;
mod script;
mod seen;
mod selection;
mod text;
mod turns;
mod verdict;
mod watch;
mod write;

use std::{sync::Arc, time::Duration};

use chaos_api::{
    ControllerObserver,
    kinds::{Experiment, Run},
};
use chaos_kube::ENABLED;
use chaos_probe::Asker;
pub use chaos_probe::{Networks, ServerUrl, Settings as ProbeSettings};
use controller::{Controller, Stores};
pub use counted::counted;
use grafana::Grafana;
pub use grafana::GrafanaOptions;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    batch::v1::Job,
    core::v1::{Namespace, Node, Pod, Service},
    discovery::v1::EndpointSlice,
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Config,
    core::PartialObjectMeta,
    runtime::{reflector, watcher},
};
use lease::Leadership;
pub use mistakes::{Part, SpecMistake, mistakes};
pub use names::{AGENT_LABEL, FIELD_MANAGER};
pub use obeyed::is_obeyed;
pub use params::Filled;
pub use probes::ProbeError;
pub use report::KEY as REPORT_KEY;
pub use script::ScriptError;
pub use text::{Holder, holder};
use thiserror::Error;
use tokio::sync::Notify;

/// What the controller is told by whoever starts it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The namespace of the agents, and of the Lease.
    pub namespace: String,
    /// What this controller is called among those that may lead. No two have the same.
    pub identity: String,
    /// How long the Lease must stand still until another controller takes it.
    pub lease: Duration,
    /// What probes may ask.
    pub probes: ProbeSettings,
    /// How many annotations of pods are written in a second at most, and how many pods are removed; 1 at least.
    pub api_qps: u32,
    /// Who is told of runs, if anybody is.
    pub grafana: Option<GrafanaOptions>,
}

/// Why there is no controller, or no longer.
#[derive(Debug, Error)]
pub enum ControllerError {
    #[error(
        "no cluster is configured: {0}; run in a pod with a service account, or set KUBECONFIG"
    )]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot make a client of the API server: {0}")]
    Client(#[source] kube::Error),
    #[error("a watch has ended for good")]
    Deaf,
}

/// Runs the experiments of a cluster until `shutdown` becomes true, or its sender goes. It leads, or waits until it may.
///
/// The cluster is that of the pod that it runs in, or of `KUBECONFIG`.
pub async fn run(
    options: Options,
    observer: Arc<dyn ControllerObserver>,
    shutdown: tokio::sync::watch::Receiver<bool>,
) -> Result<(), ControllerError> {
    let mut config = Config::infer().await?;
    // The loop asks again by itself, in time, and has to see that an eviction is not allowed now (429).
    config.default_retry = false;
    let client = Client::try_from(config).map_err(ControllerError::Client)?;
    let Options { namespace, identity, lease, probes, api_qps, grafana } = options;
    let asker = Asker::new(probes, Some(client.clone()));
    let grafana = grafana.map(Grafana::new);
    let (pods, pods_writer) = reflector::store();
    let (namespaces, namespaces_writer) = reflector::store();
    let (nodes, nodes_writer) = reflector::store();
    let (replica_sets, replica_sets_writer) = reflector::store();
    let (jobs, jobs_writer) = reflector::store();
    let (budgets, budgets_writer) = reflector::store();
    let (experiments, experiments_writer) = reflector::store();
    let (runs, runs_writer) = reflector::store();
    let (services, services_writer) = reflector::store();
    let (slices, slices_writer) = reflector::store();
    let changed = Arc::new(Notify::new());
    let whole = watcher::Config::default;
    let watched = async {
        tokio::join!(
            watch::keep(
                Api::<Pod>::all(client.clone()),
                whole(),
                pods_writer,
                pods::slim,
                &changed
            ),
            watch::keep(
                Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
                whole().labels(&format!("{ENABLED}=true")),
                namespaces_writer,
                |namespace| namespace.metadata.managed_fields = None,
                &changed,
            ),
            watch::keep(
                Api::<PartialObjectMeta<Node>>::all(client.clone()),
                whole(),
                nodes_writer,
                |node| node.metadata.managed_fields = None,
                &changed,
            ),
            watch::keep(
                Api::<PartialObjectMeta<ReplicaSet>>::all(client.clone()),
                whole(),
                replica_sets_writer,
                |replica_set| ownership::slim(&mut replica_set.metadata),
                &changed,
            ),
            watch::keep(
                Api::<PartialObjectMeta<Job>>::all(client.clone()),
                whole(),
                jobs_writer,
                |job| ownership::slim(&mut job.metadata),
                &changed,
            ),
            watch::keep(
                Api::<PodDisruptionBudget>::all(client.clone()),
                whole(),
                budgets_writer,
                |budget| budget.metadata.managed_fields = None,
                &changed,
            ),
            watch::keep(
                Api::<Experiment>::all(client.clone()),
                whole(),
                experiments_writer,
                |experiment| experiment.metadata.managed_fields = None,
                &changed,
            ),
            watch::keep(
                Api::<Run>::all(client.clone()),
                whole(),
                runs_writer,
                |run| run.metadata.managed_fields = None,
                &changed
            ),
            watch::keep(
                Api::<Service>::all(client.clone()),
                whole(),
                services_writer,
                peers::slim_service,
                &changed,
            ),
            watch::keep(
                Api::<EndpointSlice>::all(client.clone()),
                whole(),
                slices_writer,
                peers::slim_slice,
                &changed,
            ),
        )
    };
    let leadership = Leadership::new(client.clone(), &namespace, identity.clone(), lease);
    let stores = Stores {
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
    };
    let controller =
        Controller::new(client.clone(), stores, leadership, namespace, identity, asker, api_qps)
            .observed_by(observer)
            .telling(grafana);
    tokio::select! {
        () = controller.run(&changed, shutdown) => Ok(()),
        _ = watched => Err(ControllerError::Deaf),
    }
}
