//! Keeps what the API server has said to removals of pods until the watch has told it.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::pods::PodFacts;

/// What was refused is asked for again after this time.
const PAUSE: Duration = Duration::from_secs(2);

/// What the API server said.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The pod is being deleted, or is gone.
    Going,
    /// It stays. Why.
    Refused(String),
}

impl Answer {
    /// Of an answer to a request for a pod with a certain UID.
    pub fn of(answer: kube::Result<()>) -> Self {
        match answer {
            Ok(()) => Self::Going,
            Err(kube::Error::Api(status)) if status.code == 404 => Self::Going,
            Err(kube::Error::Api(status)) if status.code == 429 => {
                Self::Refused("a PodDisruptionBudget does not allow its eviction now".to_owned())
            }
            // Also 409: another pod has its name, as the watch will tell.
            Err(kube::Error::Api(status)) => Self::Refused(status.message.clone()),
            Err(error) => Self::Refused(error.to_string()),
        }
    }
}

/// The answers by the UIDs of pods.
#[derive(Default)]
pub struct Removals {
    answers: BTreeMap<String, (Answer, Instant)>,
}

impl Removals {
    /// Notes an answer.
    pub fn note(&mut self, uid: String, answer: Answer) {
        self.answers.insert(uid, (answer, Instant::now()));
    }

    /// Whether the API server is to be asked.
    pub fn is_due(&self, uid: &str) -> bool {
        self.answers.get(uid).is_none_or(|(_, at)| at.elapsed() >= PAUSE)
    }

    /// Marks the pods that are going, which the watch may not have told yet. Forgets those that are gone.
    pub fn apply(&mut self, pods: &mut [Arc<PodFacts>]) {
        if self.answers.is_empty() {
            return;
        }
        let mut before = std::mem::take(&mut self.answers);
        for pod in pods {
            let Some((answer, at)) = before.remove(&pod.uid) else { continue };
            if answer == Answer::Going {
                Arc::make_mut(pod).is_going = true;
            }
            self.answers.insert(pod.uid.clone(), (answer, at));
        }
    }

    /// Why pods were not removed, by their UID.
    pub fn refusals(&self) -> BTreeMap<String, String> {
        let refusal = |(uid, (answer, _)): (&String, &(Answer, Instant))| match answer {
            Answer::Refused(why) => Some((uid.clone(), why.clone())),
            Answer::Going => None,
        };
        self.answers.iter().filter_map(refusal).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(uid: &str) -> Arc<PodFacts> {
        let pod = json!({ "metadata": { "namespace": "shop", "name": uid, "uid": uid } });
        Arc::new(PodFacts::of(&Arc::new(serde_json::from_value(pod).unwrap())))
    }

    #[test]
    fn pods_that_are_going_count_as_gone_until_the_watch_tells() {
        let mut removals = Removals::default();
        removals.note("a".into(), Answer::Going);
        removals.note("b".into(), Answer::Refused("a budget".into()));
        removals.note("c".into(), Answer::Going);
        let mut pods = [pod("a"), pod("b")];
        removals.apply(&mut pods);
        assert_eq!(pods.each_ref().map(|pod| pod.is_going), [true, false]);
        assert_eq!(removals.refusals(), [("b".to_owned(), "a budget".to_owned())].into());
        assert!(!removals.is_due("b") && removals.is_due("c"));
    }
}
