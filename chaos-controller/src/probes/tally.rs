//! Counts the answers of a probe, into its part of the status.

use chaos_api::kinds::{During, ProbeState, ProbeStatus};
use chaos_probe::{Outcome, Sample};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::Probing;

/// What was seen is cut at so many characters: a status has a bound.
const LONGEST: usize = 120;

/// When a question was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before the first step.
    Before,
    /// While steps wait and check, and nothing was broken yet.
    Unbroken,
    /// From the beginning of the first step that breaks pods to the end of the last step.
    During,
    /// When nothing is broken any more.
    After,
}

/// Counts one answer.
pub fn take(status: &mut ProbeStatus, probing: &Probing, stage: Stage, sample: &Sample) {
    let state = state(sample.outcome);
    // As it is written: a status without news must be equal to the one that is there.
    let at = Some(Time(whole_seconds(sample.at)));
    if status.state != state || is_gap(status, probing, sample.at) {
        status.since = at.clone();
    }
    if stage == Stage::During && sample.outcome != Outcome::Error {
        status.while_broken = status.while_broken.saturating_add(1);
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
            let probe = &probing.probe;
            if counts(probe.during, stage) && status.failed_in_a_row > probe.tolerate {
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

/// Whether a failure speaks of what is done to pods. A step that waits proves nothing of what must break.
fn counts(during: During, stage: Stage) -> bool {
    match stage {
        Stage::Before | Stage::After => false,
        Stage::Unbroken => match during {
            During::Halt | During::Record => true,
            During::MustBreak => false,
        },
        Stage::During => true,
    }
}

/// Whether nobody knows what was between the last answer and this one.
fn is_gap(status: &ProbeStatus, probing: &Probing, at: Timestamp) -> bool {
    let longest = 2 * probing.every + probing.timeout;
    let longest = SignedDuration::try_from(longest).unwrap_or(SignedDuration::MAX);
    status.asked.as_ref().is_some_and(|asked| at.duration_since(asked.0) > longest)
}

fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
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

    fn probing(tolerate: u32, during: &str) -> Probing {
        let http = json!({ "url": "http://web.shop" });
        let probe = json!({ "name": "web", "http": http, "tolerate": tolerate, "during": during });
        let second = std::time::Duration::from_secs(1);
        let probe = serde_json::from_value(probe).unwrap();
        Probing { probe, every: second, recover: second, timeout: 3 * second }
    }

    fn sample(second: i64, outcome: Outcome, seen: &str) -> Sample {
        let at = Timestamp::from_second(second).unwrap();
        Sample { at, outcome, value: Some(second as f64), seen: seen.to_owned() }
    }

    fn after(tolerate: u32, stage: Stage, outcomes: &[Outcome]) -> ProbeStatus {
        let mut status = ProbeStatus { name: "web".into(), ..ProbeStatus::default() };
        for (second, outcome) in (0..).zip(outcomes) {
            let sample = sample(second, *outcome, "seen");
            take(&mut status, &probing(tolerate, "Halt"), stage, &sample);
        }
        status
    }

    use Outcome::{Error, Fail, Pass};

    #[test]
    fn failures_count_as_broken_beyond_those_that_are_forgiven() {
        let status = after(2, Stage::During, &[Fail, Fail, Pass, Fail, Fail, Fail, Fail]);
        assert_eq!((status.failed, status.failed_in_a_row, status.broke), (6, 4, 2));
        assert_eq!(after(2, Stage::Before, &[Fail; 5]).broke, 0);
        // While a step only waits, whatever must hold must, and what must break is not proven.
        for (during, broke) in [("Halt", 1), ("Record", 1), ("MustBreak", 0)] {
            let mut status = ProbeStatus::default();
            take(&mut status, &probing(0, during), Stage::Unbroken, &sample(0, Fail, "500"));
            assert_eq!((status.broke, status.while_broken), (broke, 0), "{during}");
            take(&mut status, &probing(0, during), Stage::During, &sample(1, Fail, "500"));
            assert_eq!((status.broke, status.while_broken), (broke + 1, 1), "{during}");
        }
        assert_eq!(after(0, Stage::During, &[Pass, Error, Fail]).while_broken, 2);
        // An error between two failures forgives neither.
        let status = after(1, Stage::During, &[Fail, Error, Fail]);
        assert_eq!((status.broke, status.errors, status.errors_in_a_row), (1, 1, 0));
        assert_eq!(after(0, Stage::During, &[Pass, Error, Error]).errors_in_a_row, 2);
    }

    #[test]
    fn a_state_has_the_time_since_which_it_is_so() {
        let status = after(0, Stage::During, &[Fail, Pass, Pass, Pass]);
        let at = |second| Some(Time(Timestamp::from_second(second).unwrap()));
        assert_eq!((status.since, status.asked, status.state), (at(1), at(3), ProbeState::Pass));
        assert_eq!(status.value, Some(3.0));
        assert!(!status.recovered && after(0, Stage::After, &[Fail, Pass, Fail]).recovered);
    }

    #[test]
    fn times_are_whole_seconds_and_a_gap_begins_anew() {
        let mut status = ProbeStatus::default();
        for (milliseconds, since) in [(10_900, 10), (14_800, 10), (20_200, 20), (25_000, 20)] {
            let at = Timestamp::from_millisecond(milliseconds).unwrap();
            let sample = Sample { at, ..sample(0, Pass, "200") };
            take(&mut status, &probing(0, "Halt"), Stage::During, &sample);
            let time = |second| Some(Time(Timestamp::from_second(second).unwrap()));
            assert_eq!(status.since, time(since), "{milliseconds}");
            assert_eq!(status.asked, time(milliseconds / 1_000));
        }
    }

    #[test]
    fn what_was_seen_is_cut_and_the_worst_stays() {
        let mut status = ProbeStatus::default();
        let long = "é".repeat(500);
        take(&mut status, &probing(0, "Halt"), Stage::During, &sample(0, Fail, &long));
        assert_eq!(status.last.chars().count(), LONGEST);
        assert_eq!(status.worst, status.last);
        take(&mut status, &probing(0, "Halt"), Stage::During, &sample(1, Pass, "200, 3ms"));
        assert!(status.last == "200, 3ms" && status.worst.starts_with("éé"));
    }
}
