//! Keeps what was written until the watch has told it, so that no decision goes by what was there before.

use std::{collections::BTreeMap, sync::Arc};

use kube::{Resource, ResourceExt as _};

/// Objects as the API server answered, by their UID.
pub struct Fresh<K> {
    written: BTreeMap<String, Arc<K>>,
}

impl<K> Default for Fresh<K> {
    fn default() -> Self {
        Self { written: BTreeMap::new() }
    }
}

impl<K: Resource> Fresh<K> {
    /// The answer to a write.
    pub fn put(&mut self, object: K) {
        self.written.insert(object.uid().unwrap_or_default(), Arc::new(object));
    }

    /// The newer of what the watch has told and what was answered. Forgets what is gone.
    pub fn newest(&mut self, watched: Vec<Arc<K>>) -> Vec<Arc<K>> {
        let mut before = std::mem::take(&mut self.written);
        let newer = |object: Arc<K>| {
            let uid = object.uid().unwrap_or_default();
            match before.remove(&uid) {
                Some(written) if version(&*written) > version(&*object) => {
                    self.written.insert(uid, written.clone());
                    written
                }
                Some(_) | None => object,
            }
        };
        watched.into_iter().map(newer).collect()
    }
}

/// Versions of one kind can be compared, from Kubernetes 1.35 on by promise, before by how they are made.
fn version(object: &impl Resource) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(uid: &str, version: &str) -> Pod {
        let metadata = json!({ "uid": uid, "resourceVersion": version });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn what_was_written_counts_until_the_watch_has_told_it() {
        let mut fresh = Fresh::default();
        let watched = |versions: &[(&str, &str)]| -> Vec<Arc<Pod>> {
            versions.iter().map(|(uid, version)| Arc::new(pod(uid, version))).collect()
        };
        fresh.put(pod("a", "10"));
        fresh.put(pod("gone", "11"));
        let mut versions = |told: &[(&str, &str)]| -> Vec<String> {
            fresh.newest(watched(told)).iter().filter_map(|pod| pod.resource_version()).collect()
        };
        assert_eq!(versions(&[("a", "9"), ("b", "9")]), ["10", "9"]);
        assert_eq!(versions(&[("a", "9")]), ["10"]);
        assert_eq!(versions(&[("a", "12")]), ["12"]);
        assert_eq!(versions(&[("a", "9"), ("gone", "1")]), ["9", "1"]);
    }
}
