//! Defines a label selector with bounds, so that the API server can tell what its rules cost, and a status that
//! holds a copy of one stays small.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Which labels an object must have: all of these. Empty, it takes every object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Labels {
    /// Label keys with the value that each must have
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub match_labels: BTreeMap<String, LabelValue>,
    /// Expressions, all of which must hold
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub match_expressions: Vec<Requirement>,
}

/// One expression about a label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = Rule::new("self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0")
        .message("`In` and `NotIn` must have values, `Exists` and `DoesNotExist` must have none")
)]
pub struct Requirement {
    #[schemars(length(min = 1, max = 317))]
    pub key: String,
    pub operator: Operator,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub values: Vec<LabelValue>,
}

/// How a label is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

/// The value of a label.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct LabelValue(#[schemars(length(max = 63))] pub String);

impl Labels {
    /// Whether an object with these labels is meant.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = |(key, value): (&String, &LabelValue)| labels.get(key) == Some(&value.0);
        self.match_labels.iter().all(equal)
            && self.match_expressions.iter().all(|one| one.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        let is_listed = || value.is_some_and(|value| self.values.iter().any(|one| one.0 == *value));
        match self.operator {
            Operator::In => is_listed(),
            Operator::NotIn => !is_listed(),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn labels_match_as_kubernetes_matches_them() {
        let pod = BTreeMap::from([("app", "web"), ("track", "stable")]);
        let pod = pod.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        for (selector, expected) in [
            ("{}", true),
            (r#"{"matchLabels": {"app": "web"}}"#, true),
            (r#"{"matchLabels": {"app": "web", "track": "canary"}}"#, false),
            (
                r#"{"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}"#,
                true,
            ),
            (
                r#"{"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}"#,
                false,
            ),
            // As Kubernetes has it: a label that is not there is in no list.
            (
                r#"{"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a"]}]}"#,
                true,
            ),
            (r#"{"matchExpressions": [{"key": "track", "operator": "Exists"}]}"#, true),
            (r#"{"matchExpressions": [{"key": "track", "operator": "DoesNotExist"}]}"#, false),
        ] {
            assert_eq!(labels(selector).matches(&pod), expected, "{selector}");
        }
    }
}
