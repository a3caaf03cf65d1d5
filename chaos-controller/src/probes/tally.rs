//! Counts the answers of a probe, into its part of the status.

use chaos_api::kinds::{Probe, ProbeState, ProbeStatus};
use chaos_probe::{Outcome, Sample};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// What was seen is cut at so many characters: a status has a bound.
const LONGEST: usize = 120;

/// When a question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before anything is broken.
    Before,
    /// From the beginning of the first step to the end of the last.
    During,
    /// When nothing is broken any more.
    After,
}

/// Counts one answer.
pub fn take(status: &mut ProbeStatus, probe: &Probe, stage: Stage, sample: &Sample) {
    let state = state(sample.outcome);
    let at = Some(Time(sample.at));
    if status.state != state {
        status.since = at.clone();
    }
    status.asked = at;
    status.state = state;
    status.checks = status.checks.saturating_add(1);
    status.last = cut(&sample.seen);
    status.value = sample.value.or(status.value);
    match sample.outcome {
        Outcome::Pass => {
            (status.failed_in_a_row, status.errors_in_a_row) = (0, 0);
            status.recovered |= stage == Stage::After;
        }
        Outcome::Fail => {
            status.failed = status.failed.saturating_add(1);
            status.failed_in_a_row = status.failed_in_a_row.saturating_add(1);
            status.errors_in_a_row = 0;
            status.worst.clone_from(&status.last);
            if stage == Stage::During && status.failed_in_a_row > probe.tolerate {
                status.broke = status.broke.saturating_add(1);
            }
        }
        // Nobody knows whether it failed: the failures before still count as in a row.
        Outcome::Error => {
            status.errors = status.errors.saturating_add(1);
            status.errors_in_a_row = status.errors_in_a_row.saturating_add(1);
            status.worst.clone_from(&status.last);
        }
    }
}

fn state(outcome: Outcome) -> ProbeState {
    match outcome {
        Outcome::Pass => ProbeState::Pass,
        Outcome::Fail => ProbeState::Fail,
        Outcome::Error => ProbeState::Error,
    }
}

/// The beginning of what was seen.
pub fn cut(seen: &str) -> String {
    seen.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn probe(tolerate: u32) -> Probe {
        let http = json!({ "url": "http://web.shop" });
        serde_json::from_value(json!({ "name": "web", "http": http, "tolerate": tolerate }))
            .unwrap()
    }

    fn sample(second: i64, outcome: Outcome, seen: &str) -> Sample {
        let at = jiff::Timestamp::from_second(second).unwrap();
        Sample { at, outcome, value: Some(second as f64), seen: seen.to_owned() }
    }

    fn after(tolerate: u32, stage: Stage, outcomes: &[Outcome]) -> ProbeStatus {
        let mut status = ProbeStatus { name: "web".into(), ..ProbeStatus::default() };
        for (second, outcome) in (0..).zip(outcomes) {
            take(&mut status, &probe(tolerate), stage, &sample(second, *outcome, "seen"));
        }
        status
    }

    use Outcome::{Error, Fail, Pass};

    #[test]
    fn failures_count_as_broken_beyond_those_that_are_forgiven() {
        let status = after(2, Stage::During, &[Fail, Fail, Pass, Fail, Fail, Fail, Fail]);
        assert_eq!((status.failed, status.failed_in_a_row, status.broke), (6, 4, 2));
        assert_eq!(after(2, Stage::Before, &[Fail; 5]).broke, 0);
        // An error between two failures forgives neither.
        let status = after(1, Stage::During, &[Fail, Error, Fail]);
        assert_eq!((status.broke, status.errors, status.errors_in_a_row), (1, 1, 0));
        assert_eq!(after(0, Stage::During, &[Pass, Error, Error]).errors_in_a_row, 2);
    }

    #[test]
    fn a_state_has_the_time_since_which_it_is_so() {
        let status = after(0, Stage::During, &[Fail, Pass, Pass, Pass]);
        let at = |second| Some(Time(jiff::Timestamp::from_second(second).unwrap()));
        assert_eq!((status.since, status.asked, status.state), (at(1), at(3), ProbeState::Pass));
        assert_eq!(status.value, Some(3.0));
        assert!(!status.recovered && after(0, Stage::After, &[Fail, Pass, Fail]).recovered);
    }

    #[test]
    fn what_was_seen_is_cut_and_the_worst_stays() {
        let mut status = ProbeStatus::default();
        let long = "é".repeat(500);
        take(&mut status, &probe(0), Stage::During, &sample(0, Fail, &long));
        assert_eq!(status.last.chars().count(), LONGEST);
        assert_eq!(status.worst, status.last);
        take(&mut status, &probe(0), Stage::During, &sample(1, Pass, "200, 3ms"));
        assert!(status.last == "200, 3ms" && status.worst.starts_with("éé"));
    }
}
