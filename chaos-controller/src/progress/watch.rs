//! Goes by what probes have seen: nothing is broken before there is a steady state, a run ends when a probe says so, and is
//! not over before everything holds again.

use chaos_api::kinds::{Mode, ProbeState, ProbeStatus, Reason, RunPhase, RunStatus, StepPhase};
use chaos_probe::Asking;
use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{FAREWELL, Progress, Turn, fail_running, plan_in_words};
use crate::{
    probes::{
        Probing, Question, Recovery, Steadiness, has_recovered, not_recovered, recovery,
        steadiness, too_late, why_to_end,
    },
    script::Script,
};

impl Turn<'_> {
    /// Counts what probes have seen since the last look, into the status and the report.
    pub(super) fn take_samples(&mut self, script: &Script, status: &mut RunStatus) {
        let uid = &self.identity.uid;
        let samples = self.memory.samples.remove(uid).unwrap_or_default();
        let now = self.observed.now;
        let watch = self.memory.watches.take(uid, &script.probes, status, &samples, now);
        status.probes.clone_from(&watch.probes);
        if status.report.is_some() {
            for (probe, sample) in &samples {
                self.memory.reports.note_sample(uid, probe, sample);
            }
        }
    }

    /// What is to be asked from now on.
    pub(super) fn questions(&self, script: &Script, status: &RunStatus) -> Vec<Question> {
        let is_brisk = match status.phase {
            RunPhase::Baseline | RunPhase::Recovering => true,
            RunPhase::Running => false,
            RunPhase::Finished => return Vec::new(),
        };
        let account = status.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let asked = script.probes.iter().zip(&status.probes);
        let question = |(probing, probe): (&Probing, &ProbeStatus)| Question {
            asking: Asking {
                namespace: self.identity.namespace.clone(),
                run_uid: self.identity.uid.clone(),
                service_account: account.unwrap_or_default().to_owned(),
            },
            every: if is_brisk { probing.brisk() } else { probing.every },
            baseline: probe.baseline,
            phase: status.phase,
            probing: probing.clone(),
        };
        // A plan asks each once.
        let is_planned = self.run.spec.mode == Mode::Plan;
        let is_wanted = |(probing, probe): &(&Probing, &ProbeStatus)| {
            probing.is_asked() && !(is_planned && probe.checks > 0)
        };
        asked.filter(is_wanted).map(question).collect()
    }

    /// Waits for a steady state, and begins the first step.
    pub(super) fn before(&mut self, mut status: RunStatus, script: &Script) -> Progress {
        let uid = &self.identity.uid;
        let now = self.observed.now;
        // The samples of this look were counted before.
        let Some(watch) = self.memory.watches.of(uid) else { return Progress::of(status) };
        let late = too_late(&script.probes, watch, now);
        if self.run.spec.mode == Mode::Plan {
            let mut all = script.probes.iter().zip(&status.probes);
            if all.any(|(one, seen)| one.is_asked() && seen.checks == 0) {
                return match late {
                    None => Progress::of(status),
                    Some(why) => self.not_steady(status, script, why),
                };
            }
            let message = format!("{}; {}", plan_in_words(&status, script), seen(&status));
            return Progress::of(self.finish(status, &script.probes, Reason::Planned, message));
        }
        match steadiness(&script.probes, watch) {
            Steadiness::Asking => match late {
                None => Progress::of(status),
                Some(why) => self.not_steady(status, script, why),
            },
            Steadiness::Broken(why) => self.not_steady(status, script, why),
            Steadiness::Steady => {
                status.probes = self.memory.watches.set_baselines(uid);
                self.set(&mut status, "SteadyBefore", true, "Steady", "every probe holds");
                status.phase = RunPhase::Running;
                Progress::of(self.start(status, script, 0))
            }
        }
    }

    /// Ends a run before anything is broken.
    fn not_steady(&self, mut status: RunStatus, script: &Script, why: String) -> Progress {
        self.set(&mut status, "SteadyBefore", false, "BaselineBroken", &why);
        Progress::of(self.finish(status, &script.probes, Reason::BaselineBroken, why))
    }

    /// Why a probe ends the run now, if one does. The run's step is looked at first, so that what its pods have said counts.
    pub(super) fn breaks(&mut self, status: &mut RunStatus, script: &Script) -> bool {
        let (uid, now) = (&self.identity.uid, self.observed.now);
        let Some(watch) = self.memory.watches.of(uid) else { return false };
        let Some((reason, why)) = why_to_end(&script.probes, watch, now) else { return false };
        if status.steps.iter().any(|step| step.phase == StepPhase::Running) {
            let seen = self.step(status.clone(), script).status;
            for (step, seen) in status.steps.iter_mut().zip(seen.steps) {
                step.evidence = seen.evidence;
            }
            (status.targets, status.summary) = (seen.targets, seen.summary);
        }
        (status.reason, status.message) = (Some(reason), why);
        true
    }

    /// Takes the faults away of a run that a probe ends, and watches whether the service heals.
    pub(super) fn withdraw(&mut self, mut status: RunStatus, script: &Script) -> Progress {
        if self.held() > 0 {
            return Progress { is_ending: true, ..Progress::of(status) };
        }
        if self.awaits_counts(script, &mut status, FAREWELL) {
            return Progress::of(status);
        }
        fail_running(&mut status);
        Progress::of(self.recover(status, script))
    }

    /// Says that nothing is broken any more.
    pub(super) fn recover(&mut self, mut status: RunStatus, script: &Script) -> RunStatus {
        // Where agents had to be waited for, that was done before.
        self.awaits_counts(script, &mut status, SignedDuration::ZERO);
        if !script.probes.iter().any(Probing::is_asked) {
            return self.conclude(status, script);
        }
        status.phase = RunPhase::Recovering;
        status.recovering = Some(Time(self.observed.now));
        let message = "every probe must hold again";
        self.set(&mut status, "Recovered", false, "Waiting", message);
        status
    }

    /// Waits until everything holds again, or until that takes too long.
    pub(super) fn after(&mut self, mut status: RunStatus, script: &Script) -> Progress {
        let since = status.recovering.as_ref().map_or(self.observed.now, |time| time.0);
        match recovery(&script.probes, &status.probes, since, self.observed.now) {
            Recovery::Waiting => Progress::of(status),
            Recovery::Over => {
                let mut all = script.probes.iter().zip(&status.probes);
                let lost = all.find(|(one, probe)| one.is_asked() && !has_recovered(probe));
                match lost.map(|(probing, probe)| not_recovered(probing, probe)) {
                    None => self.set(
                        &mut status,
                        "Recovered",
                        true,
                        "Recovered",
                        "every probe holds again",
                    ),
                    Some(why) => self.set(&mut status, "Recovered", false, "NotRecovered", &why),
                }
                Progress::of(self.conclude(status, script))
            }
        }
    }

    /// Ends a run that has done its steps, or that a probe has ended.
    fn conclude(&mut self, mut status: RunStatus, script: &Script) -> RunStatus {
        let Some(reason) = status.reason else {
            self.judge_ledgers(script, &mut status);
            let message = self.all_done(&status, script);
            return self.finish(status, &script.probes, Reason::Completed, message);
        };
        let message = status.message.clone();
        self.finish(status, &script.probes, reason, message)
    }
}

/// What probes have answered, for a plan.
fn seen(status: &RunStatus) -> String {
    let words =
        status.probes.iter().filter(|probe| probe.state != ProbeState::Unasked).map(|probe| {
            let how = match probe.state {
                ProbeState::Pass => "holds",
                ProbeState::Fail => "does not hold",
                ProbeState::Error | ProbeState::Unasked => "cannot be asked",
            };
            format!("probe {} {how} ({})", probe.name, probe.last)
        });
    words.collect::<Vec<_>>().join("; ")
}
