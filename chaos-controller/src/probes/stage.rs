//! Says what was broken when a probe was asked. A status has whole seconds: what was asked within the second in which
//! something began counts for what was before.

use chaos_api::kinds::{ProbeState, ProbeStatus, RunPhase, RunStatus, StepStatus};
use jiff::{SignedDuration, Timestamp};

use super::Stage;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What was broken when a question was asked.
pub fn stage(status: &RunStatus, asked: Timestamp) -> Stage {
    let is_since = |begun: Timestamp| asked.duration_since(begun) >= SECOND;
    let first = status.steps.iter().filter_map(began).min();
    if status.phase == RunPhase::Baseline || !first.is_some_and(is_since) {
        return Stage::Before;
    }
    if status.recovering.as_ref().is_some_and(|since| is_since(since.0)) {
        return Stage::After;
    }
    match first_broken(status).is_some_and(is_since) {
        true => Stage::During,
        false => Stage::Unbroken,
    }
}

/// When the first step began that breaks pods, if one has.
pub fn first_broken(status: &RunStatus) -> Option<Timestamp> {
    breaking(status).filter_map(began).min()
}

/// The steps that break pods, whether they have begun or not.
pub fn breaking(status: &RunStatus) -> impl Iterator<Item = &StepStatus> {
    let steps = status.steps.iter().enumerate();
    steps.filter(move |(index, _)| breaks_pods(status, *index)).map(|(_, step)| step)
}

/// Whether a probe holds again since nothing is broken any more.
pub fn has_recovered(probe: &ProbeStatus) -> bool {
    probe.recovered && probe.state == ProbeState::Pass
}

fn began(step: &StepStatus) -> Option<Timestamp> {
    step.started.as_ref().map(|time| time.0)
}

fn breaks_pods(status: &RunStatus, index: usize) -> bool {
    let step = status.spec.as_ref().and_then(|spec| spec.steps.get(index));
    step.is_none_or(|step| step.fault.is_some() || step.pods.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_second_belongs_to_what_was_before_and_steps_that_wait_break_nothing() {
        let status: RunStatus = serde_json::from_value(json!({
            "phase": "Recovering", "recovering": "1970-01-01T00:00:30Z",
            "spec": { "steps": [
                { "name": "rest", "wait": { "for": "10s" } },
                { "name": "slow", "fault": { "target": "web", "do": "drop", "for": "10s" } },
            ] },
            "steps": [
                { "name": "rest", "phase": "Done", "started": "1970-01-01T00:00:10Z" },
                { "name": "slow", "phase": "Done", "started": "1970-01-01T00:00:20Z" },
            ],
        }))
        .unwrap();
        for (milliseconds, expected) in [
            (9_000, Stage::Before),
            (10_900, Stage::Before),
            (11_000, Stage::Unbroken),
            (20_900, Stage::Unbroken),
            (21_000, Stage::During),
            (30_900, Stage::During),
            (31_000, Stage::After),
        ] {
            let asked = Timestamp::from_millisecond(milliseconds).unwrap();
            assert_eq!(stage(&status, asked), expected, "{milliseconds}");
        }
        assert_eq!(first_broken(&status).map(Timestamp::as_second), Some(20));
    }
}
