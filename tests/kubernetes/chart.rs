//! A real API server takes the chart, and keeps experiments when helm upgrades and uninstalls it.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use chaos_tests::{
    control_plane::{ControlPlane, Identity},
    helm::Helm,
};
use serde_json::{Value, json};

const NAMESPACE: [&str; 2] = ["--namespace", "chaos-agent"];

/// The documents that the chart is with these options.
fn rendered(helm: &Helm, options: &[&str]) -> Result<String> {
    let chart = Helm::chart().display().to_string();
    helm.run(&[&["template", "chaos-agent", &chart], &NAMESPACE[..], options].concat())
}

/// A pod as the template of the object `kind` makes it.
fn pod(documents: &str, kind: &str, namespace: &str) -> Result<String> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(documents)?;
    let object =
        documents.iter().find(|object| object["kind"] == kind).context("no such object")?;
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "pod", "namespace": namespace },
        "spec": object["spec"]["template"]["spec"],
    });
    // The class is not there: nothing of the chart is.
    pod["spec"].as_object_mut().context("a pod has a spec")?.remove("priorityClassName");
    Ok(pod.to_string())
}

/// A kind of the Prometheus operator, of which nothing but the names is like there.
fn operators_kind(plural: &str, kind: &str) -> String {
    let schema = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let version = json!({
        "name": "v1",
        "served": true,
        "storage": true,
        "schema": { "openAPIV3Schema": schema },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{plural}.monitoring.coreos.com") },
        "spec": {
            "group": "monitoring.coreos.com",
            "names": { "plural": plural, "singular": kind.to_lowercase(), "kind": kind },
            "scope": "Namespaced",
            "versions": [version],
        },
    })
    .to_string()
}

#[test]
fn the_api_server_accepts_the_chart_with_every_option() -> Result<()> {
    let plane = ControlPlane::start()?;
    let helm = Helm::on(&plane)?;
    for level in ["privileged", "baseline", "restricted"] {
        plane.kubectl(&["create", "namespace", level])?;
        let label = format!("pod-security.kubernetes.io/enforce={level}");
        plane.kubectl(&["label", "namespace", level, &label])?;
    }
    for (plural, kind) in [("podmonitors", "PodMonitor"), ("prometheusrules", "PrometheusRule")] {
        plane.apply(&operators_kind(plural, kind))?;
        let definition = format!("crd/{plural}.monitoring.coreos.com");
        plane.await_kinds(&[&definition])?;
    }
    // A dry run makes no namespace, so what lies in one would be refused.
    plane.kubectl(&["create", "namespace", "chaos-agent"])?;
    let all = Helm::chart().join("ci/all-values.yaml").display().to_string();
    let strict =
        ["apply", "--dry-run=server", "--validate=strict", "--server-side", "--filename=-"];
    for options in [&["--values", &all][..], &[]] {
        let documents = rendered(&helm, options)?;
        let applied = plane.kubectl_as(Identity::Admin, &strict, &documents)?;
        assert_eq!(applied.lines().count(), documents.matches("\nkind: ").count(), "{applied}");
    }

    // By the levels of Pod Security: the controller asks for nothing, the agent for what it needs.
    let documents = rendered(&helm, &[])?;
    let admitted = |kind: &str, level: &str| -> Result<Result<String>> {
        let create = ["create", "--dry-run=server", "--filename=-"];
        let pod = pod(&documents, kind, level)?;
        Ok(plane.kubectl_as(Identity::Admin, &create, &pod))
    };
    admitted("Deployment", "restricted")??;
    admitted("DaemonSet", "privileged")??;
    let refused = admitted("DaemonSet", "baseline")?.unwrap_err().to_string();
    for reason in ["host namespaces", "hostPath volumes", "\"SYS_ADMIN\""] {
        assert!(refused.contains(reason), "{refused}");
    }
    Ok(())
}

/// A copy of the chart as an earlier version may have been, with another short name of Experiment.
fn earlier(directory: &Path) -> Result<()> {
    let chart = Helm::chart();
    let definitions = "templates/generated/crds.yaml";
    for name in ["Chart.yaml", "values.yaml", "values.schema.json", "templates", "files"] {
        copy(&chart.join(name), &directory.join(name))?;
    }
    let path = directory.join(definitions);
    let text = fs::read_to_string(&path)?;
    let changed = text.replace("    - cx\n", "    - earlier\n");
    assert_ne!(text, changed, "Experiment has no short name cx any more");
    Ok(fs::write(path, changed)?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        fs::copy(from, to).with_context(|| format!("copy {}", from.display()))?;
        return Ok(());
    }
    fs::create_dir(to).with_context(|| format!("make {}", to.display()))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

#[test]
fn helm_upgrades_the_kinds_and_leaves_experiments_when_it_uninstalls() -> Result<()> {
    let plane = ControlPlane::start()?;
    let helm = Helm::on(&plane)?;
    let old = tempfile::tempdir()?;
    earlier(old.path())?;
    let (old, new) = (old.path().display().to_string(), Helm::chart().display().to_string());
    let chart = |verb: &'static str, path: &str| -> Result<String> {
        helm.run(&[&[verb, "chaos-agent", path], &NAMESPACE[..], &["--create-namespace"]].concat())
    };
    let short_names = || {
        let path = "--output=jsonpath={.spec.names.shortNames[*]}";
        plane.kubectl(&["get", "crd/experiments.chaos-agent.dev", path])
    };

    let notes = chart("install", &old)?;
    assert!(notes.contains("enforce=privileged"), "the namespace has no level: {notes}");
    assert_eq!(short_names()?, "earlier");
    plane.await_kinds(&["crd/experiments.chaos-agent.dev"])?;
    plane.kubectl(&["create", "namespace", "shop"])?;
    let samples = xtask::paths::workspace().join("manifests/samples");
    let sample = samples.join("experiment.yaml").display().to_string();
    plane.kubectl(&["apply", "--filename", &sample])?;

    chart("upgrade", &new)?;
    assert_eq!(short_names()?, "cx");

    helm.run(&[&["uninstall", "chaos-agent"], &NAMESPACE[..]].concat())?;
    plane.kubectl(&["get", "experiment/slow-payments", "--namespace", "shop"])?;
    let definition = "customresourcedefinition.apiextensions.k8s.io";
    let kept = ["experiments", "runs"].map(|kind| format!("{definition}/{kind}.chaos-agent.dev"));
    assert_eq!(helm.objects()?, kept);

    // What was kept is taken over by the next installation.
    chart("install", &new)?;
    assert_eq!(short_names()?, "cx");
    Ok(())
}
