//! Faults by annotation: the loop between the API server of a cluster and the pods of one node.
//!
//! ```text
//! watch ─► texts ─► observed ─► desired ─► arming ─► (the keeper's thread, the kernel)
//!   │                                                   │
//! liveness ─► tether                        ledger ─► pod ─► status ─► queue ─► status_writer ─► annotation, events
//! ```
//!
//! Works from the whole of what is there ([`reconcile`]), never from single events: what was
//! missed is made good by the next look.

mod annotate;
mod arming;
mod cadence;
mod clock;
mod desired;
mod events;
mod guard;
mod kills;
mod latency;
mod liveness;
mod names;
mod notices;
mod observed;
mod pass;
mod pod;
mod publish;
mod queue;
mod reconcile;
mod status;
mod status_writer;
mod texts;
mod watch;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use chaos_api::{AgentObserver, Engine, NodeFeatures, Policy, Unobserved};
use chaos_arm::{Handle, KeeperGone};
use clock::TimeSource;
use guard::Guard;
pub use guard::PATIENCE as GUARD_PATIENCE;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::{
    Api, Client, Config,
    core::PartialObjectMeta,
    runtime::{reflector, watcher},
};
use latency::Latency;
use liveness::{Liveness, Watch};
pub use names::{
    ALLOW_VERBS, ARMED_PODS, ENABLED, FAULTS, FEATURES, FIELD_MANAGER, GUARD, HALT, HALTED_RUNS,
    PodName, STATUS,
};
use reconcile::Reconciler;
pub use status::{FaultStatus, PodPhase, Status, digest};
use status_writer::Writer;
use texts::{Text, Texts};
use thiserror::Error;
use tokio::sync::mpsc;

/// What the loop is told by whoever starts it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Only pods bound to this node are looked at.
    pub node_name: String,
    /// Left alone in the traffic of every pod that has an address of its own: the kubelet's
    /// probes come from there.
    pub node_ips: Vec<IpAddr>,
    /// What the node allows.
    pub policy: Policy,
    /// How long faults go on when the API server is not heard.
    pub grace: Duration,
    /// Of the agent, where the guard's Lease is.
    pub namespace: String,
    /// The agent's own, where it says what can be planned for its node; nowhere without a name.
    pub pod_name: Option<String>,
}

/// Why there is no loop, or no longer.
#[derive(Debug, Error)]
pub enum KubeError {
    #[error(
        "no cluster is configured: {0}; run in a pod with a service account, or set KUBECONFIG"
    )]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot make a client of the API server: {0}")]
    Client(#[source] kube::Error),
    #[error(transparent)]
    KeeperGone(#[from] KeeperGone),
}

/// Arms the pods of one node as their annotations say, until `shutdown` becomes true or its
/// sender goes; then disarms them and says so on the pods.
///
/// The cluster is that of the pod that the agent runs in, or of `KUBECONFIG`. An API server that
/// is not there, now or later, is no error: it is waited for.
pub async fn run<E: Engine>(
    handle: Handle<E>,
    options: Options,
    observer: Arc<dyn AgentObserver>,
    shutdown: tokio::sync::watch::Receiver<bool>,
) -> Result<(), KubeError> {
    let config = Config::infer().await?;
    let client = Client::try_from(config).map_err(KubeError::Client)?;
    run_observed(client, handle, options, observer, shutdown).await
}

/// [`run`] with a client of the caller's, measured by nobody.
pub async fn run_with<E: Engine>(
    client: Client,
    handle: Handle<E>,
    options: Options,
    shutdown: tokio::sync::watch::Receiver<bool>,
) -> Result<(), KubeError> {
    run_observed(client, handle, options, Arc::new(Unobserved), shutdown).await
}

async fn run_observed<E: Engine>(
    client: Client,
    handle: Handle<E>,
    options: Options,
    observer: Arc<dyn AgentObserver>,
    shutdown: tokio::sync::watch::Receiver<bool>,
) -> Result<(), KubeError> {
    let kernel = handle.with(|engine| engine.features().clone()).await?;
    let features = NodeFeatures::new(env!("CARGO_PKG_VERSION"), &options.policy, kernel);
    let own =
        options.pod_name.clone().map(|name| PodName { namespace: options.namespace.clone(), name });
    let published = async {
        match &own {
            Some(own) => publish::publish(&client, own, &features).await,
            None => std::future::pending().await,
        }
    };
    let liveness =
        Liveness::new(handle.clone(), TimeSource::machine(), options.grace).observed_by(observer);
    let (pods, pods_writer) = reflector::store();
    let (namespaces, namespaces_writer) = reflector::store();
    let (leases, leases_writer) = reflector::store();
    let (answers, answered) = mpsc::unbounded_channel();
    let (notices, noticed) = mpsc::unbounded_channel();
    let forwarded = notices::forward(handle.clone(), notices);

    let background = async {
        // Ends early only when there is no keeper any more, which the reconciler finds, too.
        tokio::join!(
            forwarded,
            watch::keep(
                Watch::Pods,
                Api::<Pod>::all(client.clone()),
                watcher::Config::default().fields(&format!("spec.nodeName={}", options.node_name)),
                pods_writer,
                |pod: &mut Pod| pod.metadata.managed_fields = None,
                &liveness,
            ),
            watch::keep(
                Watch::Namespaces,
                Api::<PartialObjectMeta<Namespace>>::all(client.clone()),
                watcher::Config::default().labels(&format!("{ENABLED}=true")),
                namespaces_writer,
                |namespace: &mut PartialObjectMeta<Namespace>| {
                    namespace.metadata.managed_fields = None;
                    if let Some(annotations) = &mut namespace.metadata.annotations {
                        annotations.retain(|key, _| key == ALLOW_VERBS);
                    }
                },
                &liveness,
            ),
            watch::keep(
                Watch::Guard,
                Api::<Lease>::namespaced(client.clone(), &options.namespace),
                watcher::Config::default().fields(&format!("metadata.name={GUARD}")),
                leases_writer,
                |lease: &mut Lease| lease.metadata.managed_fields = None,
                &liveness,
            ),
            liveness.keep_asking(&client),
            published,
        )
    };
    let latency = Latency::default();
    let reconciler = Reconciler {
        handle,
        clocks: TimeSource::machine(),
        options: &options,
        liveness: &liveness,
        pods,
        namespaces,
        leases,
        guard: Guard::default(),
        answers,
        latency: latency.clone(),
        texts: Texts::new(Text::read),
        known: BTreeMap::new(),
        is_deaf: false,
        is_unfinished: false,
        passed: None,
    };
    let writer = Writer::new(client.clone(), &options.node_name, latency);
    let worked = async { tokio::join!(reconciler.run(noticed, shutdown), writer.run(answered)).0 };
    tokio::select! {
        ended = worked => Ok(ended?),
        (_, never, ..) = background => match never {},
    }
}
