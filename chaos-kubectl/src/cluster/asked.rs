//! Words a request: what was to be done with which objects, and who may do that.

use std::fmt;

/// What a request was about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// As Kubernetes' rights have it: `get`, `list`, `create`.
    pub verb: &'static str,
    pub resource: Resource,
    pub name: Option<String>,
    pub namespace: Option<String>,
}

/// Kinds of objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    Runs,
    Experiments,
    Pods,
    Namespaces,
    Nodes,
    Leases,
    Deployments,
    StatefulSets,
    DaemonSets,
    ReplicaSets,
    Definitions,
    Policies,
    Reviews,
    ConfigMaps,
    Budgets,
}

impl Resource {
    /// The API group, empty for the core.
    pub fn group(self) -> &'static str {
        match self {
            Self::Runs | Self::Experiments => "chaos-agent.dev",
            Self::Pods | Self::Namespaces | Self::Nodes | Self::ConfigMaps => "",
            Self::Budgets => "policy",
            Self::Leases => "coordination.k8s.io",
            Self::Deployments | Self::StatefulSets | Self::DaemonSets | Self::ReplicaSets => "apps",
            Self::Definitions => "apiextensions.k8s.io",
            Self::Policies => "admissionregistration.k8s.io",
            Self::Reviews => "authorization.k8s.io",
        }
    }

    /// As in the path of a request.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Experiments => "experiments",
            Self::Pods => "pods",
            Self::Namespaces => "namespaces",
            Self::Nodes => "nodes",
            Self::Leases => "leases",
            Self::Deployments => "deployments",
            Self::StatefulSets => "statefulsets",
            Self::DaemonSets => "daemonsets",
            Self::ReplicaSets => "replicasets",
            Self::Definitions => "customresourcedefinitions",
            Self::Policies => "validatingadmissionpolicies",
            Self::Reviews => "selfsubjectaccessreviews",
            Self::ConfigMaps => "configmaps",
            Self::Budgets => "poddisruptionbudgets",
        }
    }

    /// Which role has the right to do something with it.
    pub fn role(self, verb: &str) -> &'static str {
        let reads = matches!(verb, "get" | "list" | "watch");
        match self {
            Self::Runs if !reads => "the ClusterRole chaos-runner has it",
            Self::Runs | Self::Experiments if reads => {
                "the ClusterRoles chaos-viewer and chaos-runner have it, and so have view and edit"
            }
            Self::Runs | Self::Experiments => "the ClusterRoles chaos-author and edit have it",
            Self::Leases if !reads => "the Role chaos-lever in the namespace of the agents has it",
            Self::Leases => "the Roles chaos-doctor and chaos-lever have it",
            Self::ConfigMaps => "the ClusterRole chaos-reporter has it, and so has view",
            Self::Budgets => {
                "the ClusterRoles chaos-viewer and chaos-runner have it, and so has view"
            }
            Self::Pods
            | Self::Deployments
            | Self::StatefulSets
            | Self::DaemonSets
            | Self::ReplicaSets => "the ClusterRole view has it",
            Self::Namespaces | Self::Nodes | Self::Policies => {
                "the ClusterRole chaos-doctor has it"
            }
            Self::Definitions => "every user has it by the ClusterRole system:discovery",
            Self::Reviews => "every user has it by the ClusterRole system:basic-user",
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group() {
            "" => f.write_str(self.plural()),
            group => write!(f, "{}.{group}", self.plural()),
        }
    }
}

impl Asked {
    /// A request about one object, or about a new one.
    pub fn to(verb: &'static str, resource: Resource, name: &str, namespace: &str) -> Self {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self { verb, resource, name: some(name), namespace: some(namespace) }
    }

    /// A request about all objects of a namespace; of the cluster, where that is empty.
    pub fn list(resource: Resource, namespace: &str) -> Self {
        Self::to("list", resource, "", namespace)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if let Some(name) = &self.name {
            write!(f, " {name}")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace {namespace}"),
            None => Ok(()),
        }
    }
}
