//! `plan`: makes a Run that touches nothing, shows what it has found, and removes it.

use chaos_api::kinds::Run;
use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams},
};
use tokio::time::timeout;

use super::{
    create::{create, print, wanted},
    why::known,
};
use crate::{
    cli::{ModeName, PlanArgs},
    cluster::{Asked, Cluster, Resource},
    exit::Exit,
    failure::Failure,
    follow::{OnInterrupt, Shown, follow},
    output,
    printable::Printable,
    removable::Removable,
    signals::Signals,
    terminal,
    view::planned,
};

/// Makes the Run, waits for its end, and removes it, however that went.
pub async fn execute(cluster: &Cluster, args: &PlanArgs) -> Result<Exit, Failure> {
    let wanted = wanted(cluster, &args.what, Some(ModeName::Plan)).await?;
    let run = create(cluster, &wanted).await?;
    let signals = Signals::listen()?;
    let name = run.name_any();
    let begun = Timestamp::now();
    let (silent, say) = (Shown::Silent, OnInterrupt::Say);
    let watched = follow(cluster, &wanted.namespace, &name, silent, say, signals);
    let watched = timeout(args.timeout, watched).await;
    let asked = || Asked::to("delete", Resource::Runs, &name, &wanted.namespace);
    if let Err(error) =
        cluster.runs(&wanted.namespace).delete(&name, &DeleteParams::default()).await
    {
        let error = cluster.explain(error, asked());
        if !error.is_not_found() {
            output::note(&format!("the Run of the plan stays: {error}"));
        }
    }
    let Ok(followed) = watched else {
        let waited = Timestamp::now().duration_since(begun).as_secs();
        return Err(Failure::TimedOut(format!(
            "no controller has planned it within {waited}s; `kubectl chaos doctor` says whether one is there"
        )));
    };
    let followed = followed?;
    match args.output {
        Some(_) => print(&followed.run, args.output)?,
        None => {
            let removable = removable(cluster, &followed.run, &wanted.namespace).await;
            let removable = removable.iter().map(Printable::of).collect::<Result<Vec<_>, _>>()?;
            let run = Printable::of(&followed.run)?;
            output::line(&planned(&run, &removable, terminal::size().width).join("\n"))?;
        }
    }
    Ok(followed.exit)
}

/// What can be known of the pods that steps would remove. Targets in other namespaces are left to the Run's own counts.
async fn removable(cluster: &Cluster, run: &Run, namespace: &str) -> Vec<Removable> {
    let status = run.status.as_ref();
    let spec = status.and_then(|status| status.spec.as_ref()).or(run.spec.inline.as_ref());
    let Some(spec) = spec.filter(|spec| spec.steps.iter().any(|step| step.pods.is_some())) else {
        return Vec::new();
    };
    let pods = cluster.pods(namespace).list(&ListParams::default()).await;
    let pods = pods.map(|list| list.items);
    let pods = known(cluster, pods, Asked::list(Resource::Pods, namespace));
    let budgets: Api<PodDisruptionBudget> = Api::namespaced(cluster.client.clone(), namespace);
    let budgets = budgets.list(&ListParams::default()).await.map(|list| list.items);
    let budgets = known(cluster, budgets, Asked::list(Resource::Budgets, namespace));
    let picked = |name: &str| {
        let mut steps = status.iter().flat_map(|status| &status.steps);
        steps.find(|step| step.name == name).map_or(0, |step| step.picked)
    };
    let of = |step: &chaos_api::kinds::Step| {
        let target = spec.targets.get(&step.pods.as_ref()?.target)?;
        let is_here = target.namespaces.is_empty();
        is_here.then(|| Removable::of(&step.name, target, picked(&step.name), &pods, &budgets))
    };
    spec.steps.iter().filter_map(of).collect()
}
