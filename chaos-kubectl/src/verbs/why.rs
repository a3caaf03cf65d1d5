//! `why`: says who breaks a pod, or what keeps it from being broken.

use chaos_controller::AGENT_LABEL;
use chaos_kube::{FAULTS, GUARD};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Namespace, Pod},
};
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::{
    cli::WhyArgs,
    cluster::{Asked, Cluster, Resource},
    diagnosis::{
        Known,
        armed::run_of_text,
        why::{Facts, explain},
    },
    exit::Exit,
    failure::Failure,
    output,
    printable::Printable,
    terminal,
    view::why,
};

/// Reads what there is to be known, and says what it means.
pub async fn execute(cluster: &Cluster, args: &WhyArgs) -> Result<Exit, Failure> {
    let name = match args.pod.split_once('/') {
        Some(("pod" | "pods" | "po", name)) => name,
        None => args.pod.as_str(),
        Some(_) => {
            let asked = &args.pod;
            return Err(Failure::Usage(format!("`{asked}` is no pod; write pod/NAME")));
        }
    };
    let asked = || Asked::to("get", Resource::Pods, name, &cluster.namespace);
    let pod = cluster.pods(&cluster.namespace).get(name).await;
    let pod = pod.map_err(|error| cluster.explain(error, asked()))?;
    let facts = Facts {
        namespace: namespace(cluster, &cluster.namespace).await,
        agents: agents(cluster, pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref())).await,
        lease: lease(cluster).await,
        run: run(cluster, &pod).await,
        now: Timestamp::now(),
        pod,
    };
    let unknown =
        [said(&facts.namespace), said(&facts.agents), said(&facts.lease), said(&facts.run)];
    let explained = explain(&facts);
    let name = format!("pod/{name}");
    match args.output {
        Some(format) => output::object(&explained, &name, format)?,
        None => {
            let explained = Printable::of(&explained)?;
            output::line(&why(&explained, terminal::size().width).join("\n"))?;
        }
    }
    for why in unknown.into_iter().flatten() {
        output::note(&format!("not looked at: {why}"));
    }
    Ok(Exit::Done)
}

fn said<T>(known: &Known<T>) -> Option<&str> {
    match known {
        Known::Is(_) => None,
        Known::No(why) => Some(why),
    }
}

/// A namespace.
pub async fn namespace(cluster: &Cluster, name: &str) -> Known<Namespace> {
    let api: Api<Namespace> = Api::all(cluster.client.clone());
    known(cluster, api.get(name).await, Asked::to("get", Resource::Namespaces, name, ""))
}

/// The guard's Lease.
pub async fn lease(cluster: &Cluster) -> Known<Option<Lease>> {
    let api: Api<Lease> = Api::namespaced(cluster.client.clone(), &cluster.agents);
    let asked = Asked::to("get", Resource::Leases, GUARD, &cluster.agents);
    known(cluster, api.get_opt(GUARD).await, asked)
}

async fn agents(cluster: &Cluster, node: Option<&str>) -> Known<Vec<Pod>> {
    let Some(node) = node else { return Known::Is(Vec::new()) };
    let (key, value) = AGENT_LABEL;
    let params = ListParams::default()
        .labels(&format!("{key}={value}"))
        .fields(&format!("spec.nodeName={node}"));
    let listed = cluster.pods(&cluster.agents).list(&params).await;
    let asked = Asked::list(Resource::Pods, &cluster.agents);
    known(cluster, listed.map(|list| list.items), asked)
}

async fn run(cluster: &Cluster, pod: &Pod) -> Known<Option<chaos_api::kinds::Run>> {
    let text = pod.annotations().get(FAULTS).map(String::as_str).unwrap_or_default();
    let Some(run) = run_of_text(text) else { return Known::Is(None) };
    let found = cluster.runs(&run.namespace).get_opt(&run.name).await;
    known(cluster, found, Asked::to("get", Resource::Runs, &run.name, &run.namespace))
}

/// What a request has given.
pub fn known<T>(cluster: &Cluster, result: kube::Result<T>, asked: Asked) -> Known<T> {
    match result {
        Ok(value) => Known::Is(value),
        Err(error) => Known::No(cluster.explain(error, asked).to_string()),
    }
}
