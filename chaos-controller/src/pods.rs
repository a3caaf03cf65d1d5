//! Reduces pods to what the controller goes by.

use std::{collections::BTreeMap, sync::Arc};

use chaos_kube::{FAULTS, PodName, STATUS, Status};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Container, Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry,
};
use kube::ResourceExt as _;

use crate::{
    names::FIELD_MANAGER,
    ownership::ControlledBy,
    text::{Holder, holder},
};

/// One pod.
#[derive(Debug, Clone)]
pub struct PodFacts {
    pub name: PodName,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub node: Option<String>,
    pub containers: Vec<String>,
    pub created: Timestamp,
    pub controlled_by: Option<ControlledBy>,
    /// It serves: its condition `Ready` is true.
    pub is_ready: bool,
    /// It is being deleted, or has ended.
    pub is_going: bool,
    pub annotation: Annotation,
    /// What its agent says.
    pub status: Option<Status>,
    /// For expressions.
    pub object: Arc<Pod>,
}

/// The fault annotation of a pod, by who wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Annotation {
    None,
    /// This controller, or one before it. `holder` is missing where the text was written by somebody in its name.
    Ours {
        text: String,
        holder: Option<Holder>,
    },
    /// Somebody else, by the name of the field manager.
    Theirs {
        manager: String,
    },
}

impl Annotation {
    /// The text, where it is the controller's.
    pub fn ours(&self) -> Option<&str> {
        match self {
            Self::Ours { text, .. } => Some(text),
            Self::None | Self::Theirs { .. } => None,
        }
    }
}

impl PodFacts {
    /// What there is to know of a pod.
    pub fn of(object: &Arc<Pod>) -> Self {
        let pod: &Pod = object;
        let spec = pod.spec.as_ref();
        let status = pod.status.as_ref();
        let phase = status.and_then(|status| status.phase.as_deref());
        let conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ready = conditions.filter(|condition| condition.type_ == "Ready");
        let said = pod.annotations().get(STATUS);
        Self {
            name: PodName { namespace: pod.namespace().unwrap_or_default(), name: pod.name_any() },
            uid: pod.uid().unwrap_or_default(),
            labels: pod.labels().clone(),
            node: spec.and_then(|spec| spec.node_name.clone()),
            containers: spec.iter().flat_map(|spec| names(spec)).collect(),
            created: pod.creation_timestamp().map_or(Timestamp::MIN, |time| time.0),
            controlled_by: ControlledBy::of(&pod.metadata),
            is_ready: ready.any(|condition| condition.status == "True"),
            is_going: pod.metadata.deletion_timestamp.is_some()
                || matches!(phase, Some("Succeeded" | "Failed")),
            annotation: annotation(pod),
            status: said.and_then(|text| serde_json::from_str(text).ok()),
            object: object.clone(),
        }
    }

    /// The run and the step whose text is on it.
    pub fn holder(&self) -> Option<&Holder> {
        match &self.annotation {
            Annotation::Ours { holder, .. } => holder.as_ref(),
            Annotation::None | Annotation::Theirs { .. } => None,
        }
    }

    /// Whether its text is that of a step of a run.
    pub fn is_held_by(&self, run_uid: &str) -> bool {
        self.holder().is_some_and(|holder| holder.run_uid == run_uid)
    }
}

/// Keeps of a pod what the controller, or an expression, looks at: there may be thousands.
pub fn slim(pod: &mut Pod) {
    let managers = pod.metadata.managed_fields.take().unwrap_or_default();
    pod.metadata.managed_fields = Some(managers.into_iter().filter(owns_faults).collect());
    pod.metadata.annotations.iter_mut().for_each(|annotations| {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    });
    if let Some(spec) = pod.spec.take() {
        let containers = |all: Vec<Container>| all.into_iter().map(slim_container).collect();
        pod.spec = Some(PodSpec {
            node_name: spec.node_name,
            containers: containers(spec.containers),
            init_containers: spec.init_containers.map(containers),
            host_network: spec.host_network,
            priority_class_name: spec.priority_class_name,
            service_account_name: spec.service_account_name,
            ..PodSpec::default()
        });
    }
}

fn slim_container(container: Container) -> Container {
    Container { name: container.name, image: container.image, ..Container::default() }
}

fn names(spec: &PodSpec) -> impl Iterator<Item = String> {
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.map(|container| container.name.clone())
}

fn annotation(pod: &Pod) -> Annotation {
    let Some(text) = pod.annotations().get(FAULTS) else {
        return Annotation::None;
    };
    let owners: Vec<&ManagedFieldsEntry> =
        pod.managed_fields().iter().filter(|entry| owns_faults(entry)).collect();
    let theirs = |manager: Option<&str>| Annotation::Theirs {
        manager: manager.unwrap_or("somebody").to_owned(),
    };
    match owners.iter().find(|entry| !is_applied(entry)) {
        Some(other) => theirs(other.manager.as_deref()),
        None if owners.is_empty() => theirs(None),
        None => Annotation::Ours { text: text.clone(), holder: holder(text) },
    }
}

/// Whether the controller wrote it. It applies; whoever writes in its name in another way is somebody else.
fn is_applied(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() == Some(FIELD_MANAGER)
        && entry.operation.as_deref() == Some("Apply")
        && entry.subresource.as_deref() == Some("status")
}

/// Whether it is about the fault annotation.
fn owns_faults(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let annotations = fields.and_then(|fields| fields.pointer("/f:metadata/f:annotations"));
    annotations.is_some_and(|annotations| annotations.get(format!("f:{FAULTS}")).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::text::head;

    fn pod(managers: &[&str], text: &str) -> PodFacts {
        let owned = json!({ "f:metadata": { "f:annotations": { format!("f:{FAULTS}"): {} } } });
        let entries: Vec<Value> = managers
            .iter()
            .map(|manager| {
                json!({ "manager": manager, "operation": "Apply", "subresource": "status",
                        "fieldsType": "FieldsV1", "fieldsV1": owned })
            })
            .chain([json!({ "manager": "kubelet", "fieldsV1": { "f:status": {} } })])
            .collect();
        let mut pod: Pod = serde_json::from_value(json!({
            "metadata": { "namespace": "shop", "name": "web-0", "uid": "1",
                          "annotations": { FAULTS: text }, "managedFields": entries },
            "spec": { "nodeName": "node-a", "volumes": [{ "name": "data" }],
                      "containers": [{ "name": "main", "command": ["sleep"] }] },
        }))
        .unwrap();
        slim(&mut pod);
        assert_eq!(pod.managed_fields().len(), managers.len());
        PodFacts::of(&Arc::new(pod))
    }

    #[test]
    fn an_annotation_belongs_to_whoever_wrote_it() {
        let holder = Holder { run_uid: "6d1c".into(), step: "slow".into() };
        let text = format!("{}\ndrop", head("shop", "run-1", &holder));
        let ours = pod(&[FIELD_MANAGER], &text);
        assert_eq!(ours.holder(), Some(&holder));
        assert!(ours.is_held_by("6d1c") && !ours.is_held_by("6d1d"));
        for managers in [&["kubectl-annotate"][..], &[FIELD_MANAGER, "kubectl-annotate"]] {
            let theirs = Annotation::Theirs { manager: "kubectl-annotate".into() };
            assert_eq!(pod(managers, &text).annotation, theirs);
        }
        assert_eq!(pod(&[], "drop").annotation, Annotation::Theirs { manager: "somebody".into() });
        let written_by = |change: fn(&mut ManagedFieldsEntry)| {
            let mut pod = ours.object.as_ref().clone();
            change(&mut pod.metadata.managed_fields.as_mut().unwrap()[0]);
            PodFacts::of(&Arc::new(pod)).annotation
        };
        let theirs = Annotation::Theirs { manager: FIELD_MANAGER.into() };
        assert_eq!(written_by(|entry| entry.operation = Some("Update".to_owned())), theirs);
        assert_eq!(written_by(|entry| entry.subresource = None), theirs);
        let nameless = Annotation::Theirs { manager: "somebody".into() };
        assert_eq!(written_by(|entry| entry.manager = None), nameless);
        let forged = pod(&[FIELD_MANAGER], "drop");
        assert_eq!(forged.annotation, Annotation::Ours { text: "drop".into(), holder: None });
    }

    #[test]
    fn what_nobody_looks_at_is_not_kept() {
        let pod = pod(&[], "drop");
        let spec = pod.object.spec.as_ref().unwrap();
        assert_eq!((spec.volumes.as_ref(), spec.containers[0].command.as_ref()), (None, None));
        assert_eq!(
            (pod.node.as_deref(), &pod.containers[..]),
            (Some("node-a"), &["main".to_owned()][..])
        );
    }
}
