//! The agent's answer on a pod.

use chaos_api::{Counts, Phase};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::clock::{Noted, Now};

/// More than this is not said: annotations of an object share 256 KiB.
const MAX_MESSAGES: usize = 16;
const MAX_MESSAGE_LENGTH: usize = 1024;

/// What became of a pod's faults as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// At least one fault is in the kernel; the messages name what is still waited for.
    Armed,
    /// Nothing is armed: the text, or one of its faults, was refused.
    Refused,
    /// Nothing is armed: every fault's time is up, or the faults were taken back.
    Ended,
    /// Nothing is armed yet.
    Waiting,
}

/// The value of the annotation [`super::names::STATUS`], as compact JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub phase: PodPhase,
    /// Of which text this speaks: [`digest`] of the annotation; missing when that is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<String>,
    /// When the first of the faults was first armed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    /// When the last of them ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
    /// Which start of the node every `began` counts from: the beginning of its boot id
    /// (`/proc/sys/kernel/random/boot_id`). Missing in statuses of version 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    /// [`Self::since`] by the boot clock, ns: within one boot this is what counts, as the wall clock
    /// may be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
    /// When the last of those ends that have an `until`; boot clock, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// In the order of the text.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultStatus>,
    /// So many calls of the pod at most were missed by the kernel's programs: neither failed nor counted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub missed: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// One fault: its clock and its ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultStatus {
    /// The canonical sentence.
    pub fault: String,
    pub phase: Phase,
    /// When it was first armed: its clock began then and is never set again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<MicroTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<MicroTime>,
    /// [`Self::since`] by the boot clock, ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began: Option<u64>,
    /// [`Self::until`] by the boot clock, ns, of a fault with an `until`: it is never computed anew, as the wall clock
    /// may be set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<u64>,
    /// What repeats its decisions, with `seed N` in the sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Since when the counts count, where that is later: the agent was started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_since: Option<MicroTime>,
    /// Likely reasons why nothing has matched it, after 10 s in force or at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<String>,
    /// The containers that it kills, by their ids: noted before that is done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub killed: Vec<String>,
    #[serde(flatten)]
    pub counts: Counts,
}

impl FaultStatus {
    /// A fault that was never armed.
    pub(super) fn new(fault: String) -> Self {
        Self {
            fault,
            phase: Phase::Waiting,
            since: None,
            until: None,
            began: None,
            ends: None,
            seed: None,
            counted_since: None,
            unmatched: None,
            killed: Vec::new(),
            counts: Counts::default(),
        }
    }
}

impl Status {
    /// Derives `since` and `until` from the faults, and cuts the messages.
    pub(super) fn new(
        phase: PodPhase,
        observed: Option<String>,
        faults: Vec<FaultStatus>,
        mut messages: Vec<String>,
    ) -> Self {
        // One more takes the room of saying that there is one.
        if messages.len() > MAX_MESSAGES + 1 {
            let more = messages.len() - MAX_MESSAGES;
            messages.truncate(MAX_MESSAGES);
            messages.push(format!("and {more} more"));
        }
        for message in &mut messages {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE_LENGTH));
        }
        let since = faults.iter().filter_map(|fault| fault.since.clone()).min();
        let until = faults.iter().filter_map(|fault| fault.until.clone()).max();
        let began = faults.iter().filter_map(|fault| fault.began).min();
        let ends = faults.iter().filter_map(|fault| fault.ends).max();
        let boot_id = began.and(Now::boot_id()).map(str::to_owned);
        Self { phase, observed, since, until, boot_id, began, ends, faults, missed: 0, messages }
    }

    /// The phase and the clock alone, for a pod that has no room for more. Whoever resumes from
    /// that takes the beginning of the first fault for that of all.
    pub(super) fn shortened(&self) -> Self {
        Self {
            phase: self.phase,
            observed: self.observed.clone(),
            since: self.since.clone(),
            until: self.until.clone(),
            boot_id: self.boot_id.clone(),
            began: self.began,
            ends: self.ends,
            faults: Vec::new(),
            missed: self.missed,
            messages: Vec::new(),
        }
    }

    /// What it notes of the clock of the pod as a whole.
    pub(super) fn noted(&self) -> Noted<'_> {
        Noted {
            since: self.since.as_ref().map(|since| since.0),
            until: self.until.as_ref().map(|until| until.0),
            boot_id: self.boot_id.as_deref(),
            began: self.began,
            ends: self.ends,
            has_ended: self.phase == PodPhase::Ended,
        }
    }

    /// What it notes of the clock of one of its faults.
    pub(super) fn noted_of(&self, fault: &FaultStatus) -> Noted<'_> {
        Noted {
            since: fault.since.as_ref().map(|since| since.0),
            until: fault.until.as_ref().map(|until| until.0),
            boot_id: self.boot_id.as_deref(),
            began: fault.began,
            ends: fault.ends,
            has_ended: fault.phase == Phase::Ended,
        }
    }

    /// Reads what an agent wrote; `None` when it is something else.
    pub(super) fn read(annotation: &str) -> Option<Self> {
        serde_json::from_str(annotation).ok()
    }
}

/// The first 16 digits of the SHA-256 of an annotation: `printf %s "$text" | sha256sum`.
pub fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Option<MicroTime> {
        Timestamp::from_second(second).ok().map(MicroTime)
    }

    fn fault() -> FaultStatus {
        FaultStatus {
            phase: Phase::Active,
            since: at(1_000),
            until: at(1_300),
            seed: Some(7),
            counts: Counts {
                matched: 3,
                injected: 1,
                shadowed: 0,
                lost: 0,
                spared: [("chance".to_owned(), 2)].into(),
            },
            ..FaultStatus::new("drop 10% egress".into())
        }
    }

    #[test]
    fn compact_json_and_back() {
        let status =
            Status::new(PodPhase::Armed, Some(digest("drop 10% egress")), vec![fault()], vec![]);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(
            json,
            concat!(
                r#"{"phase":"Armed","observed":"9c68551ec6d15fa7","#,
                r#""since":"1970-01-01T00:16:40.000000Z","until":"1970-01-01T00:21:40.000000Z","#,
                r#""faults":[{"fault":"drop 10% egress","phase":"active","#,
                r#""since":"1970-01-01T00:16:40.000000Z","until":"1970-01-01T00:21:40.000000Z","seed":7,"#,
                r#""matched":3,"injected":1,"shadowed":0,"spared":{"chance":2}}]}"#
            )
        );
        assert_eq!(Status::read(&json), Some(status));
        assert_eq!(Status::read("all is well"), None);
    }

    #[test]
    fn since_the_first_until_the_last() {
        let later = FaultStatus { since: at(1_100), until: at(1_200), ..fault() };
        let waiting = FaultStatus::new("drop ingress".into());
        let status = Status::new(PodPhase::Armed, None, vec![waiting, later, fault()], vec![]);
        assert_eq!((status.since, status.until), (at(1_000), at(1_300)));
    }

    #[test]
    fn messages_are_bounded() {
        let messages = vec!["ü".repeat(1_000); 20];
        let status = Status::new(PodPhase::Refused, None, vec![], messages);
        assert_eq!(status.messages.len(), MAX_MESSAGES + 1);
        assert_eq!(status.messages[MAX_MESSAGES], "and 4 more");
        assert!(status.messages.iter().all(|message| message.len() <= MAX_MESSAGE_LENGTH));
    }
}
