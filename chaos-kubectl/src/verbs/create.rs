//! Makes the Run that was asked for: of a file, or of a target and a sentence.

use chaos_api::kinds::Run;
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Api, Resource as Object, ResourceExt as _, api::PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::report::write_all;
use crate::{
    adhoc::{Adhoc, Options, Pods},
    cli::{DuringName, ModeName, Output, ReportFile, WaitArgs, What},
    cluster::{Asked, Cluster, Resource},
    exit::Exit,
    failure::Failure,
    file::{self, Changes, skeleton},
    follow::{Followed, OnInterrupt, Shown, follow},
    output,
    signals::Signals,
};

/// Who writes what this program writes, in `managedFields`.
pub const MANAGER: &str = "kubectl-chaos";

/// A Run that does not exist yet, and where it belongs.
pub struct Wanted {
    pub run: Run,
    pub namespace: String,
}

/// The Run that was asked for.
pub async fn wanted(
    cluster: &Cluster,
    what: &What,
    mode: Option<ModeName>,
) -> Result<Wanted, Failure> {
    let changes = Changes { params: &what.params, mode, name: what.name.as_deref() };
    if let Some(path) = &what.filename {
        let (run, namespace) = file::run(path, &changes)?;
        if let (Some(asked), Some(written)) = (&cluster.asked_namespace, &namespace)
            && asked != written
        {
            return Err(Failure::Usage(format!(
                "the file says namespace {written}, and -n says {asked}; leave one out"
            )));
        }
        return Ok(Wanted {
            run,
            namespace: namespace.unwrap_or_else(|| cluster.namespace.clone()),
        });
    }
    let options = Options {
        labels: what.selector.as_deref(),
        pick: what.pick.as_deref(),
        lasting: what.lasting,
        containers: &what.containers,
        probes: &what.probes,
        during: what.during.map(DuringName::in_spec).unwrap_or_default(),
        hypothesis: what.hypothesis.as_deref(),
        namespace: &cluster.namespace,
    };
    let wrong = |error: crate::adhoc::AdhocError| Failure::Usage(error.to_string());
    if !what.params.is_empty() {
        return Err(Failure::Usage(
            "`--param` is for Experiments; write the value into the sentence".to_owned(),
        ));
    }
    let adhoc = Adhoc::read(&what.words, &options).map_err(wrong)?;
    let selector = match &adhoc.pods {
        Pods::By(labels) => labels.clone(),
        Pods::One(name) => {
            found::<Pod>(cluster, Resource::Pods, name).await?;
            json!({})
        }
        Pods::Of { resource, name } => selector(cluster, *resource, name).await?,
    };
    let spec = adhoc.spec(&selector).map_err(wrong)?;
    let metadata = Map::from_iter([("generateName".to_owned(), json!(adhoc.prefix()))]);
    let mut object = skeleton(metadata, json!({ "inline": spec }));
    file::change(&mut object, &changes);
    let run = serde_json::from_value(object).map_err(|error| Failure::Output(error.into()))?;
    Ok(Wanted { run, namespace: cluster.namespace.clone() })
}

/// The selector of a workload, as it selects its own pods.
async fn selector(cluster: &Cluster, resource: Resource, name: &str) -> Result<Value, Failure> {
    let selector: Option<LabelSelector> = match resource {
        Resource::Deployments => {
            found::<Deployment>(cluster, resource, name).await?.spec.map(|spec| spec.selector)
        }
        Resource::StatefulSets => {
            found::<StatefulSet>(cluster, resource, name).await?.spec.map(|spec| spec.selector)
        }
        Resource::DaemonSets => {
            found::<DaemonSet>(cluster, resource, name).await?.spec.map(|spec| spec.selector)
        }
        Resource::ReplicaSets => {
            found::<ReplicaSet>(cluster, resource, name).await?.spec.map(|spec| spec.selector)
        }
        Resource::Runs
        | Resource::Experiments
        | Resource::Pods
        | Resource::Namespaces
        | Resource::Nodes
        | Resource::Leases
        | Resource::Definitions
        | Resource::Policies
        | Resource::Reviews
        | Resource::ConfigMaps
        | Resource::Budgets => None,
    };
    serde_json::to_value(selector.unwrap_or_default())
        .map_err(|error| Failure::Output(error.into()))
}

async fn found<K>(cluster: &Cluster, resource: Resource, name: &str) -> Result<K, Failure>
where
    K: Object<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let asked = || Asked::to("get", resource, name, &cluster.namespace);
    api.get(name).await.map_err(|error| cluster.explain(error, asked()).into())
}

/// Makes the Run, prints it, and waits for its end if that was asked for.
pub async fn execute(
    cluster: &Cluster,
    wanted: &Wanted,
    wait: &WaitArgs,
    format: Option<Output>,
) -> Result<Exit, Failure> {
    // Whoever wants a halt wants it also where the signal comes while the Run is being made.
    let mut signals = wait.halt_on_interrupt.then(Signals::listen).transpose()?;
    let made = match &mut signals {
        Some(signals) => signals.beside(create(cluster, wanted)).await,
        None => Some(create(cluster, wanted).await),
    };
    let Some(run) = made else {
        output::note(&format!(
            "It is not known whether the Run was made. `kubectl chaos list -n {}` shows it.",
            wanted.namespace
        ));
        return Ok(Exit::Interrupted);
    };
    let run = run?;
    finish(cluster, run, wait, format, signals).await
}

/// Makes the Run.
pub async fn create(cluster: &Cluster, wanted: &Wanted) -> Result<Run, Failure> {
    let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let Wanted { run, namespace } = wanted;
    let asked = || Asked::to("create", Resource::Runs, "", namespace);
    let made = cluster.runs(namespace).create(&params, run).await;
    made.map_err(|error| cluster.explain(error, asked()).into())
}

async fn finish(
    cluster: &Cluster,
    run: Run,
    wait: &WaitArgs,
    format: Option<Output>,
    signals: Option<Signals>,
) -> Result<Exit, Failure> {
    let (namespace, name) = (run.namespace().unwrap_or_default(), run.name_any());
    if !wait.wait {
        print(&run, format)?;
        output::note(&format!("kubectl chaos watch {name} -n {namespace}"));
        return Ok(Exit::Done);
    }
    let on_interrupt = if wait.halt_on_interrupt { OnInterrupt::Halt } else { OnInterrupt::Say };
    let signals = match signals {
        Some(signals) => signals,
        None => Signals::listen()?,
    };
    let shown = match format {
        Some(_) => Shown::Silent,
        None => {
            print(&run, None)?;
            Shown::Here
        }
    };
    let followed = follow(cluster, &namespace, &name, shown, on_interrupt, signals).await?;
    end(cluster, &followed, format, &wait.reports).await
}

/// Prints a Run that was watched, where a program wants it, and writes its reports. How it has ended is the exit code, also
/// where one of these fails.
pub async fn end(
    cluster: &Cluster,
    followed: &Followed,
    format: Option<Output>,
    reports: &[ReportFile],
) -> Result<Exit, Failure> {
    let printed = format.map_or(Ok(()), |format| print(&followed.run, Some(format)));
    let written = write_all(cluster, followed, reports).await;
    followed.exit.over(printed.and(written))
}

/// Prints a Run as a program wants it; its name, where nothing is said.
pub fn print(run: &Run, format: Option<Output>) -> Result<(), Failure> {
    let name = run.name_any();
    match format {
        None => output::line(&name),
        Some(format) => output::object(run, &format!("run.chaos-agent.dev/{name}"), format),
    }
}
