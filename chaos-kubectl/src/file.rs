//! Reads a file that is to be run: an Experiment becomes a Run that has it inline, a Run stays what it is.

use chaos_api::kinds::Run;
use chaos_controller::mistakes;
use serde_json::{Map, Value, json};

use crate::{
    cli::{ModeName, Param},
    failure::Failure,
    lint::{Checked, Document, Kind, render, sources},
};

/// What the options say beside the file.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a> {
    pub params: &'a [Param],
    pub mode: Option<ModeName>,
    pub name: Option<&'a str>,
}

/// The Run of a file, and the namespace that the file names.
pub fn run(
    path: &std::path::Path,
    changes: &Changes<'_>,
) -> Result<(Run, Option<String>), Failure> {
    let mut read = sources(&[path.to_owned()])?;
    let Some(source) = read.pop() else {
        return Err(Failure::Usage(format!("{} is a directory; name one file", path.display())));
    };
    let checked = Checked::of(&source.text);
    if !checked.mistakes.is_empty() {
        let all = checked.mistakes.iter().map(|one| render(one, &source.text, &source.name, false));
        return Err(Failure::Mistakes(all.collect::<Vec<_>>().join("\n\n")));
    }
    let wrong = |what: &str| Failure::Usage(format!("{}: {what}", source.name));
    let object = object(&checked.documents, changes).map_err(wrong)?;
    let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
    let run: Run = serde_json::from_value(object).map_err(|error| wrong(&error.to_string()))?;
    // What the options say may not go with the file.
    let given = run.spec.params.iter().map(|(name, value)| (name.clone(), value.0.clone()));
    let spec = run.spec.inline.as_ref();
    match spec.and_then(|spec| mistakes(spec, &given.collect()).into_iter().next()) {
        Some(mistake) => Err(wrong(&mistake.error.to_string())),
        None => Ok((run, namespace)),
    }
}

/// The Run as an object.
fn object(documents: &[Document], changes: &Changes<'_>) -> Result<Value, &'static str> {
    let of = |kind: Kind| documents.iter().filter(move |document| document.kind == kind);
    let mut runs = of(Kind::Run);
    let mut object = match (runs.next(), runs.next()) {
        (Some(_), Some(_)) => {
            return Err("it has several Runs; put the one to be run into a file of its own");
        }
        (Some(run), None) => {
            let mut object = run.object.clone();
            let mut experiments = of(Kind::Experiment);
            let name = &run.object["spec"]["experiment"];
            // What stands beside it is meant, whatever the cluster has.
            if let Some(one) = experiments.find(|one| one.object["metadata"]["name"] == *name)
                && let Some(spec) = object["spec"].as_object_mut()
            {
                spec.remove("experiment");
                spec.insert("inline".to_owned(), inline(&one.object));
            }
            object
        }
        (None, _) => {
            let mut experiments = of(Kind::Experiment);
            let experiment = match (experiments.next(), experiments.next()) {
                (Some(one), None) => one,
                (None, _) => return Err("it has neither an Experiment nor a Run"),
                (Some(_), Some(_)) => {
                    return Err(
                        "it has several Experiments; put the one to be run into a file of its own",
                    );
                }
            };
            let mut metadata = Map::new();
            let given = &experiment.object["metadata"];
            if let Some(namespace) = given["namespace"].as_str() {
                metadata.insert("namespace".to_owned(), json!(namespace));
            }
            let name = experiment.name().unwrap_or("run").trim_end_matches('-');
            metadata.insert("generateName".to_owned(), json!(prefix(name)));
            skeleton(metadata, json!({ "inline": inline(&experiment.object) }))
        }
    };
    change(&mut object, changes);
    Ok(object)
}

/// An Experiment as a Run has it: how many Runs are kept is said of those that name an Experiment.
fn inline(experiment: &Value) -> Value {
    let mut spec = experiment["spec"].clone();
    spec.as_object_mut().map(|spec| spec.remove("keep"));
    spec
}

/// A Run with this metadata and spec.
pub fn skeleton(metadata: Map<String, Value>, spec: Value) -> Value {
    json!({
        "apiVersion": "chaos-agent.dev/v1alpha1",
        "kind": "Run",
        "metadata": metadata,
        "spec": spec,
    })
}

/// What the server completes to a name: with its five characters, and a Run has 63 at most.
pub fn prefix(name: &str) -> String {
    let short: String = name.chars().take(50).collect();
    format!("{}-", short.trim_end_matches(['-', '.']))
}

/// Lays the options over a Run.
pub fn change(object: &mut Value, changes: &Changes<'_>) {
    for Param { name, value } in changes.params {
        object["spec"]["params"][name] = json!(value);
    }
    if let Some(mode) = changes.mode {
        object["spec"]["mode"] = json!(mode.in_spec());
    }
    if let (Some(name), Some(metadata)) = (changes.name, object["metadata"].as_object_mut()) {
        metadata.remove("generateName");
        metadata.insert("name".to_owned(), json!(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPERIMENT: &str = "apiVersion: chaos-agent.dev/v1alpha1\nkind: Experiment\nmetadata: {name: slow, namespace: shop}\nspec:\n  params: {latency: 1s}\n  targets: {web: {pods: {matchLabels: {app: web}}}}\n  steps:\n  - {name: a, fault: {target: web, do: delay $(latency), for: 1m}}\n";

    fn read(text: &str, changes: &Changes<'_>) -> Result<Value, &'static str> {
        let checked = Checked::of(text);
        assert_eq!(checked.mistakes, []);
        object(&checked.documents, changes)
    }

    #[test]
    fn an_experiment_becomes_a_run_that_has_it_inline() {
        let params = [Param { name: "latency".into(), value: "2s".into() }];
        let changes = Changes { params: &params, mode: Some(ModeName::Shadow), name: None };
        let run = read(EXPERIMENT, &changes).unwrap();
        assert_eq!(run["metadata"], json!({ "namespace": "shop", "generateName": "slow-" }));
        assert_eq!(
            (&run["spec"]["mode"], &run["spec"]["params"]["latency"]),
            (&json!("Shadow"), &json!("2s"))
        );
        assert_eq!(run["spec"]["inline"]["steps"][0]["name"], "a");
        serde_json::from_value::<Run>(run).unwrap();
    }

    #[test]
    fn a_run_takes_the_experiment_that_stands_beside_it() {
        let text = format!(
            "{EXPERIMENT}---\napiVersion: chaos-agent.dev/v1alpha1\nkind: Run\nmetadata: {{generateName: x-, namespace: shop}}\nspec: {{experiment: slow}}\n"
        );
        let changes = Changes { params: &[], mode: None, name: Some("mine") };
        let run = read(&text, &changes).unwrap();
        assert_eq!(run["metadata"], json!({ "namespace": "shop", "name": "mine" }));
        assert!(run["spec"]["experiment"].is_null() && run["spec"]["inline"].is_object());
        assert!(read(&format!("{EXPERIMENT}---\n{EXPERIMENT}"), &changes).is_err());
        assert!(read("kind: Deployment\napiVersion: apps/v1\n", &changes).is_err());
    }
}
