//! `halt`: ends a Run, all Runs of a namespace, or everything in the cluster.

use chaos_api::kinds::{Run, RunPhase};
use chaos_kube::{GUARD, HALT};
use k8s_openapi::api::{coordination::v1::Lease, core::v1::Pod};
use kube::{
    Api, ResourceExt as _,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{create::MANAGER, list, why::lease};
use crate::{
    cli::HaltArgs,
    cluster::{Asked, Cluster, ClusterError, Resource},
    diagnosis::{
        Known,
        armed::{Of, armed},
        leader::Leader,
    },
    exit::Exit,
    failure::Failure,
    output,
    run_name::RunName,
    view::{HALT_REASON, goes_on},
};

/// How often pods are looked at, while an end is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// How long the API server may take to answer where somebody waits at a terminal.
const ANSWER: Duration = Duration::from_secs(10);

/// How many pods are named where their faults go on.
const MOST_NAMED: usize = 5;

/// Ends what the arguments name.
pub async fn execute(cluster: &Cluster, args: &HaltArgs) -> Result<Exit, Failure> {
    let reason = args.reason.as_deref();
    if args.cluster {
        pull(cluster, reason.unwrap_or_default()).await?;
        output::line("the cluster is halted: every fault of an annotation ends, and none begins")?;
        output::note("kubectl chaos resume --cluster  lets Runs begin again");
        return wait(cluster, args, None, &Of::All).await;
    }
    let (namespace, names) = match &args.run {
        Some(run) => {
            let RunName { namespace, name } = RunName::of(run, cluster)?;
            (namespace, vec![name])
        }
        None => {
            let runs = list::of(cluster, &cluster.namespace).await?;
            let names = runs.iter().filter(|run| goes_on(run)).map(|run| run.name_any()).collect();
            (cluster.namespace.clone(), names)
        }
    };
    let namespace = &namespace;
    if names.is_empty() {
        output::note(&format!("no Run of namespace {namespace} goes on"));
        return Ok(Exit::Done);
    }
    for name in &names {
        let run = halt_run(cluster, namespace, name, reason).await?;
        let what = if goes_on(&run) { "is being halted" } else { "had ended before" };
        output::line(&format!("run {name} {what}"))?;
    }
    wait(cluster, args, Some((namespace, &names)), &Of::Runs { namespace, names: &names }).await
}

/// Halts a Run. It stays halted.
pub async fn halt_run(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    reason: Option<&str>,
) -> Result<Run, ClusterError> {
    let mut change = json!({ "spec": { "halt": true } });
    if let Some(reason) = reason {
        change["metadata"]["annotations"][HALT_REASON] = json!(reason);
    }
    let patched = cluster.runs(namespace).patch(name, &params(), &Patch::Merge(change)).await;
    let asked = || Asked::to("patch", Resource::Runs, name, namespace);
    patched.map_err(|error| cluster.explain(error, asked()))
}

/// Halts a Run, and says so where the API server takes too long to answer. Whether the Run is halted is not known then.
pub async fn halt_in_time(
    cluster: &Cluster,
    namespace: &str,
    name: &str,
    reason: Option<&str>,
) -> Result<Run, ClusterError> {
    let halted = timeout(ANSWER, halt_run(cluster, namespace, name, reason)).await;
    halted.unwrap_or_else(|_| {
        Err(ClusterError::Other {
            asked: Asked::to("patch", Resource::Runs, name, namespace),
            why: format!("no answer within {}", chaos_fault::print_duration(ANSWER)),
        })
    })
}

/// Halts the cluster, by the annotation of the Lease. The Lease is made where no controller has made it: agents obey it
/// all the same.
async fn pull(cluster: &Cluster, reason: &str) -> Result<(), Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::Usage(
            "an empty reason would lift the halt; write `--reason TEXT`".to_owned(),
        ));
    }
    match set_lever(cluster, json!(reason)).await {
        Err(error) if error.is_not_found() => make_lease(cluster, reason).await,
        other => Ok(other?),
    }
}

/// Writes the annotation of the Lease.
pub async fn set_lever(cluster: &Cluster, value: Value) -> Result<(), ClusterError> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.agents);
    let change = json!({ "metadata": { "annotations": { HALT: value } } });
    let patched = leases.patch(GUARD, &params(), &Patch::Merge(change)).await;
    let asked = || Asked::to("patch", Resource::Leases, GUARD, &cluster.agents);
    patched.map(|_| ()).map_err(|error| cluster.explain(error, asked()))
}

async fn make_lease(cluster: &Cluster, reason: &str) -> Result<(), Failure> {
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.agents);
    let mut lease = Lease::default();
    lease.metadata.name = Some(GUARD.to_owned());
    lease.annotations_mut().insert(HALT.to_owned(), reason.to_owned());
    let made = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let asked = || Asked::to("create", Resource::Leases, "", &cluster.agents);
    let made = leases.create(&made, &lease).await;
    made.map(|_| ()).map_err(|error| cluster.explain(error, asked()).into())
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() }
}

/// Waits until no pod says that faults are armed, and Runs have ended.
async fn wait(
    cluster: &Cluster,
    args: &HaltArgs,
    runs: Option<(&str, &[String])>,
    of: &Of<'_>,
) -> Result<Exit, Failure> {
    if !args.wait {
        return Ok(Exit::Done);
    }
    let give_up = Instant::now() + args.timeout;
    let mut leader = Leader::default();
    loop {
        let pods = match (pods(cluster, of).await, runs) {
            (Ok(pods), _) => Known::Is(pods),
            // A Run that has ended has taken its faults away before.
            (Err(error), Some(_)) if error.is_forbidden() => Known::No(error.to_string()),
            (Err(error), _) => return Err(error.into()),
        };
        let still = pods.value().map(|pods| armed(pods, of)).unwrap_or_default();
        let running = match runs {
            Some((namespace, names)) => running(cluster, namespace, names).await?,
            None => Vec::new(),
        };
        if still.is_empty() && running.is_empty() {
            return match pods {
                Known::Is(_) => output::line("no fault is armed any more"),
                Known::No(why) => {
                    output::note(&format!("what agents say on the pods was not looked at: {why}"));
                    output::line("every Run has ended, and its faults were taken away")
                }
            }
            .map(|()| Exit::Done);
        }
        if !running.is_empty() {
            if let Known::Is(lease) = lease(cluster).await {
                leader.note(lease.as_ref(), std::time::Instant::now());
            }
            if let Some(why) = leader.absence(std::time::Instant::now()) {
                return Err(Failure::TimedOut(unled(&why, &still, &running)));
            }
        }
        if Instant::now() >= give_up {
            return Err(Failure::TimedOut(left(&still, &running, args.timeout)));
        }
        sleep(PAUSE).await;
    }
}

/// What is said of Runs that nobody ends.
fn unled(why: &str, armed: &[String], running: &[String]) -> String {
    let faults = match armed.len() {
        0 => "no fault is armed".to_owned(),
        armed => format!(
            "{} faults armed, which end by themselves within 45s after a controller has led last, if they are guarded",
            match armed {
                1 => "1 pod has".to_owned(),
                armed => format!("{armed} pods have"),
            }
        ),
    };
    format!(
        "{why}, so nobody ends {}; {faults}. `kubectl chaos doctor` says what the controller lacks",
        running.join(", ")
    )
}

async fn pods(cluster: &Cluster, of: &Of<'_>) -> Result<Vec<Pod>, ClusterError> {
    let (api, place): (Api<Pod>, &str) = match of {
        Of::All => (Api::all(cluster.client.clone()), ""),
        Of::Runs { namespace, .. } => (cluster.pods(namespace), namespace),
    };
    let listed = api.list(&ListParams::default()).await;
    let asked = || Asked::list(Resource::Pods, place);
    listed.map(|list| list.items).map_err(|error| cluster.explain(error, asked()))
}

/// Those of these Runs that have not ended.
async fn running(
    cluster: &Cluster,
    namespace: &str,
    names: &[String],
) -> Result<Vec<String>, Failure> {
    let runs = list::of(cluster, namespace).await?;
    let still_goes = |run: &&Run| {
        names.contains(&run.name_any())
            && run.status.as_ref().is_some_and(|status| status.phase != RunPhase::Finished)
    };
    Ok(runs.iter().filter(still_goes).map(|run| run.name_any()).collect())
}

fn left(armed: &[String], running: &[String], waited: Duration) -> String {
    let waited = chaos_fault::print_duration(waited);
    if armed.is_empty() {
        return format!(
            "after {waited} no fault is armed, but the controller has not ended {}; `kubectl chaos doctor` says whether one is there",
            running.join(", ")
        );
    }
    let named = armed.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = if armed.len() > MOST_NAMED { ", …" } else { "" };
    format!(
        "after {waited} {} that faults are armed: {named}{more}; `kubectl chaos why pod/NAME` says more, and without a controller or an agent faults end by themselves within 45 s",
        match armed.len() {
            1 => "1 pod still says".to_owned(),
            armed => format!("{armed} pods still say"),
        }
    )
}
