//! A real API server takes the manifests, and kustomize makes of them what they promise.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use chaos_tests::{control_plane::ControlPlane, overlay::Overlay};
use serde_json::json;
use xtask::kube_binaries::KubeBinaries;

#[test]
fn the_api_server_accepts_every_manifest() -> Result<()> {
    let plane = ControlPlane::start()?;
    let manifests = xtask::paths::workspace().join("manifests");
    let (base, samples) = (manifests.join("base"), manifests.join("samples"));
    // A dry run makes no namespace, so what lies in one would be refused.
    for namespace in ["chaos-agent", "shop"] {
        plane.kubectl(&["create", "namespace", namespace])?;
    }
    let base = base.display().to_string();
    let strict =
        ["apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts"];
    let applied = plane.kubectl(&[&strict[..], &["--kustomize", &base]].concat())?;
    for kind in [
        "namespace",
        "serviceaccount",
        "clusterrole",
        "clusterrolebinding",
        "role",
        "rolebinding",
        "daemonset.apps",
    ] {
        assert!(
            applied.contains(&format!("{kind}/chaos-agent "))
                || applied.contains(&format!("{kind}.rbac.authorization.k8s.io/chaos-agent ")),
            "{applied}"
        );
    }
    for kind in ["validatingadmissionpolicy", "validatingadmissionpolicybinding"] {
        for name in ["chaos-agent-pods", "chaos-agent-events"] {
            let policy = format!("{kind}.admissionregistration.k8s.io/{name} ");
            assert!(applied.contains(&policy), "{applied}");
        }
    }
    let controller = manifests.join("controller").display().to_string();
    let applied = plane.kubectl(&[&strict[..], &["--kustomize", &controller]].concat())?;
    for object in
        ["runs.chaos-agent.dev", "experiments.chaos-agent.dev", "deployment.apps/chaos-controller"]
    {
        assert!(applied.contains(object), "{applied}");
    }
    // Samples are of these kinds, too, which a dry run does not make.
    let definitions = manifests.join("controller/crds.yaml").display().to_string();
    plane.kubectl(&["apply", "--server-side", "--filename", &definitions])?;
    let kinds = ["crd/runs.chaos-agent.dev", "crd/experiments.chaos-agent.dev"];
    plane.await_kinds(&kinds)?;
    let samples = samples.display().to_string();
    let applied = plane.kubectl(&[&strict[..], &["--filename", &samples]].concat())?;
    for object in [
        "pod/web-0",
        "experiment.chaos-agent.dev/slow-payments",
        "experiment.chaos-agent.dev/lost-pods",
        "run.chaos-agent.dev/slow-payments-1",
    ] {
        assert!(applied.contains(object), "{applied}");
    }
    Ok(())
}

/// What kustomize makes of a directory of `manifests/`, or of one beside it.
fn build(directory: &Path) -> Result<String> {
    let kubectl = KubeBinaries::find()?.kubectl;
    let output = Command::new(kubectl).arg("kustomize").arg(directory).output()?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl kustomize {}: {complaint}", directory.display());
    String::from_utf8(output.stdout).context("what kustomize makes")
}

#[test]
fn without_policies_is_the_base_without_policies() -> Result<()> {
    let manifests = xtask::paths::workspace().join("manifests");
    let base = build(&manifests.join("base"))?;
    let overlay = Overlay::on_base(
        |manifests| json!({ "components": [format!("{manifests}/components/without-policies")] }),
    )?;
    let without = build(overlay.path())?;
    let objects = |text: &str| -> Vec<String> { text.split("---\n").map(str::to_owned).collect() };
    let is_policy = |object: &String| object.contains("\nkind: ValidatingAdmissionPolicy");
    let (policies, others): (Vec<_>, Vec<_>) = objects(&base).into_iter().partition(is_policy);
    assert_eq!(policies.len(), 4);
    assert_eq!(objects(&without), others);
    Ok(())
}

#[test]
fn in_another_namespace_rights_and_policies_name_the_account_that_is_there() -> Result<()> {
    const HERE: &str = "system:serviceaccount:chaos-agent:chaos-agent";
    const THERE: &str = "system:serviceaccount:faults:chaos-agent";
    let manifests = xtask::paths::workspace().join("manifests");
    let base = build(&manifests.join("base"))?;
    let controller = build(&manifests.join("controller"))?;
    let moved = build(&manifests.join("samples/other-namespace"))?;
    // The rights, those in its own namespace, and each policy.
    assert_eq!((base.matches(HERE).count(), base.matches(THERE).count()), (4, 0));
    assert_eq!((moved.matches(HERE).count(), moved.matches(THERE).count()), (0, 4), "{moved}");
    let accounts = |text: &str, namespace: &str| {
        text.matches(&format!("system:serviceaccount:{namespace}:chaos-controller")).count()
    };
    assert_eq!(accounts(&controller, "chaos-agent"), 8);
    assert_eq!((accounts(&moved, "chaos-agent"), accounts(&moved, "faults")), (0, 8), "{moved}");
    assert!(!moved.contains("namespace: chaos-agent"), "{moved}");

    // Whoever moves the objects alone has rights and policies for nobody, not rights without policies.
    let overlay = Overlay::on_base(|_| json!({ "namespace": "faults" }))?;
    let moved = build(overlay.path())?;
    assert_eq!((moved.matches(HERE).count(), moved.matches(THERE).count()), (4, 0));
    let subjects = moved.split("subjects:").nth(1).context("a binding has subjects")?;
    let subject = subjects.lines().take(4).collect::<Vec<_>>().join("\n");
    assert!(subject.contains(HERE) && subject.contains("kind: User"), "{subject}");
    Ok(())
}

#[test]
fn monitoring_opens_the_ports_that_it_has_scraped() -> Result<()> {
    let overlay = Overlay::on_base(|manifests| {
        // Beside another component that changes the arguments.
        let components = ["seccomp", "components/monitoring"];
        json!({ "components": components.map(|one| format!("{manifests}/{one}")) })
    })?;
    let built = build(overlay.path())?;
    let objects: Vec<&str> = built.split("---\n").collect();
    let of_kind = |kind: &str| -> Vec<&&str> {
        objects.iter().filter(|one| one.contains(&format!("\nkind: {kind}\n"))).collect()
    };
    let [agent] = of_kind("DaemonSet")[..] else { anyhow::bail!("one DaemonSet: {built}") };
    for part in [
        "- --seccomp-socket=/run/chaos-agent-seccomp/listener.sock",
        "- --metrics-address=0.0.0.0:9464",
        "- --health-address=0.0.0.0:9465",
        "containerPort: 9464\n          name: metrics",
        "path: /healthz",
        "path: /readyz",
    ] {
        assert!(agent.contains(part), "{part}:\n{agent}");
    }
    assert_eq!(of_kind("PodMonitor").len(), 2);
    let maps = of_kind("ConfigMap");
    let dashboard = maps.iter().find(|one| one.contains("name: chaos-agent-dashboard"));
    let dashboard = dashboard.context("a dashboard")?;
    assert!(dashboard.contains("grafana_dashboard: \"1\""), "{dashboard}");
    let [network] = of_kind("NetworkPolicy")[..] else { anyhow::bail!("one policy: {built}") };
    assert!(network.contains("ingress:\n  - ports:\n    - port: 9464"), "{network}");
    assert_eq!(of_kind("PrometheusRule").len(), 1);
    Ok(())
}
