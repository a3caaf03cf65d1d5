//! A fault as YAML and JSON have it: one field a verb, one field a clause.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{placed::Placed, scalar::Leaf};

/// Exactly one verb is present. Fields have the words of the sentence, values its spelling.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Form {
    /// The fault is counted, and nothing is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Placed<bool>>,

    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<Placed<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub corrupt: Option<Placed<Corrupt>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay: Option<Placed<Delay>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<Placed<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reorder: Option<Placed<By>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Placed<Limit>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reset: Option<Placed<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail: Option<Placed<Fail>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_dns: Option<Placed<FailDns>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Placed<Slow>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill: Option<Placed<Kill>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_container: Option<Placed<NoParts>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skew_clock: Option<Placed<By>>,

    /// How likely each packet, flow or call is hit: `10%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chance: Option<Leaf>,
    /// Every n-th packet or call is hit: `5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<Leaf>,
    /// Those that are hit, by their numbers: `{first: 3, last: 6}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Placed<Window>>,
    /// Hits come in runs of this length on average, as lines lose packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bursts_of: Option<Leaf>,
    /// What the chance is of, or is counted: `packets`, `flows` or `calls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<Leaf>,
    /// `egress` leaves the target, `ingress` arrives at it; both without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Leaf>,
    /// `tcp`, `udp` or `icmp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Leaf>,
    /// The destination.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Placed<End>>,
    /// The source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Placed<End>>,
    /// Of either end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Placed<Vec<Leaf>>>,
    /// What is left alone: these addresses, or these ports, at either end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub except: Option<Placed<End>>,
    /// The files at this path or below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub under: Option<Leaf>,
    /// One container of the pod, in place of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Leaf>,
    /// How long nothing is done at first: `10s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Leaf>,
    /// How long it lasts: `5m`. The policy of the node decides without it.
    #[serde(rename = "for", skip_serializing_if = "Option::is_none")]
    pub duration: Option<Leaf>,
    /// When it ends at the latest, in UTC: `2026-11-28T10:14:00Z`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Leaf>,
    /// How often it is done altogether.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Leaf>,
    /// How often it is done in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most_per_second: Option<Leaf>,
    /// With the same seed the same decisions are taken again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Leaf>,
    /// A name that tells it from the same fault of somebody else: `slow-payments/slow`.
    #[serde(rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<Leaf>,
    /// It ends when whoever watches over it is not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guarded: Option<Placed<bool>>,
}

/// Numbers of matching packets, flows or calls, counted from 1.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Window {
    /// The first that is hit; the 1st without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first: Option<Leaf>,
    /// The last that is hit; all that come without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<Leaf>,
}

/// `{}`
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NoParts {}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Corrupt {
    /// One bit of the payload is flipped, and the checksum is made valid again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub silent: bool,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Delay {
    /// How long: `100ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<Leaf>,
    /// One of these is picked for each packet, with weights: `[1ms, 2ms*3]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Placed<Vec<Leaf>>>,
    /// With `oneOf`, that is what was in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Leaf>,
    /// How far it goes to both sides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Leaf>,
    /// `uniform`, `normal`, `pareto` or `paretonormal`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Leaf>,
    /// The share of packets that keep the delay of the one before: `25%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation: Option<Leaf>,
    /// The name in the questions that are held, and nothing else is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Leaf>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct By {
    /// How much: `50ms`, `+1d` for a clock.
    pub by: Leaf,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Limit {
    /// `1mbit`, `500kbit`.
    pub rate: Leaf,
    /// How long a packet may wait for those before it: `50ms`; a second without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Leaf>,
    /// Each flow has the rate to itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub per_flow: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fail {
    /// System calls by name: `[read, pread64]`.
    pub calls: Placed<Vec<Leaf>>,
    /// Errnos, with weights: `[EIO, ENOSPC*3]`.
    pub with: Placed<Vec<Leaf>>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailDns {
    /// `NXDOMAIN`, `SERVFAIL`, `REFUSED` or `TIMEOUT`.
    pub with: Leaf,
    /// `*.example.com`.
    pub name: Leaf,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Slow {
    /// System calls by name: `[read, pread64]`.
    pub calls: Placed<Vec<Leaf>>,
    /// How much: `50ms`, `+1d` for a clock.
    pub by: Leaf,
    /// How far it goes to both sides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Leaf>,
}

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kill {
    /// System calls by name: `[read, pread64]`.
    pub calls: Placed<Vec<Leaf>>,
}

/// The destination or the source.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct End {
    /// Addresses and networks: `[10.0.0.0/8]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub networks: Vec<Leaf>,
    /// Pods of the same node: `[payments/db]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pods: Vec<Leaf>,
    /// Names of an experiment, without `@`: `[db]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Leaf>,
    /// Ports and ranges: `[80, 8000-8080]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Leaf>,
}
