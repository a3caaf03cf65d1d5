//! Judges whether what must hold held, by the probes alone. Pure: it goes by the status of the run, so whoever leads when
//! it ends says the same.

use chaos_api::kinds::{
    During, Hypothesis,
    HypothesisReason::{
        self, AllHeld, BaselineBroken, Cut, NeverBroke, NotRecovered, NothingDone, ProbeBlind,
        ProbeBroke, ProbeErrors,
    },
    Mode, ProbeState, ProbeStatus, Reason, RunStatus,
};

use crate::probes::{Probing, not_recovered};

/// What is said of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub hypothesis: Hypothesis,
    pub reason: HypothesisReason,
    pub message: String,
}

/// Judges a run that has ended, if it has probes. What speaks against the hypothesis counts, however the run has ended.
pub fn judge(status: &RunStatus, probings: &[Probing], mode: Mode) -> Option<Judgement> {
    if probings.is_empty() {
        return None;
    }
    let of = |hypothesis, reason, message| Judgement { hypothesis, reason, message };
    let probes = || probings.iter().zip(&status.probes);
    if let Some((_, probe)) = probes().find(|(probing, probe)| has_broken(probing, probe)) {
        let message =
            format!("probe {} failed while pods were broken: {}", probe.name, probe.worst);
        return Some(of(Hypothesis::Deviated, ProbeBroke, message));
    }
    if let Some((reason, message)) = cut_short(status, mode) {
        return Some(of(Hypothesis::Unknown, reason, message));
    }
    let mut deviations = probes().filter_map(|(probing, probe)| deviation(probing, probe, mode));
    if let Some((reason, message)) = deviations.next() {
        return Some(of(Hypothesis::Deviated, reason, message));
    }
    if let Some(message) = probes().find_map(|(probing, probe)| doubt(probing, probe, mode)) {
        return Some(of(Hypothesis::Unknown, ProbeErrors, message));
    }
    let checks: u32 = status.probes.iter().map(|probe| probe.checks).sum();
    let count = probings.len();
    let message = format!("{count} probes did as expected, {checks} times in all");
    Some(of(Hypothesis::Held, AllHeld, message))
}

/// Whether a probe has failed that must not, while pods were broken.
fn has_broken(probing: &Probing, probe: &ProbeStatus) -> bool {
    if !probing.is_asked() {
        return probe.state == ProbeState::Fail;
    }
    match probing.probe.during {
        During::Halt => probe.broke > 0,
        During::Record | During::MustBreak => false,
    }
}

/// Why nobody can tell, where a run has not done all of its steps.
fn cut_short(status: &RunStatus, mode: Mode) -> Option<(HypothesisReason, String)> {
    if mode == Mode::Plan {
        return Some((NothingDone, "only a plan was asked for".to_owned()));
    }
    let because = |reason| Some((reason, status.message.clone()));
    let has_begun = status.steps.iter().any(|step| step.started.is_some());
    match status.reason {
        Some(Reason::BaselineBroken) => because(BaselineBroken),
        Some(Reason::ProbeBlind) => because(ProbeBlind),
        Some(Reason::Refused | Reason::Planned) => because(NothingDone),
        Some(
            Reason::Halted | Reason::ExperimentDeleted | Reason::StepFailed | Reason::ProbeBroke,
        ) => because(Cut),
        Some(Reason::Completed) | None if !has_begun => {
            Some((NothingDone, "every step was skipped".to_owned()))
        }
        Some(Reason::Completed) | None => None,
    }
}

/// What speaks against the hypothesis where every step was done.
fn deviation(
    probing: &Probing,
    probe: &ProbeStatus,
    mode: Mode,
) -> Option<(HypothesisReason, String)> {
    if !probing.is_asked() {
        return None;
    }
    if must_break(probing, mode) && probe.broke == 0 {
        let message =
            format!("probe {} had to fail while pods were broken, and did not", probe.name);
        return Some((NeverBroke, message));
    }
    (!probe.recovered).then(|| (NotRecovered, not_recovered(probing, probe)))
}

/// What a probe has not seen.
fn doubt(probing: &Probing, probe: &ProbeStatus, mode: Mode) -> Option<String> {
    let is_proven = must_break(probing, mode) && probe.broke > 0;
    (probe.errors > 0 && !is_proven).then(|| {
        let ProbeStatus { name, errors, checks, .. } = probe;
        format!("probe {name} had no answer {errors} of {checks} times")
    })
}

/// Whether the hypothesis is that a probe fails. Where nothing is broken, nothing has to.
fn must_break(probing: &Probing, mode: Mode) -> bool {
    let is_armed = match mode {
        Mode::Armed => true,
        Mode::Plan | Mode::Shadow => false,
    };
    match probing.probe.during {
        During::MustBreak => is_armed,
        During::Halt | During::Record => false,
    }
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::Probe;
    use serde_json::{Value, json};

    use super::*;

    fn probing(probe: Value) -> Probing {
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let second = std::time::Duration::from_secs(20);
        Probing { probe, every: second, recover: second }
    }

    fn asked(during: &str) -> Probing {
        probing(json!({ "name": "web", "http": { "url": "http://web" }, "during": during }))
    }

    fn ledger() -> Probing {
        probing(json!({ "name": "hit", "ledger": {}, "expect": "injected > 100" }))
    }

    /// A run of one step that was done, with one probe that has held all the time.
    fn held() -> RunStatus {
        let status = json!({ "phase": "Finished", "reason": "Completed", "message": "it was said",
            "steps": [{ "name": "slow", "phase": "Done", "started": "2026-11-28T10:00:00Z" }] });
        let mut status: RunStatus = serde_json::from_value(status).unwrap();
        status.probes = vec![ProbeStatus {
            name: "web".into(),
            state: ProbeState::Pass,
            checks: 10,
            recovered: true,
            last: "200, 3ms".into(),
            worst: "500, 9ms".into(),
            ..ProbeStatus::default()
        }];
        status
    }

    fn judged(
        probing: Probing,
        mode: Mode,
        change: impl FnOnce(&mut RunStatus),
    ) -> (Hypothesis, HypothesisReason, String) {
        let mut status = held();
        change(&mut status);
        let Judgement { hypothesis, reason, message } = judge(&status, &[probing], mode).unwrap();
        (hypothesis, reason, message)
    }

    #[test]
    fn each_reason_is_given() {
        use Hypothesis::{Deviated, Held, Unknown};
        let of = |during: &str, change: &dyn Fn(&mut RunStatus)| {
            let (hypothesis, reason, _) = judged(asked(during), Mode::Armed, change);
            (hypothesis, reason)
        };
        let ended = |reason: Reason| move |status: &mut RunStatus| status.reason = Some(reason);
        assert_eq!(of("Halt", &|_| ()), (Held, AllHeld));
        assert_eq!(of("Record", &|status| status.probes[0].broke = 3), (Held, AllHeld));
        assert_eq!(of("Halt", &|status| status.probes[0].broke = 1), (Deviated, ProbeBroke));
        assert_eq!(of("MustBreak", &|_| ()), (Deviated, NeverBroke));
        assert_eq!(of("MustBreak", &|status| status.probes[0].broke = 1), (Held, AllHeld));
        for during in ["Halt", "Record"] {
            let lost = |status: &mut RunStatus| status.probes[0].recovered = false;
            assert_eq!(of(during, &lost), (Deviated, NotRecovered));
        }
        assert_eq!(of("Halt", &ended(Reason::BaselineBroken)), (Unknown, BaselineBroken));
        assert_eq!(of("Halt", &ended(Reason::ProbeBlind)), (Unknown, ProbeBlind));
        assert_eq!(of("Halt", &|status| status.probes[0].errors = 1), (Unknown, ProbeErrors));
        assert_eq!(of("Halt", &|status| status.steps[0].started = None), (Unknown, NothingDone));
        for reason in [Reason::Halted, Reason::ExperimentDeleted, Reason::StepFailed] {
            assert_eq!(of("MustBreak", &ended(reason)), (Unknown, Cut));
        }
        for reason in [Reason::Refused, Reason::Planned] {
            assert_eq!(of("Halt", &ended(reason)), (Unknown, NothingDone));
        }
        assert_eq!(judged(asked("Halt"), Mode::Plan, |_| ()).1, NothingDone);
        assert_eq!(judge(&held(), &[], Mode::Armed), None);
    }

    #[test]
    fn what_has_broken_stays_so_when_a_hand_halts_the_run_after_that() {
        let (hypothesis, reason, message) = judged(asked("Halt"), Mode::Armed, |status| {
            status.reason = Some(Reason::Halted);
            status.probes[0].broke = 1;
        });
        assert_eq!((hypothesis, reason), (Hypothesis::Deviated, ProbeBroke));
        assert_eq!(message, "probe web failed while pods were broken: 500, 9ms");
    }

    #[test]
    fn a_probe_that_had_to_fail_and_did_is_not_doubted() {
        let (hypothesis, ..) = judged(asked("MustBreak"), Mode::Armed, |status| {
            (status.probes[0].broke, status.probes[0].errors) = (1, 2);
        });
        assert_eq!(hypothesis, Hypothesis::Held);
    }

    #[test]
    fn nothing_has_to_fail_where_nothing_is_broken() {
        let (hypothesis, ..) = judged(asked("MustBreak"), Mode::Shadow, |_| ());
        assert_eq!(hypothesis, Hypothesis::Held);
    }

    #[test]
    fn ledgers_are_judged_too() {
        for (state, errors, expected) in [
            (ProbeState::Pass, 0, (Hypothesis::Held, AllHeld)),
            (ProbeState::Fail, 0, (Hypothesis::Deviated, ProbeBroke)),
            (ProbeState::Error, 1, (Hypothesis::Unknown, ProbeErrors)),
        ] {
            let (hypothesis, reason, _) = judged(ledger(), Mode::Armed, |status| {
                let probe = &mut status.probes[0];
                (probe.state, probe.errors, probe.recovered) = (state, errors, false);
            });
            assert_eq!((hypothesis, reason), expected);
        }
    }
}
