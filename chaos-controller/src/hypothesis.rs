//! Judges whether what must hold held, by the probes alone. Pure: it goes by the status of the run, so whoever leads when
//! it ends says the same.

use chaos_api::kinds::{
    During, Hypothesis,
    HypothesisReason::{
        self, AllHeld, BaselineBroken, Cut, NeverBroke, NotRecovered, NothingDone, ProbeBlind,
        ProbeBroke, ProbeErrors,
    },
    Mode, ProbeState, ProbeStatus, Reason, RunStatus, StepPhase,
};

use crate::{
    counted::counted,
    probes::{Probing, first_broken, has_recovered, not_recovered},
};

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
    if let Some(message) = failed_check(status) {
        return Some(of(Hypothesis::Deviated, ProbeBroke, message));
    }
    if let Some((reason, message)) = cut_short(status, mode) {
        return Some(of(Hypothesis::Unknown, reason, message));
    }
    let is_broken = is_armed(mode) && first_broken(status).is_some();
    let deviation = |(probing, probe): (&Probing, &ProbeStatus)| deviation(probing, probe, mode);
    let mut deviations = probes().filter_map(deviation);
    if let Some((reason, message)) = deviations.next() {
        return Some(of(Hypothesis::Deviated, reason, message));
    }
    let doubt = |(probing, probe): (&Probing, &ProbeStatus)| {
        doubt(probing, probe, mode).or_else(|| unseen(probing, probe).filter(|_| is_broken))
    };
    if let Some(message) = probes().find_map(doubt) {
        return Some(of(Hypothesis::Unknown, ProbeErrors, message));
    }
    let checks: u32 = status.probes.iter().map(|probe| probe.checks).sum();
    let count = probings.len();
    let message = format!(
        "{} did as expected, {} in all",
        counted(count as u64, "probe"),
        counted(checks, "time")
    );
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

/// What a step has waited for in vain, where the run has ended by it and a probe of it has failed.
fn failed_check(status: &RunStatus) -> Option<String> {
    if status.reason != Some(Reason::StepFailed) {
        return None;
    }
    let spec = status.spec.as_ref()?;
    let steps = spec.steps.iter().zip(&status.steps);
    let failed = steps.filter(|(_, step)| step.phase == StepPhase::Failed);
    let mut checks = failed.filter_map(|(asked, _)| asked.check.as_ref());
    let is_failing = |name: &String| {
        let mut probes = status.probes.iter();
        probes.any(|probe| probe.name == *name && probe.state == ProbeState::Fail)
    };
    checks.any(|check| check.probes.iter().any(is_failing)).then(|| status.message.clone())
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
    if must_break(probing, mode) && probe.broke == 0 && probe.while_broken > 0 {
        let message =
            format!("probe {} had to fail while pods were broken, and did not", probe.name);
        return Some((NeverBroke, message));
    }
    // Where there is no answer at the end, nobody knows whether it still holds.
    let is_lost = !probe.recovered || probe.state == ProbeState::Fail;
    is_lost.then(|| (NotRecovered, not_recovered(probing, probe)))
}

/// What a probe has not seen.
fn doubt(probing: &Probing, probe: &ProbeStatus, mode: Mode) -> Option<String> {
    let is_proven = must_break(probing, mode) && probe.broke > 0;
    let ends_well = !probing.is_asked() || has_recovered(probe);
    (probe.errors > 0 && !(is_proven && ends_well)).then(|| {
        let ProbeStatus { name, errors, checks, .. } = probe;
        format!("probe {name} had no answer {errors} of {checks} times")
    })
}

/// What nobody has seen: how the service was while pods were broken.
fn unseen(probing: &Probing, probe: &ProbeStatus) -> Option<String> {
    let is_decisive = match probing.probe.during {
        During::Halt | During::MustBreak => probing.is_asked(),
        During::Record => false,
    };
    (is_decisive && probe.while_broken == 0).then(|| {
        format!("probe {} had no answer to a question asked while pods were broken", probe.name)
    })
}

/// Whether the hypothesis is that a probe fails. Where nothing is broken, nothing has to.
fn must_break(probing: &Probing, mode: Mode) -> bool {
    match probing.probe.during {
        During::MustBreak => is_armed(mode),
        During::Halt | During::Record => false,
    }
}

fn is_armed(mode: Mode) -> bool {
    match mode {
        Mode::Armed => true,
        Mode::Plan | Mode::Shadow => false,
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
        Probing { probe, every: second, recover: second, timeout: second }
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
            while_broken: 4,
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
    fn nobody_knows_where_nothing_was_seen_while_pods_were_broken() {
        for during in ["Halt", "MustBreak"] {
            let unseen = |status: &mut RunStatus| status.probes[0].while_broken = 0;
            let (hypothesis, reason, message) = judged(asked(during), Mode::Armed, unseen);
            assert_eq!((hypothesis, reason), (Hypothesis::Unknown, ProbeErrors), "{during}");
            let expected = "probe web had no answer to a question asked while pods were broken";
            assert_eq!(message, expected);
            // Where nothing is broken, there is nothing to be seen.
            assert_eq!(judged(asked(during), Mode::Shadow, unseen).0, Hypothesis::Held);
        }
        let (hypothesis, ..) =
            judged(asked("Record"), Mode::Armed, |status| status.probes[0].while_broken = 0);
        assert_eq!(hypothesis, Hypothesis::Held);
    }

    #[test]
    fn what_held_once_and_fails_at_the_end_has_not_recovered() {
        for (state, expected) in [
            (ProbeState::Fail, (Hypothesis::Deviated, NotRecovered)),
            (ProbeState::Error, (Hypothesis::Unknown, ProbeErrors)),
        ] {
            let (hypothesis, reason, _) = judged(asked("MustBreak"), Mode::Armed, |status| {
                let probe = &mut status.probes[0];
                (probe.state, probe.broke, probe.errors) = (state, 1, 1);
            });
            assert_eq!((hypothesis, reason), expected);
        }
    }

    #[test]
    fn a_check_that_waits_in_vain_for_a_probe_that_fails_speaks_against_the_hypothesis() {
        for (state, expected) in [
            (ProbeState::Fail, (Hypothesis::Deviated, ProbeBroke)),
            (ProbeState::Error, (Hypothesis::Unknown, Cut)),
            (ProbeState::Pass, (Hypothesis::Unknown, Cut)),
        ] {
            let (hypothesis, reason, message) = judged(asked("Record"), Mode::Armed, |status| {
                let check = json!({ "name": "slow", "check": { "probes": ["web"], "for": "5s" } });
                status.spec = serde_json::from_value(json!({ "steps": [check] })).unwrap();
                status.reason = Some(Reason::StepFailed);
                status.steps[0].phase = StepPhase::Failed;
                status.probes[0].state = state;
            });
            assert_eq!((hypothesis, reason), expected);
            assert_eq!(message, "it was said");
        }
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
