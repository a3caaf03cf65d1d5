//! Compares what helm renders with what kustomize builds, object by object.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};

/// In what the chart may differ from the manifests, and why: a row of the table in its README each.
pub const ALLOWED: [(&str, &str); 3] = [
    (
        "the Namespace",
        "Helm keeps what it knows of a release in its namespace, which so must be there before; \
         `--create-namespace` makes it, without the label `pod-security.kubernetes.io/enforce: privileged`",
    ),
    (
        "labels `app.kubernetes.io/instance`, `app.kubernetes.io/managed-by`, `app.kubernetes.io/version`, `helm.sh/chart` \
         of objects, not of pods",
        "Helm and its users look for them",
    ),
    (
        "annotation `helm.sh/resource-policy: keep` of the definitions of Experiment and Run",
        "`helm uninstall` would delete all experiments otherwise (`crds.keep`)",
    ),
];

const LABELS: [&str; 4] = [
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/version",
    "helm.sh/chart",
];
/// Objects of no namespace for which kustomize writes one, as it does not know their kinds; kubectl ignores it.
const WIDE: [&str; 2] = ["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"];
const POLICY: (&str, &str) = ("helm.sh/resource-policy", "keep");

/// Objects by kind, namespace and name, without what may differ.
#[derive(Debug, PartialEq)]
pub struct Objects(BTreeMap<String, Value>);

impl Objects {
    /// Reads the documents of a YAML text.
    ///
    /// # Errors
    /// When it is no YAML, or an object has no kind or name, or is there twice.
    pub fn read(yaml: &str) -> Result<Self> {
        let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("read YAML")?;
        let mut objects = BTreeMap::new();
        for mut object in documents.into_iter().filter(|document| !document.is_null()) {
            forget_allowed(&mut object);
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            let (Some(version), Some(kind), Some(name)) =
                (text("/apiVersion"), text("/kind"), text("/metadata/name"))
            else {
                bail!("an object without apiVersion, kind or name: {object}");
            };
            let (group, _) = version.split_once('/').unwrap_or_default();
            let namespace = text("/metadata/namespace").unwrap_or_default();
            let key = format!("{kind}.{group} {namespace}/{name}");
            if (kind, group) == ("Namespace", "") {
                continue;
            }
            if objects.insert(key.clone(), object).is_some() {
                bail!("{key} is there twice");
            }
        }
        Ok(Self(objects))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In what the chart differs from the manifests, a line each.
    pub fn differences(chart: &Self, manifests: &Self) -> Vec<String> {
        let mut found = Vec::new();
        for (key, object) in &chart.0 {
            match manifests.0.get(key) {
                Some(other) => differ(key, object, other, &mut found),
                None => found.push(format!("{key}: in the chart only")),
            }
        }
        let missing = manifests.0.keys().filter(|key| !chart.0.contains_key(*key));
        found.extend(missing.map(|key| format!("{key}: in the manifests only")));
        found
    }
}

/// Makes values the same that mean the same: `1.0` and `1`, and in policies, whose folded texts kustomize writes with more
/// line breaks, all blanks between words.
fn normalize(value: &mut Value, is_policy: bool) {
    match value {
        Value::Object(fields) => fields.values_mut().for_each(|value| normalize(value, is_policy)),
        Value::Array(items) => items.iter_mut().for_each(|value| normalize(value, is_policy)),
        Value::String(text) if is_policy => {
            *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        }
        Value::Number(number) => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0);
            // Exact: whole numbers of manifests are far below 2^53.
            let whole = whole.map(|number| number as i64);
            if let (true, Some(whole)) = (number.is_f64(), whole) {
                *number = whole.into();
            }
        }
        Value::String(_) | Value::Bool(_) | Value::Null => {}
    }
}

/// Removes what the chart may have besides.
fn forget_allowed(object: &mut Value) {
    let is_definition = object["kind"] == "CustomResourceDefinition";
    let is_wide = object["kind"].as_str().is_some_and(|kind| WIDE.contains(&kind));
    normalize(object, is_wide);
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if is_wide {
        metadata.remove("namespace");
    }
    if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
        labels.retain(|key, _| !LABELS.contains(&key.as_str()));
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|key, value| !(is_definition && key == POLICY.0 && value == POLICY.1));
    }
    let is_empty = |value: &Value| value.as_object().is_some_and(Map::is_empty);
    metadata.retain(|_, value| !is_empty(value));
}

/// Adds a line for each value that is not the same.
fn differ(path: &str, chart: &Value, manifests: &Value, found: &mut Vec<String>) {
    match (chart, manifests) {
        (Value::Object(ours), Value::Object(theirs)) => {
            for (key, value) in ours {
                let path = format!("{path} .{key}");
                match theirs.get(key) {
                    Some(other) => differ(&path, value, other, found),
                    None => found.push(format!("{path}: in the chart only: {value}")),
                }
            }
            for (key, value) in theirs.iter().filter(|(key, _)| !ours.contains_key(*key)) {
                found.push(format!("{path} .{key}: in the manifests only: {value}"));
            }
        }
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            for (index, (value, other)) in ours.iter().zip(theirs).enumerate() {
                differ(&format!("{path}[{index}]"), value, other, found);
            }
        }
        (ours, theirs) if ours == theirs => {}
        (ours, theirs) => found.push(format!("{path}: chart {ours}, manifests {theirs}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: a}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: b, namespace: a, labels: {app.kubernetes.io/name: b}}
spec: {replicas: 2, args: [u, v]}
";

    fn differences(chart: &str) -> Vec<String> {
        let read = |yaml| Objects::read(yaml).unwrap();
        Objects::differences(&read(chart), &read(MANIFEST))
    }

    #[test]
    fn order_of_keys_helms_labels_and_the_namespace_are_no_difference() {
        let same = "\
# Source: a
kind: Deployment
apiVersion: apps/v1
spec:
  args: [\"u\", v]
  replicas: 2
metadata:
  namespace: a
  labels: {app.kubernetes.io/name: b, helm.sh/chart: c-1, app.kubernetes.io/version: \"1\"}
  name: b
---
";
        assert_eq!(differences(same), Vec::<String>::new());
    }

    #[test]
    fn each_value_that_is_another_is_named_with_its_place() {
        let other = MANIFEST.replace("replicas: 2", "replicas: 3, more: 1").replace("u, v", "u, w");
        let expected = [
            "Deployment.apps a/b .spec .args[1]: chart \"w\", manifests \"v\"",
            "Deployment.apps a/b .spec .more: in the chart only: 1",
            "Deployment.apps a/b .spec .replicas: chart 3, manifests 2",
        ];
        assert_eq!(differences(&other), expected);
        let less = MANIFEST.replace("replicas: 2, ", "").replace("u, v", "u");
        let expected = [
            "Deployment.apps a/b .spec .args: chart [\"u\"], manifests [\"u\",\"v\"]",
            "Deployment.apps a/b .spec .replicas: in the manifests only: 2",
        ];
        assert_eq!(differences(&less), expected);
    }

    #[test]
    fn another_label_of_the_object_is_a_difference() {
        let other =
            MANIFEST.replace("app.kubernetes.io/name: b", "app.kubernetes.io/name: b, c: d");
        assert_eq!(
            differences(&other),
            ["Deployment.apps a/b .metadata .labels .c: in the chart only: \"d\""]
        );
    }

    #[test]
    fn objects_that_only_one_has_are_named() {
        let other = MANIFEST.replace("name: b, namespace", "name: c, namespace");
        let expected = [
            "Deployment.apps a/c: in the chart only",
            "Deployment.apps a/b: in the manifests only",
        ];
        assert_eq!(differences(&other), expected);
    }

    #[test]
    fn only_definitions_may_be_kept() {
        let kept = |kind: &str| {
            format!(
                "apiVersion: v1\nkind: {kind}\nmetadata: {{name: a, annotations: {{helm.sh/resource-policy: keep}}}}\n"
            )
        };
        let plain = |kind: &str| format!("apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\n");
        let read = |yaml: String| Objects::read(&yaml).unwrap();
        let found = |kind| Objects::differences(&read(kept(kind)), &read(plain(kind)));
        assert!(found("CustomResourceDefinition").is_empty());
        assert_eq!(found("Secret").len(), 1);
    }

    #[test]
    fn blanks_count_but_in_policies_and_so_do_numbers_but_for_their_form() {
        let read = |kind: &str, value: &str| {
            Objects::read(&format!(
                "apiVersion: v1\nkind: {kind}\nmetadata: {{name: a}}\nvalue: {value}\n"
            ))
            .unwrap()
        };
        let (one, two) = ("\"a || b\"", "\"a ||\\n\\n  b\"");
        assert_eq!(read(WIDE[0], one), read(WIDE[0], two));
        assert_ne!(read("ConfigMap", one), read("ConfigMap", two));
        assert_eq!(read("ConfigMap", "1000.0"), read("ConfigMap", "1000"));
        assert_ne!(read("ConfigMap", "1000.5"), read("ConfigMap", "1000"));
    }

    #[test]
    fn what_has_no_namespace_is_known_by_its_name() {
        let policy = |namespace: &str| {
            let kind = "ValidatingAdmissionPolicy";
            Objects::read(&format!(
                "apiVersion: v1\nkind: {kind}\nmetadata: {{name: a{namespace}}}\n"
            ))
            .unwrap()
        };
        assert_eq!(policy(""), policy(", namespace: b"));
    }

    #[test]
    fn an_object_that_is_there_twice_is_refused() {
        let error = Objects::read(&format!("{MANIFEST}---\n{MANIFEST}")).unwrap_err();
        assert_eq!(error.to_string(), "Deployment.apps a/b is there twice");
    }
}
