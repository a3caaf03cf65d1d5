//! Follows a step that waits until probes have held for some time.

use std::time::Duration;

use chaos_api::kinds::{ProbeState, ProbeStatus, RunStatus, StepPhase};
use chaos_fault::print_duration;
use jiff::{SignedDuration, Timestamp};

use super::{Progress, Turn, ends};
use crate::script::{Deed, Script};

impl Turn<'_> {
    /// Waits until the probes of a step have held without a break, or until the time is up.
    pub(super) fn check(
        &mut self,
        mut status: RunStatus,
        script: &Script,
        index: usize,
    ) -> Progress {
        let act = &script.steps[index];
        let Deed::Check { probes, lasting, timeout } = &act.deed else {
            return Progress::of(status);
        };
        let step = &status.steps[index];
        let started = step.started.as_ref().map_or(self.observed.now, |time| time.0);
        let ends = ends(step).unwrap_or(self.observed.now);
        let waits = |probe: &&ProbeStatus| {
            probes.contains(&probe.name) && !has_held(probe, started, *lasting)
        };
        let waiting: Vec<&str> =
            status.probes.iter().filter(waits).map(|probe| probe.name.as_str()).collect();
        if waiting.is_empty() {
            status.steps[index].phase = StepPhase::Done;
            let message = format!("{} held for {}", probes.join(", "), print_duration(*lasting));
            self.set(&mut status, "Checked", true, "Held", &message);
            return Progress::of(self.start(status, script, index + 1));
        }
        if self.observed.now >= ends {
            let (lasting, timeout) = (print_duration(*lasting), print_duration(*timeout));
            let why = format!("{} did not hold for {lasting} within {timeout}", waiting.join(", "));
            self.fail(&mut status, act, index, &why);
            return Progress::of(status);
        }
        let message = format!("waiting for {}", waiting.join(", "));
        self.set(&mut status, "Checked", false, "Waiting", &message);
        Progress::of(status)
    }
}

/// Whether a probe has held for so long since a moment, by its answers: silence does not count.
fn has_held(probe: &ProbeStatus, since: Timestamp, lasting: Duration) -> bool {
    let (Some(first), Some(last)) = (&probe.since, &probe.asked) else { return false };
    let lasting = SignedDuration::try_from(lasting).unwrap_or(SignedDuration::MAX);
    probe.state == ProbeState::Pass && last.0.duration_since(first.0.max(since)) >= lasting
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn only_answers_without_a_break_since_the_step_began_count() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let held = |state, first, last| {
            let time = |second| Some(Time(at(second)));
            let probe = ProbeStatus {
                state,
                since: time(first),
                asked: time(last),
                ..ProbeStatus::default()
            };
            has_held(&probe, at(100), Duration::from_secs(10))
        };
        assert!(held(ProbeState::Pass, 50, 110));
        assert!(!held(ProbeState::Pass, 50, 109));
        assert!(!held(ProbeState::Pass, 105, 114));
        assert!(!held(ProbeState::Fail, 50, 110));
        assert!(!has_held(&ProbeStatus::default(), at(100), Duration::from_secs(10)));
    }
}
