//! `agent`: the daemon of a node.

use std::{io, net::IpAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use chaos_agent::{
    Handle, Keeper,
    control::{Agent, ControlSocket, DEFAULT_SOCKET, OWNER, serve, serve_runtimes},
};
use chaos_api::{AllowedVerbs, ArmedId, Ended, Notice, PROTECTED_NAMESPACES, Policy};
use chaos_engine::{arm::Armory, kernel::Room};
use chaos_fault::print_duration;
use chaos_metrics::{AgentMeter, AgentPages, Health};
use chaos_plan::Support;
use clap::value_parser;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{broadcast::error::TryRecvError, watch},
    time::timeout,
};

use super::{
    failure::Failure,
    halt, kernel,
    output::Format,
    rights,
    serving::{Addresses, Listening, Serving},
    terms,
};

/// What the loop of the cluster may take to say good-bye to its pods, which are disarmed by then.
const FAREWELL: Duration = Duration::from_secs(5);

/// A keeper that has not renewed its leases for so many of them, and for so long, hangs: faults have ended by then.
const HANGING_LEASES: u32 = 3;
const HANGING: Duration = Duration::from_secs(15);

/// Keep faults armed in the background, as pods' annotations and the control socket ask for
///
/// SIGTERM and Ctrl-C disarm everything and print the ledgers.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  chaos-agent agent --standalone &
  chaos-agent arm --unit nginx.service --fault 'drop 10% egress tcp'
  chaos-agent list")]
pub struct Args {
    /// Without Kubernetes, whatever is said of a node: only what the socket asks for is armed
    #[arg(long)]
    standalone: bool,
    #[command(flatten)]
    node: Node,
    /// Where to listen for `list`, `arm`, `halt` and the like
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    socket: PathBuf,
    /// Where container runtimes hand over what was started under our seccomp profile: its
    /// `listenerPath`
    #[arg(long, value_name = "PATH")]
    seccomp_socket: Option<PathBuf>,
    /// How long faults go on when the agent hangs or is stopped
    #[arg(long, value_name = "DURATION", value_parser = terms::lease, default_value = "5s")]
    lease: Duration,
    #[command(flatten)]
    limits: Limits,
    #[command(flatten)]
    addresses: Addresses,
    /// Tell the pod in metrics of faults, too: as many series more as pods are broken
    #[arg(long, requires = "metrics_address", help_heading = "Metrics and health")]
    metrics_per_pod: bool,
}

/// Which part of a cluster is served. The cluster itself is that of the pod that the agent runs
/// in, or of KUBECONFIG.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Kubernetes")]
struct Node {
    /// The node whose pods are looked after
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// The node's addresses: left alone in the traffic of pods, for the kubelet's probes
    #[arg(long, value_name = "IP", env = "NODE_IPS", value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// How long faults go on when the API server is not heard
    #[arg(long, value_name = "DURATION", value_parser = terms::duration, default_value = "30s")]
    grace: Duration,
    /// The agent's own namespace, where the guard's Lease is
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "chaos-agent")]
    namespace: String,
    /// The agent's own pod: there it says what the kernel of its node can do
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod_name: Option<String>,
}

/// What this node allows.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
struct Limits {
    /// How long faults last that have no `for`
    #[arg(long, value_name = "DURATION", value_parser = terms::duration, default_value = "5m")]
    default_duration: Duration,
    /// The longest `for` that is allowed
    #[arg(long, value_name = "DURATION", value_parser = terms::duration, default_value = "1h")]
    longest: Duration,
    /// How many targets may be armed at once; pods beyond that wait
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value_parser!(u32).range(1..=4096))]
    most_targets: u32,
    /// How many faults may be armed at once, of all targets together; those that supervisors decide by seccomp do not count
    #[arg(long, value_name = "N", default_value_t = 2048, value_parser = value_parser!(u32).range(64..=65536))]
    most_rules: u32,
    /// How much memory the packets take that are held at a time, of all targets together; what finds
    /// no room is lost, and counted
    #[arg(long, value_name = "SIZE", value_parser = terms::memory, default_value = "128MiB")]
    held_memory: u64,
    /// The namespaces of which no pod is broken by its annotation, with commas between; an empty list protects none
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = PROTECTED_NAMESPACES)]
    protected_namespaces: Vec<String>,
    /// The verbs that annotations of pods may use, with commas between, such as `drop, delay, fail dns`; `default` stands
    /// for all that are not destructive. A namespace allows those, unless its annotation chaos-agent.dev/allow-verbs
    /// lists others. Without this the node allows all verbs
    #[arg(long, value_name = "VERBS")]
    allow_verbs: Option<AllowedVerbs>,
    /// An address that is left alone unless a fault names just that one; may be given again
    #[arg(long, value_name = "IP")]
    exempt: Vec<IpAddr>,
}

/// While a target is replaced by another under the same name, both are armed.
const REPLACED_AT_ONCE: u32 = 16;

impl Limits {
    fn room(&self) -> Room {
        Room { texts: self.most_targets + REPLACED_AT_ONCE, rules: self.most_rules }
    }

    fn policy(&self) -> Result<Policy, Failure> {
        let policy = Policy::new(self.default_duration, self.longest)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let policy = policy.most_targets(self.most_targets as usize).holding(self.held_memory);
        let protected = self.protected_namespaces.iter().filter(|name| !name.is_empty());
        let policy = policy.protecting(protected.cloned().collect());
        let policy = policy.allowing(self.allow_verbs.clone().unwrap_or(AllowedVerbs::all()));
        Ok(policy.exempting(self.exempt.clone()))
    }
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    if args.node.node_name.is_none() && !args.standalone {
        return Err(Failure::Usage(
            "whose pods are to be looked after? name the node with `--node-name NAME`, or say \
             `--standalone` to do without Kubernetes"
                .to_owned(),
        ));
    }
    let policy = args.limits.policy()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let ended = runtime.block_on(run(args, policy))?;
    halt::print(&ended, format)?;
    Ok(ExitCode::SUCCESS)
}

async fn run(args: &Args, policy: Policy) -> anyhow::Result<Vec<Ended>> {
    let rights = rights::require();
    if args.standalone {
        rights?;
    } else if let Err(error) = rights {
        // It stays, and says so on each pod that is to be broken: nobody there reads its log.
        tracing::error!(%error, "every fault of a pod will be refused");
    }
    let mut signals = Signals::new()?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        architecture = std::env::consts::ARCH,
        debug_assertions = cfg!(debug_assertions),
        lease = %print_duration(args.lease),
        "starting"
    );
    // Now, as a container that is started meanwhile waits for the agent; without the socket it would fail. Before the
    // control socket: whoever reaches that may start containers.
    let runtimes = match &args.seccomp_socket {
        Some(path) => Some(ControlSocket::bind(path).await?),
        None => None,
    };
    let socket = ControlSocket::bind(&args.socket).await?;
    let listening = args.addresses.listen().await?;
    let root = kernel::prepare()?;
    let features = kernel::try_features(&root);
    tracing::info!(kernel = features.release, "the hooks of the kernel have been tried");
    for (hook, support) in features.hooks() {
        if let Support::Missing { reason, .. } = support {
            tracing::warn!(%hook, %reason, "this kernel lacks a hook");
        }
    }
    kernel::collect_left_filters(&root, &features);
    let meter = AgentMeter::new(env!("CARGO_PKG_VERSION"), &features, args.metrics_per_pod);
    let meter = Arc::new(meter);
    let armory = Armory::new(root.clone(), features, args.lease)
        .with_held_memory(policy.held_memory())
        .with_room(args.limits.room());
    let keeper = Keeper::start(armory, args.lease).context("start the keeper's thread")?;
    let handle = keeper.handle();
    // Until all is disarmed.
    let _serving = serve_metrics(args, listening, &meter, &handle);
    let (stop_watching, watching) = watch::channel(false);
    let (stop_serving, serving) = watch::channel(false);
    let cluster = (!args.standalone).then(|| args.node.clone());
    let allowed = policy.clone();
    if let Some(runtimes) = runtimes {
        tokio::spawn(serve_runtimes(runtimes, handle.clone(), root.clone(), serving.clone()));
    }
    tracing::info!(socket = %socket.path().display(), "ready");
    let agent = Agent::new(handle.clone(), root, policy).observed_by(meter.clone());
    let server = serve(socket, Arc::new(agent), serving);
    let server = tokio::spawn(server);
    let mut pods = tokio::spawn({
        let handle = handle.clone();
        async move {
            match cluster {
                Some(node) => look_after_pods(node, allowed, handle, meter, watching).await,
                None => std::future::pending().await,
            }
        }
    });

    let mut failure = None;
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "shutting down"),
        // It ends by itself only when it cannot go on.
        over = &mut pods => failure = over.context("look after the pods")?.err(),
    }
    // Nothing acts any more, however long cleaning up takes.
    let withheld = handle.withhold();
    let mut told = handle.subscribe();
    stop_watching.send_replace(true);
    disarm_own(&handle).await?;
    if failure.is_none() && !args.standalone {
        // It takes its pods back itself, so that it can say so on them.
        match timeout(FAREWELL, &mut pods).await {
            Ok(over) => failure = over.context("look after the pods")?.err(),
            Err(_) => tracing::warn!("the cluster was not told in time"),
        }
    }
    pods.abort();
    halt_all(&handle).await?;
    stop_serving.send_replace(true);
    server.await.context("serve clients")?;
    // A client may have been faster than the end of serving.
    halt_all(&handle).await?;
    drop(withheld);
    let mut ended = Vec::new();
    loop {
        match told.try_recv() {
            Ok(Notice::Ended(last) | Notice::Disarmed(last)) => ended.push(last),
            Ok(_) | Err(TryRecvError::Lagged(_)) => {}
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    failure.map_or(Ok(ended), Err)
}

/// Serves metrics and health where that is wanted.
fn serve_metrics(
    args: &Args,
    listening: Listening,
    meter: &Arc<AgentMeter>,
    handle: &Handle,
) -> Serving {
    let pages = || Arc::new(AgentPages::start(meter.clone(), handle.clone()));
    let (hangs, keeper) = ((args.lease * HANGING_LEASES).max(HANGING), handle.clone());
    let goes_on = move || match keeper.lease_age() {
        age if age < hangs => Ok(()),
        age => Err(format!("the leases have not been renewed for {} s", age.as_secs())),
    };
    let (meter, grace, standalone) = (meter.clone(), args.node.grace, args.standalone);
    let is_ready = move || match meter.silence() {
        _ if standalone => Ok(()),
        Some(silence) if silence < grace => Ok(()),
        Some(silence) => {
            Err(format!("the API server has not been heard for {} s", silence.as_secs()))
        }
        None => Err("the API server has not been heard yet".to_owned()),
    };
    listening.serve(pages, Health::new(goes_on, is_ready))
}

/// Looks after the pods of a node until `stop` says so.
#[cfg(feature = "cluster")]
async fn look_after_pods(
    node: Node,
    policy: Policy,
    handle: Handle,
    meter: Arc<AgentMeter>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let Node { node_name, node_ip: node_ips, grace, namespace, pod_name } = node;
    let node_name = node_name.context("the node has no name")?;
    let options = chaos_kube::Options { node_name, node_ips, policy, grace, namespace, pod_name };
    Ok(chaos_kube::run(handle, options, meter, stop).await?)
}

#[cfg(not(feature = "cluster"))]
async fn look_after_pods(
    _: Node,
    _: Policy,
    _: Handle,
    _: Arc<AgentMeter>,
    _: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    anyhow::bail!("this agent was built without the feature `cluster`; say `--standalone`")
}

const SHUTDOWN: &str = "the agent is shutting down";

/// Ends what clients have asked for.
async fn disarm_own(handle: &Handle) -> anyhow::Result<()> {
    let work = handle.with(|armory| {
        let own = |id: &&ArmedId| id.0.split_once(':').is_some_and(|(owner, _)| owner == OWNER);
        let ids: Vec<_> = armory.ids().filter(own).cloned().collect();
        armory.disarm_all(&ids, SHUTDOWN);
    });
    Ok(work.await?)
}

async fn halt_all(handle: &Handle) -> anyhow::Result<()> {
    let work = handle.with(|armory| {
        armory.halt(SHUTDOWN);
    });
    Ok(work.await?)
}

/// Those that end an agent.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
