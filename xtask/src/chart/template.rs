//! Makes templates of manifests that the chart has as they are, but for namespace, labels and whether they are wanted.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use xtask::paths;

use super::{directory, read};

/// The directories of the chart in which every file is written by this verb.
pub const DIRECTORIES: [&str; 3] = [TEMPLATES, COPIES[0].1, COPIES[1].1];
const TEMPLATES: &str = "templates/generated";
/// Where files of JSON are copied from, below `manifests/`, and to.
const COPIES: [(&str, &str); 2] =
    [("seccomp", "files/seccomp"), ("components/monitoring", "files/monitoring")];

/// A manifest and what becomes of it.
struct Source {
    /// Below `manifests/`.
    manifest: &'static str,
    /// In the chart's directory of generated templates.
    template: &'static str,
    /// What kustomize writes into `app.kubernetes.io/name` of its objects, if it does.
    name: Option<&'static str>,
    /// Which values want it; without, it is always there.
    condition: Option<&'static str>,
}

const SOURCES: [Source; 8] = [
    Source {
        manifest: "base/rbac.yaml",
        template: "agent-rbac.yaml",
        name: Some("chaos-agent"),
        condition: None,
    },
    Source {
        manifest: "base/policies.yaml",
        template: "agent-policies.yaml",
        name: Some("chaos-agent"),
        condition: Some(".Values.policies.enabled"),
    },
    Source {
        manifest: "controller/crds.yaml",
        template: "crds.yaml",
        name: Some("chaos-controller"),
        condition: Some(".Values.crds.enabled"),
    },
    Source {
        manifest: "controller/rbac.yaml",
        template: "controller-rbac.yaml",
        name: Some("chaos-controller"),
        condition: Some(".Values.controller.enabled"),
    },
    Source {
        manifest: "controller/policies.yaml",
        template: "controller-policies.yaml",
        name: Some("chaos-controller"),
        // They bound the roles of people, too.
        condition: Some(
            "and .Values.policies.enabled (or .Values.controller.enabled .Values.rbac.people)",
        ),
    },
    Source {
        manifest: "controller/roles.yaml",
        template: "roles.yaml",
        name: Some("chaos-controller"),
        condition: Some(".Values.rbac.people"),
    },
    Source {
        manifest: "components/monitoring/podmonitors.yaml",
        template: "podmonitors.yaml",
        name: None,
        condition: Some("and .Values.monitoring.enabled .Values.monitoring.podMonitors"),
    },
    Source {
        manifest: "components/monitoring/rules.yaml",
        template: "rules.yaml",
        name: None,
        condition: Some("and .Values.monitoring.enabled .Values.monitoring.rules"),
    },
];

/// The namespace in the manifests, which is the release's in the chart.
const NAMESPACE: &str = "chaos-agent";
const RELEASE: &str = "{{ .Release.Namespace }}";
/// Where labels of an object begin.
const LABELS: &str = "  labels:";
/// Keeps a definition, and so all objects of its kind, when the chart is uninstalled.
const KEEP: &str = "  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n";

/// All files that are made of `manifests/`, by their paths.
pub fn files() -> Result<BTreeMap<PathBuf, String>> {
    let manifests = paths::workspace().join("manifests");
    let mut files = BTreeMap::new();
    for source in SOURCES {
        let text = template(&read(&manifests.join(source.manifest))?, &source);
        files.insert(directory().join(TEMPLATES).join(source.template), text);
    }
    for (from, to) in COPIES {
        let from = manifests.join(from);
        let entries = fs::read_dir(&from).with_context(|| format!("list {}", from.display()))?;
        for entry in entries {
            let path = entry.with_context(|| format!("list {}", from.display()))?.path();
            let is_json = path.extension().is_some_and(|extension| extension == "json");
            if let Some(name) = path.file_name().filter(|_| is_json) {
                files.insert(directory().join(to).join(name), read(&path)?);
            }
        }
    }
    Ok(files)
}

fn template(manifest: &str, source: &Source) -> String {
    let mut text = format!(
        "{{{{- /* Written by `./x chart` from manifests/{}; `./x chart --check` is part of ci. */}}}}\n",
        source.manifest
    );
    if let Some(condition) = source.condition {
        writeln!(text, "{{{{- if {condition} }}}}").expect("a String takes every write");
    }
    let lines: Vec<&str> = manifest.lines().collect();
    let mut kind = "";
    for (index, line) in lines.iter().enumerate() {
        kind = line.strip_prefix("kind: ").unwrap_or(kind);
        if *line == LABELS {
            text.push_str(&labels(source.name));
            continue;
        }
        text.push_str(&substituted(line));
        if *line == "metadata:" {
            let mut block = lines[index + 1..].iter().take_while(|line| line.starts_with("  "));
            if !block.any(|line| *line == LABELS) {
                text.push_str(&labels(source.name));
            }
            if kind == "CustomResourceDefinition" {
                text.push_str(KEEP);
            }
        }
    }
    if source.condition.is_some() {
        text.push_str("{{- end }}\n");
    }
    text
}

fn labels(name: Option<&str>) -> String {
    let include = match name {
        Some(name) => {
            format!("include \"chaos-agent.labels\" (dict \"name\" \"{name}\" \"root\" $)")
        }
        None => "include \"chaos-agent.helmLabels\" $".to_owned(),
    };
    format!("{LABELS}\n    {{{{- {include} | nindent 4 }}}}\n")
}

/// A line with the release's namespace in place of the manifests'.
fn substituted(line: &str) -> String {
    let escaped = line.replace("{{", "{{ \"{{\" }}");
    let trimmed = line.trim_start();
    let line = if trimmed.starts_with('#') {
        escaped
    } else if trimmed == format!("namespace: {NAMESPACE}") {
        escaped.replace(NAMESPACE, RELEASE)
    } else if line.contains("request.namespace") {
        escaped.replace(&format!("'{NAMESPACE}'"), &format!("'{RELEASE}'"))
    } else if trimmed.starts_with("message:") {
        escaped.replace(&format!("namespace {NAMESPACE} "), &format!("namespace {RELEASE} "))
    } else {
        // Accounts, selectors of PromQL, and command lines of kubectl.
        let parts = [("system:serviceaccount:", ":"), ("namespace=\"", "\""), ("--namespace ", "")];
        parts.into_iter().fold(escaped, |line, (before, after)| {
            line.replace(
                &format!("{before}{NAMESPACE}{after}"),
                &format!("{before}{RELEASE}{after}"),
            )
        })
    };
    if trimmed.starts_with("rbac.authorization.k8s.io/aggregate-to-") {
        return format!("    {{{{- if .Values.rbac.aggregate }}}}\n{line}\n    {{{{- end }}}}\n");
    }
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(manifest: &str, condition: Option<&'static str>) -> String {
        let source =
            Source { manifest: "a.yaml", template: "a.yaml", name: Some("chaos-agent"), condition };
        let text = template(manifest, &source);
        text.split_once('\n').unwrap().1.to_owned()
    }

    #[test]
    fn an_object_gets_labels_besides_its_own() {
        let include = "    {{- include \"chaos-agent.labels\" (dict \"name\" \"chaos-agent\" \"root\" $) | nindent 4 }}\n";
        let manifest = "kind: Role\nmetadata:\n  name: a\nrules: []\n";
        let expected = format!("kind: Role\nmetadata:\n  labels:\n{include}  name: a\nrules: []\n");
        assert_eq!(of(manifest, None), expected);
        let manifest = "kind: Role\nmetadata:\n  name: a\n  labels:\n    b: c\n";
        let expected = format!("kind: Role\nmetadata:\n  name: a\n  labels:\n{include}    b: c\n");
        assert_eq!(of(manifest, None), expected);
    }

    #[test]
    fn the_namespace_is_the_release_s_where_it_is_one() {
        for (line, expected) in [
            ("  namespace: chaos-agent", "  namespace: {{ .Release.Namespace }}"),
            ("  namespace: chaos-agents", "  namespace: chaos-agents"),
            ("  name: chaos-agent", "  name: chaos-agent"),
            (
                "    name: system:serviceaccount:chaos-agent:chaos-agent",
                "    name: system:serviceaccount:{{ .Release.Namespace }}:chaos-agent",
            ),
            (
                "  !(request.namespace in ['kube-system', 'chaos-agent'])",
                "  !(request.namespace in ['kube-system', '{{ .Release.Namespace }}'])",
            ),
            (
                "  expr: up{namespace=\"chaos-agent\", daemonset=\"chaos-agent\"}",
                "  expr: up{namespace=\"{{ .Release.Namespace }}\", daemonset=\"chaos-agent\"}",
            ),
            ("  x == 'chaos-agent'", "  x == 'chaos-agent'"),
            ("  # request.namespace == 'chaos-agent'", "  # request.namespace == 'chaos-agent'"),
        ] {
            assert_eq!(of(line, None), format!("{expected}\n"));
        }
    }

    #[test]
    fn what_is_a_template_elsewhere_stays_text() {
        assert_eq!(of("  a: '{{ $value }}'", None), "  a: '{{ \"{{\" }} $value }}'\n");
    }

    #[test]
    fn a_condition_is_round_the_whole() {
        assert_eq!(of("a: b", Some(".Values.c")), "{{- if .Values.c }}\na: b\n{{- end }}\n");
    }

    #[test]
    fn a_definition_is_kept_if_that_is_wanted() {
        let manifest = "kind: CustomResourceDefinition\nmetadata:\n  name: a\n";
        assert!(of(manifest, None).contains(KEEP));
        assert!(!of("kind: Role\nmetadata:\n  name: a\n", None).contains(KEEP));
    }

    #[test]
    fn every_manifest_gives_a_template() {
        let files = files().unwrap();
        for source in SOURCES {
            let text = &files[&directory().join(TEMPLATES).join(source.template)];
            assert!(text.contains("\nkind: "), "{}", source.template);
        }
        for (_, to) in COPIES {
            let directory = directory().join(to);
            assert!(files.keys().any(|path| path.starts_with(&directory)), "nothing in {to}");
        }
    }
}
