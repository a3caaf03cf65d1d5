//! Checks what the chart renders with which values, and which values it refuses.

use anyhow::{Result, bail, ensure};

use super::{
    directory,
    objects::Objects,
    render::{Helm, kustomize},
};

/// Values with which the chart is what a kustomization is.
struct Case {
    name: &'static str,
    namespace: &'static str,
    /// As `--set` takes them.
    values: &'static [&'static str],
    /// Directories of `manifests/`.
    resources: &'static [&'static str],
    components: &'static [&'static str],
}

const CASES: [Case; 7] = [
    Case {
        name: "default values",
        namespace: "chaos-agent",
        values: &[],
        resources: &["base", "controller"],
        components: &[],
    },
    Case {
        name: "the agent alone",
        namespace: "chaos-agent",
        values: &["controller.enabled=false", "crds.enabled=false", "rbac.people=false"],
        resources: &["base"],
        components: &[],
    },
    Case {
        name: "calls by seccomp",
        namespace: "chaos-agent",
        values: &["agent.seccomp.enabled=true"],
        resources: &["base", "controller"],
        components: &["seccomp"],
    },
    Case {
        name: "metrics",
        namespace: "chaos-agent",
        // Beside another option that changes the arguments.
        values: &["monitoring.enabled=true", "agent.seccomp.enabled=true"],
        resources: &["base", "controller"],
        components: &["seccomp", "components/monitoring"],
    },
    Case {
        name: "annotations in Grafana",
        namespace: "chaos-agent",
        // Before metrics, whose arguments come last.
        values: &[
            "controller.grafana.url=http://grafana.monitoring:3000",
            "controller.grafana.tokenSecret=chaos-grafana",
            "monitoring.enabled=true",
        ],
        resources: &["base", "controller"],
        components: &["components/grafana", "components/monitoring"],
    },
    Case {
        name: "no policies",
        namespace: "chaos-agent",
        values: &["policies.enabled=false"],
        resources: &["base", "controller"],
        components: &["components/without-policies"],
    },
    Case {
        name: "another namespace",
        namespace: "faults",
        values: &[],
        resources: &["samples/other-namespace"],
        components: &[],
    },
];

/// What helm must refuse, and what it has to say then.
const REFUSED: [(&[&str], &str); 11] = [
    (&["--set", "controler.replicas=2"], "additional properties 'controler' not allowed"),
    (&["--set", "agent.seccomp.enable=true"], "additional properties 'enable' not allowed"),
    (&["--set", "controller.replicas=0"], "at '/controller/replicas': minimum: got 0, want 1"),
    (&["--set", "agent.mostTargets=many"], "at '/agent/mostTargets'"),
    (&["--set", "agent.grace=soon"], "at '/agent/grace'"),
    (&["--set", "agent.heldMemory=1G"], "at '/agent/heldMemory'"),
    (&["--set", "controller.probes.networks={10.0.0.1}"], "at '/controller/probes/networks/0'"),
    (&["--set", "controller.grafana.url=grafana:3000"], "at '/controller/grafana/url'"),
    (&["--set", "networkPolicy.apiServerPorts={0}"], "at '/networkPolicy/apiServerPorts/0'"),
    (&["--set", "monitoring.address=everywhere"], "at '/monitoring/address'"),
    (&["--kube-version", "1.29.0"], "Kubernetes v1.29.0 has no ValidatingAdmissionPolicy"),
];

/// A file with every option on.
const ALL_VALUES: &str = "ci/all-values.yaml";

/// Renders and checks everything.
pub fn check() -> Result<()> {
    let helm = Helm::new()?;
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in &CASES {
        let options: Vec<&str> = case.values.iter().flat_map(|value| ["--set", value]).collect();
        helm.lint(&options)?;
        let chart = helm.template(case.namespace, &options)?;
        let manifests = kustomize(case.resources, case.components)?;
        ensure!(manifests.len() > 0, "{}: kustomize makes nothing", case.name);
        count += chart.len();
        let found = Objects::differences(&chart, &manifests);
        wrong.extend(found.into_iter().map(|difference| format!("{}: {difference}", case.name)));
    }
    let all = directory().join(ALL_VALUES).display().to_string();
    helm.lint(&["--values", &all])?;
    helm.template("chaos-agent", &["--values", &all])?;
    for (options, expected) in REFUSED {
        let said = helm.refusal(options)?;
        if !said.contains(expected) {
            wrong.push(format!("{}: {said:?} has no {expected:?}", options.join(" ")));
        }
    }
    if !wrong.is_empty() {
        bail!("the chart is not what it has to be\n{}", wrong.join("\n"));
    }
    eprintln!(
        "{count} objects of the chart are those of manifests/, {} values are refused",
        REFUSED.len()
    );
    Ok(())
}
