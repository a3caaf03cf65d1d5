//! Reads what a namespace allows, from the annotations of whoever may change it.

use std::{collections::BTreeSet, time::Duration};

use chaos_api::AllowedVerbs;
use chaos_kube::ALLOW_VERBS;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::{ResourceExt as _, core::PartialObjectMeta};

use crate::{
    ceilings::{CeilingError, Ceilings},
    removal::{Way, allowed_ways},
};

/// What a namespace allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed {
    pub verbs: AllowedVerbs,
    /// How its pods may be removed.
    pub removals: BTreeSet<Way>,
    /// What is allowed at most; or why that cannot be read.
    pub ceilings: Result<Ceilings, CeilingError>,
}

/// Says that a namespace does not allow what it calls so in its annotation, and how it would.
pub fn not_allowed(namespace: &str, words: &str) -> String {
    format!(
        "namespace {namespace} does not allow `{words}`; annotate it, such as {ALLOW_VERBS}='default, {words}'"
    )
}

impl Default for Allowed {
    fn default() -> Self {
        Self {
            verbs: AllowedVerbs::default(),
            removals: BTreeSet::new(),
            ceilings: Ok(Ceilings::default()),
        }
    }
}

impl Allowed {
    /// What the annotations of a namespace say.
    pub fn read(namespace: &PartialObjectMeta<Namespace>) -> Self {
        let list = namespace.annotations().get(ALLOW_VERBS);
        Self {
            verbs: list.map_or_else(AllowedVerbs::default, |list| AllowedVerbs::read_known(list)),
            removals: list.map_or_else(BTreeSet::new, |list| allowed_ways(list)),
            ceilings: Ceilings::read(namespace.annotations()),
        }
    }

    /// Why nothing that takes so long may be done, if so.
    pub fn too_long(&self, lasting: Duration) -> Option<String> {
        match &self.ceilings {
            Ok(ceilings) => ceilings.too_long(lasting),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Why nothing may be done at a moment, if so.
    pub fn closed(&self, now: Timestamp) -> Option<String> {
        self.ceilings.as_ref().ok()?.closed(now)
    }
}
