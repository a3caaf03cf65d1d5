//! Defines the lines of a report that are not about pods.

use chaos_probe::{Outcome, Sample};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{events::Happening, probes::cut};

/// What a probe has answered, or what has happened to the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    Sample(SampleRecord),
    Event(EventRecord),
}

/// An answer of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SampleRecord {
    pub at: Timestamp,
    pub probe: String,
    pub outcome: OutcomeWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    pub seen: String,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutcomeWord {
    Pass,
    Fail,
    Error,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    pub at: Timestamp,
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    pub message: String,
}

impl SampleRecord {
    pub fn of(probe: &str, sample: &Sample) -> Self {
        let outcome = match sample.outcome {
            Outcome::Pass => OutcomeWord::Pass,
            Outcome::Fail => OutcomeWord::Fail,
            Outcome::Error => OutcomeWord::Error,
        };
        let (at, value) = (sample.at, sample.value.filter(|value| value.is_finite()));
        Self { at, probe: probe.to_owned(), outcome, value, seen: cut(&sample.seen) }
    }
}

impl EventRecord {
    pub fn of(happening: &Happening, at: Timestamp) -> Self {
        let Happening { what, step, message, .. } = happening;
        Self { at, what: (*what).to_owned(), step: step.clone(), message: message.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_are_written_as_readers_expect_them() {
        let at: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let seen = "200, 231ms".to_owned();
        let sample = Sample { at, outcome: Outcome::Pass, value: Some(0.231), seen };
        let sample = Record::Sample(SampleRecord::of("checkout", &sample));
        assert_eq!(
            serde_json::to_value(&sample).unwrap(),
            json!({ "kind": "sample", "at": "2026-11-28T10:00:00Z", "probe": "checkout",
                    "outcome": "Pass", "value": 0.231, "seen": "200, 231ms" })
        );
        let step = Some("slow".to_owned());
        let happening =
            Happening { what: "StepStarted", is_warning: false, step, message: "it".to_owned() };
        let event = Record::Event(EventRecord::of(&happening, at));
        assert_eq!(
            serde_json::to_value(&event).unwrap(),
            json!({ "kind": "event", "at": "2026-11-28T10:00:00Z", "what": "StepStarted",
                    "step": "slow", "message": "it" })
        );
        for record in [sample, event] {
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
        }
    }
}
