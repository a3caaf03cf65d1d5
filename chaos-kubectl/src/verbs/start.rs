//! `start`: makes a Run of an Experiment that is in the cluster.

use std::collections::BTreeMap;

use chaos_controller::mistakes;
use chaos_fault::closest;
use kube::{ResourceExt as _, api::ListParams};
use serde_json::{Map, json};

use super::create::{self, Wanted};
use crate::{
    cli::StartArgs,
    cluster::{Asked, Cluster, Resource},
    exit::Exit,
    failure::Failure,
    file::{Changes, change, prefix, skeleton},
};

/// Makes the Run, and waits for its end if that was asked for.
pub async fn execute(cluster: &Cluster, args: &StartArgs) -> Result<Exit, Failure> {
    check(cluster, args).await?;
    let metadata = Map::from_iter([("generateName".to_owned(), json!(prefix(&args.experiment)))]);
    let mut object = skeleton(metadata, json!({ "experiment": args.experiment }));
    change(
        &mut object,
        &Changes { params: &args.params, mode: args.mode, name: args.name.as_deref() },
    );
    let run = serde_json::from_value(object).map_err(|error| Failure::Output(error.into()))?;
    let wanted = Wanted { run, namespace: cluster.namespace.clone() };
    create::execute(cluster, &wanted, &args.wait, args.output).await
}

/// Says at once what the controller would refuse later: an Experiment or a parameter that is not there. Who may not read
/// Experiments may start them all the same.
async fn check(cluster: &Cluster, args: &StartArgs) -> Result<(), Failure> {
    let name = &args.experiment;
    let asked = || Asked::to("get", Resource::Experiments, name, &cluster.namespace);
    let experiment = match cluster.experiments().get(name).await {
        Ok(experiment) => experiment,
        Err(error) => {
            let error = cluster.explain(error, asked());
            if error.is_forbidden() {
                return Ok(());
            }
            let near = if error.is_not_found() { near(cluster, name).await } else { None };
            return Err(match near {
                Some(near) => Failure::Usage(format!(
                    "there is no experiment {name} in namespace {}; did you mean `{near}`?",
                    cluster.namespace
                )),
                None => error.into(),
            });
        }
    };
    let known: Vec<&str> = experiment.spec.params.keys().map(String::as_str).collect();
    for param in &args.params {
        if !known.contains(&param.name.as_str()) {
            let help = match closest(&param.name, known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it has none".to_owned(),
                None => format!("there are {}", known.join(", ")),
            };
            return Err(Failure::Usage(format!(
                "`{}` is no parameter of the experiment {name}; {help}",
                param.name
            )));
        }
    }
    let given = args.params.iter().map(|param| (param.name.clone(), param.value.clone()));
    let before = mistakes(&experiment.spec, &BTreeMap::new());
    let found = mistakes(&experiment.spec, &given.collect());
    match found.into_iter().find(|mistake| !before.contains(mistake)) {
        Some(mistake) => Err(Failure::Usage(mistake.error.to_string())),
        None => Ok(()),
    }
}

async fn near(cluster: &Cluster, name: &str) -> Option<String> {
    let all = cluster.experiments().list(&ListParams::default()).await.ok()?;
    let names: Vec<String> = all.iter().map(|one| one.name_any()).collect();
    closest(name, names.iter().map(String::as_str)).map(str::to_owned)
}
