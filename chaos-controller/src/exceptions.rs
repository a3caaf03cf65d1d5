//! Groups what went otherwise by what is said about it, so that thousands of pods fit into a status.

use std::collections::BTreeMap;

use chaos_api::kinds::ExceptionStatus;
use chaos_kube::PodName;

use crate::obeyed::is_obeyed;

/// Groups that a status has at most.
const MOST: usize = 50;

/// In bytes.
const LONGEST_MESSAGE: usize = 160;

/// Messages with how many pods each is about, and one of these.
#[derive(Debug, Default)]
pub struct Exceptions {
    groups: BTreeMap<String, (u32, String)>,
}

impl Exceptions {
    /// Says something of a pod.
    pub fn add(&mut self, message: impl Into<String>, pod: &PodName) {
        // Whoever may write on pods chooses some of these words, and they are shown on terminals.
        let message: String = message.into();
        let message = message.chars().map(|c| if is_obeyed(c) { '\u{fffd}' } else { c }).collect();
        let group = self.groups.entry(message).or_insert_with(|| (0, pod.to_string()));
        group.0 += 1;
    }

    /// Adds what others say.
    pub fn take(&mut self, others: Self) {
        for (message, (count, example)) in others.groups {
            self.groups.entry(message).or_insert_with(|| (0, example)).0 += count;
        }
    }

    /// The most frequent first.
    pub fn into_status(self) -> Vec<ExceptionStatus> {
        let mut all: Vec<ExceptionStatus> = self
            .groups
            .into_iter()
            .map(|(mut message, (count, example))| {
                message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
                ExceptionStatus { count, message, example }
            })
            .collect();
        all.sort_by(|one, other| other.count.cmp(&one.count).then(one.message.cmp(&other.message)));
        if all.len() > MOST {
            let rest = all.split_off(MOST - 1);
            all.push(ExceptionStatus {
                count: rest.iter().map(|exception| exception.count).sum(),
                message: format!("{} other messages", rest.len()),
                example: rest[0].example.clone(),
            });
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(number: u32) -> PodName {
        PodName { namespace: "shop".into(), name: format!("web-{number}") }
    }

    #[test]
    fn equal_messages_are_one_group() {
        let mut exceptions = Exceptions::default();
        for number in 0..1000 {
            exceptions.add(if number == 7 { "taken" } else { "no agent" }, &pod(number));
        }
        let status = exceptions.into_status();
        let told: Vec<_> = status
            .iter()
            .map(|one| (one.count, one.message.as_str(), one.example.as_str()))
            .collect();
        assert_eq!(told, [(999, "no agent", "shop/web-0"), (1, "taken", "shop/web-7")]);
    }

    #[test]
    fn many_and_long_messages_have_a_bound() {
        let mut exceptions = Exceptions::default();
        for number in 0..1000 {
            exceptions.add(format!("{number}{}", "é".repeat(500)), &pod(number));
        }
        let status = exceptions.into_status();
        assert_eq!((status.len(), status[MOST - 1].count), (MOST, 951));
        assert!(serde_json::to_string(&status).unwrap().len() < 12_500);
    }
}
