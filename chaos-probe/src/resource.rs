//! Says under which path the API server has objects of a kind.

use chaos_api::kinds::KubernetesProbe;
use serde_json::Value;

use crate::{
    account::{Account, checked},
    connection::Patience,
    trouble::Trouble,
};

/// Where objects of a kind are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// Such as `apps/v1`.
    pub version: String,
    /// Such as `deployments`.
    pub plural: String,
    pub is_namespaced: bool,
}

/// Kinds of Kubernetes itself, with their versions, plurals, and whether they are in namespaces. Secrets are not probed.
const KINDS: [(&str, &str, &str, bool); 20] = [
    ("ConfigMap", "v1", "configmaps", true),
    ("CronJob", "batch/v1", "cronjobs", true),
    ("DaemonSet", "apps/v1", "daemonsets", true),
    ("Deployment", "apps/v1", "deployments", true),
    ("EndpointSlice", "discovery.k8s.io/v1", "endpointslices", true),
    ("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers", true),
    ("Ingress", "networking.k8s.io/v1", "ingresses", true),
    ("Job", "batch/v1", "jobs", true),
    ("Lease", "coordination.k8s.io/v1", "leases", true),
    ("Namespace", "v1", "namespaces", false),
    ("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies", true),
    ("Node", "v1", "nodes", false),
    ("PersistentVolume", "v1", "persistentvolumes", false),
    ("PersistentVolumeClaim", "v1", "persistentvolumeclaims", true),
    ("Pod", "v1", "pods", true),
    ("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets", true),
    ("ReplicaSet", "apps/v1", "replicasets", true),
    ("Service", "v1", "services", true),
    ("ServiceAccount", "v1", "serviceaccounts", true),
    ("StatefulSet", "apps/v1", "statefulsets", true),
];

impl Resource {
    /// What is known of a kind without asking.
    pub fn known(probe: &KubernetesProbe) -> Option<Self> {
        let (_, version, plural, is_namespaced) = KINDS.iter().find(|(kind, version, ..)| {
            *kind == probe.kind
                && probe.api_version.as_deref().is_none_or(|asked| asked == *version)
        })?;
        let (version, plural) = ((*version).to_owned(), (*plural).to_owned());
        Some(Self { version, plural, is_namespaced: *is_namespaced })
    }

    /// What the API server says of a kind.
    pub async fn ask(
        account: &Account<'_>,
        probe: &KubernetesProbe,
        patience: Patience,
    ) -> Result<Self, Trouble> {
        let version = probe.api_version.as_deref().ok_or_else(|| {
            Trouble::Question(format!(
                "`{}` is no kind of Kubernetes itself; write its `apiVersion`",
                probe.kind
            ))
        })?;
        checked_version(version).map_err(Trouble::Question)?;
        let what = format!("the kinds of {version}");
        let (list, _room) = account.read(&base(version), &what, patience).await?;
        Self::in_list(version, &probe.kind, &list).ok_or_else(|| {
            Trouble::Question(format!(
                "{version} has no kind `{}`; check `kubectl api-resources`",
                probe.kind
            ))
        })
    }

    fn in_list(version: &str, kind: &str, list: &Value) -> Option<Self> {
        let resources = list["resources"].as_array()?;
        let found = resources.iter().find(|one| {
            // Parts of objects, such as `deployments/status`, have kinds, too.
            one["kind"] == kind && one["name"].as_str().is_some_and(|name| !name.contains('/'))
        })?;
        let plural = checked("resource", found["name"].as_str()?).ok()?.to_owned();
        Some(Self {
            version: version.to_owned(),
            plural,
            is_namespaced: found["namespaced"].as_bool()?,
        })
    }

    /// The path of all objects, in a namespace if they are in namespaces.
    pub fn path(&self, namespace: &str) -> String {
        let base = base(&self.version);
        if self.is_namespaced {
            format!("{base}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{base}/{}", self.plural)
        }
    }
}

fn base(version: &str) -> String {
    if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") }
}

/// Checks what is written as `apiVersion`.
pub fn checked_version(version: &str) -> Result<(), String> {
    let parts: Vec<&str> = version.split('/').collect();
    let is_name = |part: &&str| checked("apiVersion", part).is_ok();
    if (1..=2).contains(&parts.len()) && parts.iter().all(is_name) {
        return Ok(());
    }
    Err(format!("apiVersion: `{version}` is no version such as `apps/v1`"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(kind: &str, version: Option<&str>) -> KubernetesProbe {
        serde_json::from_value(json!({ "kind": kind, "apiVersion": version })).unwrap()
    }

    #[test]
    fn kinds_have_paths() {
        for (kind, version, expected) in [
            ("Pod", None, Some("/api/v1/namespaces/shop/pods")),
            ("Deployment", None, Some("/apis/apps/v1/namespaces/shop/deployments")),
            ("Deployment", Some("apps/v1"), Some("/apis/apps/v1/namespaces/shop/deployments")),
            ("Deployment", Some("shop.example/v1"), None),
            ("Node", None, Some("/api/v1/nodes")),
            ("Secret", None, None),
            ("Rollout", Some("argoproj.io/v1alpha1"), None),
        ] {
            let found =
                Resource::known(&probe(kind, version)).map(|resource| resource.path("shop"));
            assert_eq!(found.as_deref(), expected, "{kind}");
        }
    }

    #[test]
    fn other_kinds_are_found_in_what_the_server_lists() {
        let list = json!({ "resources": [
            { "name": "rollouts/status", "kind": "Rollout", "namespaced": true },
            { "name": "rollouts", "kind": "Rollout", "namespaced": true },
            { "name": "../pods", "kind": "Odd", "namespaced": true },
        ]});
        let found = Resource::in_list("argoproj.io/v1alpha1", "Rollout", &list).unwrap();
        assert_eq!(found.path("shop"), "/apis/argoproj.io/v1alpha1/namespaces/shop/rollouts");
        assert_eq!(Resource::in_list("argoproj.io/v1alpha1", "Odd", &list), None);
        assert_eq!(Resource::in_list("argoproj.io/v1alpha1", "Other", &list), None);
        for version in ["", "a/b/c", "../v1", "a//b", "v1?x"] {
            assert!(checked_version(version).is_err(), "{version}");
        }
    }
}
