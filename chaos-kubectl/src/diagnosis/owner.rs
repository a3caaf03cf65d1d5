//! Finds out who wrote the fault annotation of a pod, by its `managedFields`.

use chaos_kube::FAULTS;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry};
use kube::ResourceExt as _;

/// Who wrote it, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The name of the program, as it calls itself.
    pub manager: String,
    pub at: Option<Timestamp>,
}

/// Everybody who owns the fault annotation.
pub fn owners(pod: &Pod) -> Vec<Owner> {
    let owns = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let annotations = fields.and_then(|fields| fields.pointer("/f:metadata/f:annotations"));
        annotations.is_some_and(|annotations| annotations.get(format!("f:{FAULTS}")).is_some())
    };
    let owner = |entry: &ManagedFieldsEntry| Owner {
        manager: entry.manager.clone().unwrap_or_else(|| "somebody".to_owned()),
        at: entry.time.as_ref().map(|time| time.0),
    };
    pod.managed_fields().iter().filter(owns).map(owner).collect()
}
