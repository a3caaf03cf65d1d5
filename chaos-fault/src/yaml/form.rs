//! A fault as YAML and JSON have it: one field a verb, one field a clause.

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::scalar::Leaf;

/// Exactly one verb is present. Fields have the words of the sentence, values its spelling.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Form {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Spanned<bool>>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<Spanned<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Spanned<Corrupt>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Spanned<Delay>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Spanned<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Spanned<By>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Spanned<Limit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<Spanned<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Spanned<Fail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_dns: Option<Spanned<FailDns>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Spanned<Slow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<Spanned<Kill>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew_clock: Option<Spanned<By>>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bursts_of: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Spanned<End>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Spanned<End>>,
    /// Of either end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Spanned<Vec<Leaf>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Leaf>,
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most_per_second: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Leaf>,
}

/// `{}`
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParts {}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Corrupt {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Delay {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Spanned<Vec<Leaf>>>,
    /// With `oneOf`, that is what was in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Leaf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Leaf>,
    /// The name in the questions that are held, and nothing else is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Leaf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    pub by: Leaf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Limit {
    pub rate: Leaf,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_flow: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fail {
    pub calls: Spanned<Vec<Leaf>>,
    pub with: Spanned<Vec<Leaf>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailDns {
    pub with: Leaf,
    pub name: Leaf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    pub calls: Spanned<Vec<Leaf>>,
    pub by: Leaf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Leaf>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    pub calls: Spanned<Vec<Leaf>>,
}

/// The destination or the source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Leaf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<Leaf>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Leaf>,
}
