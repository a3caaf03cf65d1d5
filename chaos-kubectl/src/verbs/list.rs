//! `list`: shows the Runs of a namespace, or of all.

use chaos_api::kinds::Run;
use jiff::Timestamp;
use kube::{Api, ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::{
    cli::ListArgs,
    cluster::{Asked, Cluster, Resource},
    exit::Exit,
    failure::Failure,
    output,
    printable::Printable,
    terminal,
    view::list,
};

/// Shows the Runs.
pub async fn execute(cluster: &Cluster, args: &ListArgs) -> Result<Exit, Failure> {
    let runs = match args.all_namespaces {
        true => all(cluster).await?,
        false => of(cluster, &cluster.namespace).await?,
    };
    let name = |run: &Run| format!("run.chaos-agent.dev/{}", run.name_any());
    match args.output {
        Some(format) => {
            let names: Vec<String> = runs.iter().map(name).collect();
            let list = json!({ "apiVersion": "v1", "kind": "List", "items": runs });
            output::object(&list, &names.join("\n"), format)?;
        }
        None if runs.is_empty() => {
            let place = match args.all_namespaces {
                true => "in the cluster".to_owned(),
                false => format!("in namespace {}", cluster.namespace),
            };
            output::note(&format!("there are no Runs {place}"));
        }
        None => {
            let width = terminal::size().width;
            let runs = runs.iter().map(Printable::of).collect::<Result<Vec<_>, _>>()?;
            output::line(&list(&runs, args.all_namespaces, Timestamp::now(), width).join("\n"))?;
        }
    }
    Ok(Exit::Done)
}

/// The Runs of a namespace.
pub async fn of(cluster: &Cluster, namespace: &str) -> Result<Vec<Run>, Failure> {
    let listed = cluster.runs(namespace).list(&ListParams::default()).await;
    let asked = || Asked::list(Resource::Runs, namespace);
    Ok(listed.map_err(|error| cluster.explain(error, asked()))?.items)
}

/// The Runs of all namespaces.
pub async fn all(cluster: &Cluster) -> Result<Vec<Run>, Failure> {
    let api: Api<Run> = Api::all(cluster.client.clone());
    let listed = api.list(&ListParams::default()).await;
    let asked = || Asked::list(Resource::Runs, "");
    Ok(listed.map_err(|error| cluster.explain(error, asked()))?.items)
}
