//! Defines what sentences call `@NAME`: the other end of the traffic.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Labels;

/// What is at the other end of traffic: all of what is named here together, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.service) || has(self.pods) || has(self.dns) || has(self.cidr)")
        .message("a peer must have at least one of service, pods, dns and cidr"),
    validation = Rule::new("!has(self.__namespace__) || has(self.service) || has(self.pods)")
        .message("namespace must go with service or pods")
)]
pub struct Peer {
    /// A Service by its name: its ClusterIPs, and its endpoints that are ready, with the ports of both
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub service: Option<String>,
    /// Pods by their labels, with any port
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<Labels>,
    /// Where the Service and the pods are; the experiment's own namespace by default
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Names that the controller looks up again and again; every address that it has been told counts
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(
            length(min = 1, max = 253),
            regex(
                pattern = r"^[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?(\.[a-z0-9_]([-a-z0-9_]*[a-z0-9_])?)*\.?$"
            )
        )
    )]
    pub dns: Vec<String>,
    /// Addresses and networks, such as `10.0.0.0/8`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 43)))]
    pub cidr: Vec<String>,
}
