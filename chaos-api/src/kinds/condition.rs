//! Defines the condition of an object, as `kubectl wait --for=condition=TYPE` reads it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is said of an object in one respect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One word in CamelCase.
    pub reason: String,
    pub message: String,
    /// When `status` became what it is.
    pub last_transition_time: Time,
}

impl Condition {
    /// Says it among `conditions`. The time of the transition stays while the status does.
    pub fn set(
        conditions: &mut Vec<Self>,
        type_: &str,
        status: bool,
        reason: &str,
        message: &str,
        now: Time,
    ) {
        let status = if status { "True" } else { "False" };
        let new = Self {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: now,
        };
        match conditions.iter_mut().find(|condition| condition.type_ == type_) {
            Some(before) if before.status == new.status => {
                *before = Self { last_transition_time: before.last_transition_time.clone(), ..new };
            }
            Some(before) => *before = new,
            None => conditions.push(new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_has_the_time_at_which_the_status_changed() {
        let at = |seconds: i64| -> Time {
            serde_json::from_value(serde_json::json!(format!("2026-11-28T10:14:{seconds:02}Z")))
                .unwrap()
        };
        let mut conditions = Vec::new();
        Condition::set(&mut conditions, "Armed", false, "Waiting", "1 of 2", at(1));
        Condition::set(&mut conditions, "Armed", false, "Waiting", "none of 2", at(2));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert_eq!(conditions[0].message, "none of 2");
        Condition::set(&mut conditions, "Armed", true, "All", "2 of 2", at(3));
        assert_eq!((conditions.len(), &conditions[0].last_transition_time), (1, &at(3)));
    }
}
