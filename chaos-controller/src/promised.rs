//! Remembers which pods runs want that have no text of theirs yet, so that no two runs want the same.

use std::collections::BTreeMap;

/// Pods that runs want, by their UIDs.
#[derive(Debug, Default)]
pub struct Promised {
    /// How many runs want a pod.
    pods: BTreeMap<String, usize>,
    of_runs: BTreeMap<String, Vec<String>>,
}

impl Promised {
    /// Whether a run wants a pod.
    pub fn contains(&self, pod_uid: &str) -> bool {
        self.pods.contains_key(pod_uid)
    }

    /// Notes more pods that a run wants.
    pub fn add(&mut self, run_uid: &str, pods: impl IntoIterator<Item = String>) {
        let own = self.of_runs.entry(run_uid.to_owned()).or_default();
        for pod in pods {
            *self.pods.entry(pod.clone()).or_default() += 1;
            own.push(pod);
        }
    }

    /// Forgets what a run wanted.
    pub fn forget(&mut self, run_uid: &str) {
        for pod in self.of_runs.remove(run_uid).into_iter().flatten() {
            if let Some(count) = self.pods.get_mut(&pod) {
                *count -= 1;
                if *count == 0 {
                    self.pods.remove(&pod);
                }
            }
        }
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        let gone: Vec<String> =
            self.of_runs.keys().filter(|run_uid| !is_live(run_uid)).cloned().collect();
        gone.iter().for_each(|run_uid| self.forget(run_uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_wanted_as_long_as_a_run_wants_it() {
        let mut promised = Promised::default();
        promised.add("one", ["a".to_owned(), "b".to_owned(), "a".to_owned()]);
        promised.add("two", ["a".to_owned()]);
        promised.forget("one");
        assert_eq!((promised.contains("a"), promised.contains("b")), (true, false));
        promised.retain(|run| run == "one");
        assert!(!promised.contains("a") && promised.of_runs.is_empty());
    }
}
