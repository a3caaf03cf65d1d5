//! Keeps pods as the API server does.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chaos_kube::{FAULTS, STATUS};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use super::{PodState, World};
use crate::{
    budgets::Budget,
    names::FIELD_MANAGER,
    reconcile::PodWrite,
    removal::{PodRemoval, Way},
};

impl World {
    pub fn add(&mut self, name: &str, node: &str) {
        self.made += 1;
        let pod = PodState {
            namespace: "shop".to_owned(),
            uid: format!("uid-{}", self.made),
            node: node.to_owned(),
            owner: None,
            created: self.now,
            ready: true,
            labels: BTreeMap::from([("app".to_owned(), "web".to_owned())]),
            faults: None,
            status: None,
        };
        self.pods.insert(name.to_owned(), pod);
    }

    pub fn move_to(&mut self, pod: &str, namespace: &str) {
        self.pods.get_mut(pod).unwrap().namespace = namespace.to_owned();
    }

    pub fn own(&mut self, pod: &str, owner: [&'static str; 3]) {
        self.pods.get_mut(pod).unwrap().owner = Some(owner);
    }

    /// Pods of `app=web` that serve.
    pub fn ready(&self) -> Vec<String> {
        let is_web = |pod: &PodState| pod.ready && pod.labels["app"] == "web";
        self.pods.iter().filter(|(_, pod)| is_web(pod)).map(|(name, _)| name.clone()).collect()
    }

    pub fn created(&self, pod: &str) -> Timestamp {
        self.pods[pod].created
    }

    pub fn remove(&mut self, pod: &str) {
        self.pods.remove(pod);
    }

    pub fn set_ready(&mut self, pod: &str, ready: bool) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.ready = ready;
        }
    }

    pub fn relabel(&mut self, pod: &str, app: &str) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.labels.insert("app".to_owned(), app.to_owned());
        }
    }

    /// As kubectl does it; an empty text takes the annotation away.
    pub fn annotate(&mut self, pod: &str, text: &str) {
        if let Some(pod) = self.pods.get_mut(pod) {
            pod.faults =
                (!text.is_empty()).then(|| (text.to_owned(), "kubectl-annotate".to_owned()));
        }
    }

    pub fn names(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// Pods that have a text of the controller.
    pub fn held(&self) -> Vec<String> {
        let ours = |pod: &PodState| {
            pod.faults.as_ref().is_some_and(|(_, manager)| manager == FIELD_MANAGER)
        };
        self.pods.iter().filter(|(_, pod)| ours(pod)).map(|(name, _)| name.clone()).collect()
    }

    /// Pods of whose faults an agent says that they are in force.
    pub fn broken(&self) -> Vec<String> {
        let is_armed =
            |pod: &PodState| pod.status.as_ref().is_some_and(|said| said["phase"] == "Armed");
        self.pods.iter().filter(|(_, pod)| is_armed(pod)).map(|(name, _)| name.clone()).collect()
    }

    pub fn nodes_of(&self, pods: &[String]) -> usize {
        let nodes = pods.iter().map(|pod| &self.pods[pod].node);
        nodes.collect::<BTreeSet<_>>().len()
    }

    pub fn text(&self, pod: &str) -> Option<String> {
        self.pods[pod].faults.as_ref().map(|(text, _)| text.clone())
    }

    /// As a controller of Kubernetes keeps the status of a PodDisruptionBudget.
    pub(super) fn budgets(&self, namespace: &str) -> Vec<Budget> {
        let Some(least) = self.min_available else { return Vec::new() };
        let serves = |pod: &&PodState| pod.namespace == namespace && pod.ready;
        let is_web = |pod: &&PodState| pod.labels.get("app").is_some_and(|app| app == "web");
        let healthy = self.pods.values().filter(serves).filter(is_web).count();
        let allowed = healthy.saturating_sub(least);
        let object = json!({ "metadata": { "namespace": namespace, "name": "web", "generation": 1 },
            "spec": { "selector": { "matchLabels": { "app": "web" } } },
            "status": { "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
                        "desiredHealthy": least, "expectedPods": healthy } });
        vec![Budget::of(&Arc::new(serde_json::from_value(object).unwrap()))]
    }

    /// As the API server does it: deletes the pod, if it is the one that was meant. An eviction has to be allowed.
    pub fn remove_by(&mut self, removal: &PodRemoval) {
        let is_meant = |pod: &PodState| pod.uid == removal.uid;
        if !self.pods.get(&removal.pod.name).is_some_and(is_meant) {
            return;
        }
        let budgets = self.budgets(&removal.pod.namespace);
        if removal.way == Way::Evict && budgets.iter().any(|budget| budget.allowed == 0) {
            return;
        }
        self.removed.push(removal.pod.name.clone());
        self.pods.remove(&removal.pod.name);
    }

    /// As server-side apply without force does it.
    pub fn write(&mut self, write: &PodWrite) {
        let Some(pod) = self.pods.get_mut(&write.pod.name).filter(|pod| pod.uid == write.uid)
        else {
            return;
        };
        if pod.faults.as_ref().is_some_and(|(_, manager)| manager != FIELD_MANAGER) {
            return;
        }
        self.writes += 1;
        pod.faults = write.text.clone().map(|text| (text, FIELD_MANAGER.to_owned()));
    }
}

impl PodState {
    pub(super) fn object(&self, name: &str) -> Pod {
        let mut annotations = BTreeMap::new();
        let mut managers = Vec::new();
        if let Some((text, manager)) = &self.faults {
            annotations.insert(FAULTS, text.clone());
            let owned = json!({ "f:metadata": { "f:annotations": { format!("f:{FAULTS}"): {} } } });
            managers
                .push(json!({ "manager": manager, "operation": "Apply", "subresource": "status",
                                    "fieldsV1": owned }));
        }
        if let Some(status) = &self.status {
            annotations.insert(STATUS, status.to_string());
        }
        let ready = if self.ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": { "namespace": self.namespace, "name": name, "uid": self.uid, "labels": self.labels,
                          "ownerReferences": self.owner.map(|owner| controlled(&owner).owner_references),
                          "annotations": annotations, "managedFields": managers,
                          "creationTimestamp": self.created.to_string() },
            "spec": { "nodeName": self.node, "containers": [{ "name": "main" }] },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] },
        }))
        .unwrap()
    }
}

/// The metadata of what is controlled by an owner.
pub(super) fn controlled([version, kind, name]: &[&str; 3]) -> ObjectMeta {
    let owner = json!({ "apiVersion": version, "kind": kind, "name": name, "uid": name, "controller": true });
    serde_json::from_value(json!({ "ownerReferences": [owner] })).unwrap()
}
