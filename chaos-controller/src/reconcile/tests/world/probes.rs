//! Asks probes, and answers for the services behind them.

use chaos_api::kinds::RunPhase;
use chaos_probe::{Outcome, Sample};
use jiff::SignedDuration;

use super::World;
use crate::probes::Question;

impl World {
    /// Asks the probes that are due. The next look has the answers.
    pub(super) fn ask(&mut self, questions: &[Question]) {
        for question in questions {
            let (run, name) = (question.asking.run_uid.clone(), &question.probing.probe.name);
            if self.silent.contains(name) {
                continue;
            }
            let key = (run.clone(), name.clone());
            // What is asked when nothing is broken any more begins in the next second.
            if question.phase == RunPhase::Recovering && self.after.insert(key.clone()) {
                self.asked.insert(key, self.now);
                continue;
            }
            let every = SignedDuration::try_from(question.every).unwrap();
            if self.asked.get(&key).is_some_and(|at| self.now.duration_since(*at) < every) {
                continue;
            }
            self.asked.insert(key, self.now);
            self.questions.push((name.clone(), question.baseline));
            let outcome = self.service.get(name).copied().unwrap_or(Outcome::Pass);
            let (value, seen) = match outcome {
                Outcome::Pass => (Some(0.25), "200, 250ms"),
                Outcome::Fail => (Some(2.0), "500, 2s"),
                Outcome::Error => (None, "no such host"),
            };
            let seen = if self.answer_at_length { "x".repeat(240) } else { seen.to_owned() };
            let sample = Sample { at: self.now, outcome, value, seen };
            self.samples.entry(run).or_default().push((name.clone(), sample));
        }
    }
}
