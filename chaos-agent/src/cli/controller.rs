//! `controller`: runs the experiments of a cluster.

use std::{path::PathBuf, process::ExitCode, sync::Arc, thread, time::Duration};

use anyhow::{Context as _, anyhow};
use chaos_controller::{GrafanaOptions, Networks, Options, ProbeSettings, ServerUrl};
use chaos_fault::print_duration;
use chaos_metrics::{ControllerMeter, Health};
use ipnet::IpNet;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    failure::Failure,
    serving::{Addresses, Listening, Serving},
    terms,
};

/// Expressions of strangers are read and evaluated by functions that recurse: within their bounds they need less.
const STACK: usize = 64 << 20;

/// Run the experiments of a cluster: pick pods, break them by their annotation, and take that away
///
/// It needs no rights on the machine. Of several controllers one leads; the others wait until its Lease stands still.
/// SIGTERM and Ctrl-C give the Lease up; what is armed goes on until the next controller leads, or 45 s.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the agents are, and the Lease is
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "chaos-agent")]
    namespace: String,
    /// What this controller is called among those that may lead; the name of the machine, if nothing is said
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    identity: Option<String>,
    /// How long the Lease must stand still until another controller takes it
    #[arg(long, value_name = "DURATION", value_parser = lease, default_value = "15s")]
    lease: Duration,
    /// How many pods a second are annotated or removed at most
    #[arg(long, value_name = "NUMBER", default_value = "300", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    api_qps: u32,
    /// Which networks probes of experiments may ask, in place of the private ones; may be given several times
    ///
    /// Link-local addresses are never asked; loopback and multicast only where one of these networks lies within them.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    probe_networks: Vec<IpNet>,
    /// The Prometheus that probes ask which name none
    #[arg(long, value_name = "URL", value_parser = url)]
    prometheus: Option<String>,
    /// The Alertmanager that probes ask which name none
    #[arg(long, value_name = "URL", value_parser = url)]
    alertmanager: Option<String>,
    /// The Grafana on whose dashboards runs are marked, from when they break pods until they have ended
    #[arg(long, value_name = "URL", value_parser = grafana_url)]
    grafana: Option<ServerUrl>,
    /// The file with the token of a Grafana service account that may read, create and write annotations
    ///
    /// It is read for each request, so that another token is used as soon as it is there.
    #[arg(long, value_name = "FILE", requires = "grafana")]
    grafana_token_file: Option<PathBuf>,
    #[command(flatten)]
    addresses: Addresses,
}

/// A loop that has not begun anew for so long hangs: each of its writes has a bound, and there are so many at most.
const HANGING: Duration = Duration::from_secs(120);

/// Shorter, a busy API server would end it; longer, agents would not wait for the next leader.
const LEASES: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(30)];

fn lease(word: &str) -> Result<Duration, String> {
    let lease = terms::duration(word)?;
    let [shortest, longest] = LEASES;
    if (shortest..=longest).contains(&lease) {
        return Ok(lease);
    }
    Err(format!("from {} to {}", print_duration(shortest), print_duration(longest)))
}

fn url(word: &str) -> Result<String, String> {
    let host = word.strip_prefix("http://").or_else(|| word.strip_prefix("https://"));
    match host.filter(|host| !host.is_empty() && !host.starts_with('/')) {
        Some(_) => Ok(word.trim_end_matches('/').to_owned()),
        None => Err("write it such as http://prometheus.monitoring:9090".to_owned()),
    }
}

fn grafana_url(word: &str) -> Result<ServerUrl, String> {
    let Some((_, rest)) = word.split_once("://") else {
        return Err("write it such as http://grafana.monitoring:3000".to_owned());
    };
    if rest.split('/').next().unwrap_or_default().contains('@') {
        return Err("it has a user; give a token by --grafana-token-file".to_owned());
    }
    word.parse()
}

fn probe_settings(args: &Args) -> ProbeSettings {
    let networks = match args.probe_networks.as_slice() {
        [] => Networks::default(),
        listed => listed.iter().copied().collect(),
    };
    let Args { prometheus, alertmanager, .. } = args;
    ProbeSettings { networks, prometheus: prometheus.clone(), alertmanager: alertmanager.clone() }
}

pub fn execute(args: &Args) -> Result<ExitCode, Failure> {
    let name = match &args.identity {
        Some(name) => name.clone(),
        None => nix::unistd::gethostname()
            .context("find the name of the machine")?
            .to_string_lossy()
            .into_owned(),
    };
    let options = Options {
        namespace: args.namespace.clone(),
        // A container that is started again has the name of the one before, and is another.
        identity: format!("{name}_{:08x}", getrandom::u32().context("pick a random number")?),
        lease: args.lease,
        probes: probe_settings(args),
        api_qps: args.api_qps,
        grafana: args
            .grafana
            .clone()
            .map(|url| GrafanaOptions { url, token_file: args.grafana_token_file.clone() }),
    };
    let worker = thread::Builder::new()
        .name("controller".to_owned())
        .stack_size(STACK)
        .spawn({
            let addresses = args.addresses.clone();
            move || work(options, &addresses)
        })
        .context("start the controller's thread")?;
    worker.join().map_err(|_| anyhow!("the controller's thread has panicked"))??;
    Ok(ExitCode::SUCCESS)
}

fn serve(listening: Listening, meter: &Arc<ControllerMeter>) -> Serving {
    let (loop_meter, synced_meter) = (meter.clone(), meter.clone());
    let goes_on = move || match loop_meter.looked_ago() {
        Some(ago) if ago >= HANGING => {
            Err(format!("the loop has not begun anew for {} s", ago.as_secs()))
        }
        // It begins once everything is listed.
        Some(_) | None => Ok(()),
    };
    let is_ready = move || match synced_meter.is_synced() {
        true => Ok(()),
        false => Err("not everything is listed yet".to_owned()),
    };
    listening.serve(|| meter.clone(), Health::new(goes_on, is_ready))
}

fn work(options: Options, addresses: &Addresses) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (stop, stopped) = watch::channel(false);
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            identity = options.identity,
            "starting"
        );
        let told = async {
            tokio::select! {
                _ = terminate.recv() => tracing::info!("SIGTERM: shutting down"),
                _ = interrupt.recv() => tracing::info!("SIGINT: shutting down"),
            }
            stop.send_replace(true);
        };
        let meter = Arc::new(ControllerMeter::new(env!("CARGO_PKG_VERSION")));
        let _serving = serve(addresses.listen().await?, &meter);
        let mut running = std::pin::pin!(chaos_controller::run(options, meter, stopped));
        tokio::select! {
            ended = &mut running => return Ok(ended?),
            () = told => {}
        }
        Ok(running.await?)
    })
}
