//! Tells which workload a pod belongs to, by the owner references that Kubernetes keeps.

use std::collections::BTreeMap;

use chaos_api::kinds::Owner;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// What controls an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlledBy {
    pub group: String,
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// What controls each ReplicaSet and each Job, by its UID: these stand between workloads and pods.
pub type Between = BTreeMap<String, ControlledBy>;

impl ControlledBy {
    /// As the metadata of an object says. Owners that only wait for its end do not count.
    pub fn of(metadata: &ObjectMeta) -> Option<Self> {
        let mut owners = metadata.owner_references.iter().flatten();
        let owner = owners.find(|owner| owner.controller == Some(true))?;
        let (group, _) = owner.api_version.split_once('/').unwrap_or_default();
        Some(Self {
            group: group.to_owned(),
            kind: owner.kind.clone(),
            name: owner.name.clone(),
            uid: owner.uid.clone(),
        })
    }

    fn is(&self, owner: &Owner) -> bool {
        (self.group.as_str(), self.kind.as_str()) == owner.kind.group_and_kind()
            && self.name == owner.name
    }
}

/// Whether what controls a pod is a workload, or is controlled by it. Namespaces need no look: an owner is in the
/// namespace of what it owns.
pub fn belongs(pod: Option<&ControlledBy>, owner: &Owner, between: &Between) -> bool {
    pod.is_some_and(|direct| {
        direct.is(owner) || between.get(&direct.uid).is_some_and(|above| above.is(owner))
    })
}

/// Keeps of a ReplicaSet or a Job what is looked at: there may be thousands.
pub fn slim(metadata: &mut ObjectMeta) {
    *metadata = ObjectMeta {
        name: metadata.name.take(),
        namespace: metadata.namespace.take(),
        uid: metadata.uid.take(),
        resource_version: metadata.resource_version.take(),
        owner_references: metadata.owner_references.take(),
        ..ObjectMeta::default()
    };
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn controlled(version: &str, kind: &str, name: &str, controls: bool) -> Option<ControlledBy> {
        let owner: Value = json!({ "apiVersion": version, "kind": kind, "name": name, "uid": format!("uid-{name}"),
                                   "controller": controls });
        let metadata = json!({ "name": "it", "labels": { "a": "b" }, "ownerReferences": [owner] });
        let mut metadata = serde_json::from_value(metadata).unwrap();
        slim(&mut metadata);
        assert_eq!(metadata.labels, None);
        ControlledBy::of(&metadata)
    }

    #[test]
    fn pods_belong_to_what_controls_them_directly_or_through_one_between() {
        let between: Between = [
            ("uid-web-6f", controlled("apps/v1", "Deployment", "web", true)),
            ("uid-nightly-1", controlled("batch/v1", "CronJob", "nightly", true)),
            ("uid-canary-1", controlled("argoproj.io/v1alpha1", "Deployment", "web", true)),
        ]
        .into_iter()
        .filter_map(|(uid, by)| Some((uid.to_owned(), by?)))
        .collect();
        for (pod, kind, name, expected) in [
            (controlled("apps/v1", "ReplicaSet", "web-6f", true), "Deployment", "web", true),
            (controlled("apps/v1", "ReplicaSet", "web-6f", true), "ReplicaSet", "web-6f", true),
            (controlled("apps/v1", "ReplicaSet", "web-6f", true), "Deployment", "we", false),
            (controlled("apps/v1", "ReplicaSet", "web-6f", true), "StatefulSet", "web", false),
            (controlled("apps/v1", "ReplicaSet", "web-6f", false), "Deployment", "web", false),
            (controlled("apps/v1", "ReplicaSet", "canary-1", true), "Deployment", "web", false),
            (controlled("batch/v1", "Job", "nightly-1", true), "CronJob", "nightly", true),
            (controlled("batch/v1", "Job", "nightly-1", true), "Job", "nightly-1", true),
            (controlled("apps/v1", "StatefulSet", "db", true), "StatefulSet", "db", true),
            (controlled("apps/v1", "DaemonSet", "db", true), "DaemonSet", "db", true),
            (None, "Deployment", "web", false),
        ] {
            let owner = serde_json::from_value(json!({ "kind": kind, "name": name })).unwrap();
            assert_eq!(belongs(pod.as_ref(), &owner, &between), expected, "{pod:?} {kind}/{name}");
        }
    }
}
