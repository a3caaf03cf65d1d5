//! `plan`: makes a Run that touches nothing, shows what it has found, and removes it.

use jiff::Timestamp;
use kube::{ResourceExt as _, api::DeleteParams};
use tokio::time::timeout;

use super::create::{create, print, wanted};
use crate::{
    cli::{ModeName, PlanArgs},
    cluster::{Asked, Cluster, Resource},
    exit::Exit,
    failure::Failure,
    follow::{OnInterrupt, Shown, follow},
    output, terminal,
    view::planned,
};

/// Makes the Run, waits for its end, and removes it, however that went.
pub async fn execute(cluster: &Cluster, args: &PlanArgs) -> Result<Exit, Failure> {
    let wanted = wanted(cluster, &args.what, Some(ModeName::Plan)).await?;
    let run = create(cluster, &wanted).await?;
    let name = run.name_any();
    let begun = Timestamp::now();
    let watched = follow(cluster, &wanted.namespace, &name, Shown::Silent, OnInterrupt::Say);
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
        None => output::line(&planned(&followed.run, terminal::size().width).join("\n"))?,
    }
    Ok(followed.exit)
}
