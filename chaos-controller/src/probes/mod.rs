//! Keeps what the probes of runs have seen, and says what follows: whether there is a steady state, whether a run must
//! end, whether everything holds again. Pure: questions are asked elsewhere.

mod checks;
mod fill;
mod library;
mod outlook;
mod reading;
mod stage;
mod tally;

use std::collections::BTreeMap;

use chaos_api::kinds::{ProbeStatus, RunPhase, RunStatus};
use chaos_probe::{Asking, Outcome, Sample};
use jiff::Timestamp;

use self::stage::stage;
pub use self::{
    checks::Checks,
    library::{LibraryError, with_probes},
    outlook::{Recovery, Steadiness, not_recovered, recovery, steadiness, too_late, why_to_end},
    reading::{ProbeError, Probing, Values, read},
    stage::{breaking, first_broken, has_recovered},
    tally::{Stage, cut, take},
};

/// The samples of one look: of each run, by its UID, with the names of their probes, in the order in which they came.
pub type Samples = BTreeMap<String, Vec<(String, Sample)>>;

/// What is to be asked again and again, until it is not any more.
#[derive(Debug, Clone)]
pub struct Question {
    pub asking: Asking,
    pub probing: Probing,
    /// Between two questions.
    pub every: std::time::Duration,
    pub baseline: Option<f64>,
    /// Of the run, when it is wanted.
    pub phase: RunPhase,
}

/// What is kept of the probes of runs from one look to the next, by the UIDs of runs.
#[derive(Debug, Default)]
pub struct Watches {
    of_runs: BTreeMap<String, Watch>,
}

/// What is known of the probes of a run.
#[derive(Debug, Clone)]
pub struct Watch {
    /// As in its status, which may be older: what is only counted is not written at once.
    pub probes: Vec<ProbeStatus>,
    /// What was seen before anything is broken, in the order of the probes. Another leader sees that for itself.
    pub before: Vec<Before>,
    /// When this controller began to ask.
    pub began: Timestamp,
}

/// What a probe has answered before anything is broken.
#[derive(Debug, Clone, Default)]
pub struct Before {
    pub answers: u32,
    pub values: Vec<f64>,
}

impl Watches {
    /// Counts the samples of a run. What is not known yet, another leader has written into the status.
    pub fn take(
        &mut self,
        run_uid: &str,
        probings: &[Probing],
        status: &RunStatus,
        samples: &[(String, Sample)],
        now: Timestamp,
    ) -> &Watch {
        let begin = || {
            let of = |probing: &Probing| {
                let name = &probing.probe.name;
                let written = status.probes.iter().find(|probe| probe.name == *name);
                written
                    .cloned()
                    .unwrap_or_else(|| ProbeStatus { name: name.clone(), ..ProbeStatus::default() })
            };
            let before = vec![Before::default(); probings.len()];
            Watch { probes: probings.iter().map(of).collect(), before, began: now }
        };
        let watch = self.of_runs.entry(run_uid.to_owned()).or_insert_with(begin);
        let of_probes = probings.iter().zip(&mut watch.probes).zip(&mut watch.before);
        for ((probing, probe), before) in of_probes {
            let own = samples.iter().filter(|(name, _)| *name == probing.probe.name);
            for (_, sample) in own {
                let stage = stage(status, sample.at);
                take(probe, probing, stage, sample);
                if status.phase == RunPhase::Baseline {
                    before.answers = before.answers.saturating_add(1);
                    let is_good = sample.outcome == Outcome::Pass;
                    before.values.extend(sample.value.filter(|_| is_good));
                }
            }
        }
        watch
    }

    /// What is known of the probes of a run, once its samples were counted.
    pub fn of(&self, run_uid: &str) -> Option<&Watch> {
        self.of_runs.get(run_uid)
    }

    /// Says what the numbers were before anything is broken.
    pub fn set_baselines(&mut self, run_uid: &str) -> Vec<ProbeStatus> {
        let Some(watch) = self.of_runs.get_mut(run_uid) else { return Vec::new() };
        for (probe, before) in watch.probes.iter_mut().zip(&watch.before) {
            probe.baseline = median(&before.values);
        }
        watch.probes.clone()
    }

    /// Notes what the kernels have counted: probes of ledgers are judged, not asked.
    pub fn judge(&mut self, run_uid: &str, probe: &Probing, sample: &Sample) -> Vec<ProbeStatus> {
        let Some(watch) = self.of_runs.get_mut(run_uid) else { return Vec::new() };
        let mut probes = watch.probes.iter_mut();
        if let Some(status) = probes.find(|status| status.name == probe.probe.name) {
            take(status, probe, Stage::During, sample);
        }
        watch.probes.clone()
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.of_runs.retain(|run_uid, _| is_live(run_uid));
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    Some(if sorted.len().is_multiple_of(2) { (sorted[middle - 1] + upper) / 2.0 } else { upper })
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::Probe;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_median_is_between_the_middle_ones() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0, 5.0]), Some(4.0));
    }

    fn probings() -> Vec<Probing> {
        let probe = json!({ "name": "web", "http": { "url": "http://web" } });
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let second = std::time::Duration::from_secs(1);
        vec![Probing { probe, every: second, recover: second, timeout: second }]
    }

    fn sample(second: i64, outcome: Outcome) -> (String, Sample) {
        let at = Timestamp::from_second(second).unwrap();
        let value = Some(second as f64);
        ("web".to_owned(), Sample { at, outcome, value, seen: String::new() })
    }

    #[test]
    fn samples_count_by_when_they_were_asked_and_another_leader_goes_on() {
        let status = |phase: &str| -> RunStatus {
            let recovering = (phase == "Recovering").then_some("1970-01-01T00:00:30Z");
            let started = (phase != "Baseline").then_some("1970-01-01T00:00:10Z");
            serde_json::from_value(json!({
                "phase": phase, "recovering": recovering,
                "steps": [{ "name": "slow", "phase": "Running", "started": started }],
            }))
            .unwrap()
        };
        let (probings, mut watches) = (probings(), Watches::default());
        let now = Timestamp::UNIX_EPOCH;
        let early = [sample(1, Outcome::Pass), sample(2, Outcome::Fail), sample(4, Outcome::Pass)];
        let watch = watches.take("run", &probings, &status("Baseline"), &early, now);
        assert_eq!((watch.before[0].answers, watch.before[0].values.len()), (3, 2));
        assert_eq!(watches.set_baselines("run")[0].baseline, Some(2.5));
        // The first was asked before the step began, and answered after that.
        let mixed = [sample(9, Outcome::Fail), sample(11, Outcome::Fail)];
        let watch = watches.take("run", &probings, &status("Running"), &mixed, now);
        assert_eq!((watch.probes[0].broke, watch.probes[0].failed), (1, 3));
        let written = watch.probes.clone();

        let mut next = Watches::default();
        let status = RunStatus { probes: written, ..status("Recovering") };
        let late = [sample(29, Outcome::Pass), sample(29, Outcome::Fail)];
        let probe = next.take("run", &probings, &status, &late, now).probes[0].clone();
        assert_eq!((probe.broke, probe.recovered, probe.baseline), (2, false, Some(2.5)));
        let again = [sample(31, Outcome::Pass)];
        assert!(next.take("run", &probings, &status, &again, now).probes[0].recovered);
    }
}
