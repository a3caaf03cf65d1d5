//! Keeps what was read of pods until they change: thousands are looked at each second, and few of them have changed.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::Pod;

use crate::pods::PodFacts;

/// What was read of pods, by their UID.
#[derive(Default)]
pub struct Seen {
    facts: BTreeMap<String, Arc<PodFacts>>,
}

impl Seen {
    /// What there is to know of these pods. Forgets all others.
    pub fn facts(&mut self, pods: &[Arc<Pod>]) -> Vec<Arc<PodFacts>> {
        let mut before = std::mem::take(&mut self.facts);
        let of = |pod: &Arc<Pod>| {
            let uid = pod.metadata.uid.clone().unwrap_or_default();
            let version = &pod.metadata.resource_version;
            let is_same =
                |facts: &Arc<PodFacts>| facts.object.metadata.resource_version == *version;
            let known = before.remove(&uid).filter(|facts| version.is_some() && is_same(facts));
            let facts = known.unwrap_or_else(|| Arc::new(PodFacts::of(pod)));
            self.facts.insert(uid, facts.clone());
            facts
        };
        pods.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, version: &str) -> Arc<Pod> {
        let metadata = json!({ "uid": uid, "name": version, "resourceVersion": version });
        Arc::new(serde_json::from_value(json!({ "metadata": metadata })).unwrap())
    }

    #[test]
    fn a_pod_is_read_again_when_it_has_changed_and_forgotten_when_it_is_gone() {
        let mut seen = Seen::default();
        let first = seen.facts(&[pod("a", "1"), pod("b", "1")]);
        let second = seen.facts(&[pod("a", "1"), pod("b", "2")]);
        assert!(Arc::ptr_eq(&first[0], &second[0]));
        assert_eq!((first[1].name.name.as_str(), second[1].name.name.as_str()), ("1", "2"));
        seen.facts(&[]);
        assert_eq!(seen.facts.len(), 0);
    }
}
