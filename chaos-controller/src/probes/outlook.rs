//! Says what follows from what probes have seen.

use std::time::Duration;

use chaos_api::kinds::{
    During, ProbeState, ProbeStatus, Reason,
    Reason::{ProbeBlind, ProbeBroke},
};
use chaos_fault::print_duration;
use jiff::{SignedDuration, Timestamp};

use super::{Probing, Watch, has_recovered};

/// So often each probe is asked before anything is broken.
const BEFORE: u32 = 3;

/// When so many questions in a row have no usable answer, nobody sees what becomes of the service.
const BLIND: u32 = 3;

/// How long a question may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a steady state is waited for, and a plan for its answers, beside the longest timeouts.
const LONGEST_BEFORE: Duration = Duration::from_secs(120);

/// Whether anything may be broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steadiness {
    /// Not every probe was asked often enough.
    Asking,
    /// Every probe holds.
    Steady,
    /// One does not, or nobody can tell. Why.
    Broken(String),
}

/// Whether everything holds again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    Waiting,
    /// Each probe holds again, or its time is over.
    Over,
}

/// Whether there is a steady state: each probe has been asked three times, and the last answer was as expected. As many
/// failures in a row are forgiven as while pods are broken.
pub fn steadiness(probings: &[Probing], watch: &Watch) -> Steadiness {
    let mut is_steady = true;
    for ((probing, probe), before) in probings.iter().zip(&watch.probes).zip(&watch.before) {
        if !probing.is_asked() {
            continue;
        }
        if probe.failed_in_a_row > probing.probe.tolerate {
            return Steadiness::Broken(format!(
                "probe {} does not hold before anything is broken: {}",
                probe.name, probe.last
            ));
        }
        if probe.errors_in_a_row >= BLIND {
            return Steadiness::Broken(format!(
                "probe {} had no answer {BLIND} times in a row before anything is broken: {}",
                probe.name, probe.last
            ));
        }
        is_steady &= before.answers >= BEFORE && probe.state == ProbeState::Pass;
    }
    if is_steady { Steadiness::Steady } else { Steadiness::Asking }
}

/// Why nothing is broken where it is not known in time whether there is a steady state.
pub fn too_late(probings: &[Probing], watch: &Watch, now: Timestamp) -> Option<String> {
    let asked = || probings.iter().zip(&watch.before).filter(|(probing, _)| probing.is_asked());
    let timeout = asked().map(|(probing, _)| probing.timeout).max()?;
    let longest = LONGEST_BEFORE + BLIND * timeout;
    if now.duration_since(watch.began) < signed(longest) {
        return None;
    }
    let within = print_duration(longest);
    let silent = asked().min_by_key(|(_, before)| before.answers);
    Some(match silent.filter(|(_, before)| before.answers < BEFORE) {
        Some((Probing { probe, .. }, before)) => format!(
            "probe {} had no answer often enough before anything is broken: {} within {within}",
            probe.name, before.answers
        ),
        None => format!("there was no moment within {within} at which every probe holds"),
    })
}

/// Why a run is to end at once while pods are broken, if it is.
pub fn why_to_end(probings: &[Probing], watch: &Watch, now: Timestamp) -> Option<(Reason, String)> {
    let broke = |(probing, probe): (&Probing, &ProbeStatus)| match probing.probe.during {
        During::Halt if probe.broke > 0 => Some((ProbeBroke, in_words(probing, probe))),
        During::Halt | During::Record | During::MustBreak => None,
    };
    let blind = |(probing, probe): (&Probing, &ProbeStatus)| match probing.probe.during {
        During::Halt | During::MustBreak if probe.errors_in_a_row >= BLIND => {
            let name = &probe.name;
            let why = format!("probe {name} had no answer {BLIND} times in a row: {}", probe.last);
            Some((ProbeBlind, why))
        }
        During::Halt | During::MustBreak => {
            silent(probing, probe, watch.began, now).map(|why| (ProbeBlind, why))
        }
        During::Record => None,
    };
    let mut asked = probings.iter().zip(&watch.probes).filter(|(probing, _)| probing.is_asked());
    asked.clone().find_map(broke).or_else(|| asked.find_map(blind))
}

/// Why nobody sees anything by a probe, where nothing came back for too long, no error either.
fn silent(
    probing: &Probing,
    probe: &ProbeStatus,
    began: Timestamp,
    now: Timestamp,
) -> Option<String> {
    let last = probe.asked.as_ref().map_or(began, |asked| asked.0.max(began));
    let longest = BLIND * probing.every + probing.timeout + PATIENCE;
    (now.duration_since(last) > signed(longest)).then(|| {
        let ProbeStatus { name, .. } = probe;
        format!("probe {name} had no answer for more than {}", print_duration(longest))
    })
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// What is said of a probe that has failed too often.
fn in_words(probing: &Probing, probe: &ProbeStatus) -> String {
    let ProbeStatus { name, worst, .. } = probe;
    match probing.probe.tolerate {
        0 => format!("probe {name} has failed: {worst}"),
        forgiven => {
            format!("probe {name} has failed more than {forgiven} times in a row: {worst}")
        }
    }
}

/// Whether a run is over, where nothing has been broken `since` a moment.
pub fn recovery(
    probings: &[Probing],
    probes: &[ProbeStatus],
    since: Timestamp,
    now: Timestamp,
) -> Recovery {
    let waits = |(probing, probe): (&Probing, &ProbeStatus)| {
        let is_time = now.duration_since(since) < signed(probing.recover);
        probing.is_asked() && !has_recovered(probe) && is_time
    };
    match probings.iter().zip(probes).any(waits) {
        true => Recovery::Waiting,
        false => Recovery::Over,
    }
}

/// What is said of a probe that does not hold again.
pub fn not_recovered(probing: &Probing, probe: &ProbeStatus) -> String {
    let within = print_duration(probing.recover);
    format!("probe {} did not hold again within {within}: {}", probe.name, probe.last)
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::Probe;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    use super::{super::Before, *};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn probing(during: &str, tolerate: u32) -> Probing {
        let http = json!({ "url": "http://web" });
        let probe = json!({ "name": "web", "http": http, "during": during, "tolerate": tolerate });
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let second = Duration::from_secs(10);
        Probing { probe, every: second, recover: second, timeout: second }
    }

    fn ledger() -> Probing {
        let probe = json!({ "name": "hit", "ledger": {}, "expect": "injected > 0" });
        Probing { probe: serde_json::from_value(probe).unwrap(), ..probing("Halt", 0) }
    }

    fn watch(answers: u32, state: ProbeState, failed: u32, errors: u32) -> Watch {
        let probe = ProbeStatus {
            name: "web".into(),
            state,
            failed_in_a_row: failed,
            errors_in_a_row: errors,
            last: "500, 2ms".into(),
            ..ProbeStatus::default()
        };
        let before = vec![Before { answers, values: Vec::new() }];
        Watch { probes: vec![probe], before, began: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn a_steady_state_has_been_asked_for_three_times() {
        use ProbeState::{Error, Fail, Pass};
        let of = |tolerate: u32, watch: Watch| steadiness(&[probing("Halt", tolerate)], &watch);
        assert_eq!(of(0, watch(2, Pass, 0, 0)), Steadiness::Asking);
        assert_eq!(of(0, watch(3, Pass, 0, 0)), Steadiness::Steady);
        let broken = "probe web does not hold before anything is broken: 500, 2ms";
        assert_eq!(of(0, watch(1, Fail, 1, 0)), Steadiness::Broken(broken.into()));
        assert_eq!(of(1, watch(3, Fail, 1, 0)), Steadiness::Asking);
        assert_eq!(of(1, watch(4, Pass, 0, 0)), Steadiness::Steady);
        assert_eq!(of(0, watch(3, Error, 0, 2)), Steadiness::Asking);
        assert!(
            matches!(of(0, watch(3, Error, 0, 3)), Steadiness::Broken(why) if why.contains("no answer"))
        );
        // Ledgers count nothing yet.
        let unasked = watch(0, ProbeState::Unasked, 0, 0);
        assert_eq!(steadiness(&[ledger()], &unasked), Steadiness::Steady);
    }

    #[test]
    fn a_run_ends_by_probes_that_halt_and_by_those_that_are_blind() {
        let of = |during: &str, broke: u32, errors: u32| {
            let mut watch = watch(3, ProbeState::Fail, 0, errors);
            watch.probes[0].broke = broke;
            why_to_end(&[probing(during, 0)], &watch, at(0)).map(|(reason, _)| reason)
        };
        assert_eq!([of("Halt", 0, 2), of("Halt", 1, 0)], [None, Some(ProbeBroke)]);
        assert_eq!([of("Halt", 0, 3), of("MustBreak", 0, 3)], [Some(ProbeBlind); 2]);
        assert_eq!([of("Record", 5, 5), of("MustBreak", 5, 2)], [None; 2]);
    }

    #[test]
    fn a_run_ends_where_a_probe_is_not_answered_for_too_long() {
        // Three times 10s, its timeout of 10s, and 5s.
        let of = |during: &str, asked: Option<i64>, began: i64, now: i64| {
            let mut watch = watch(3, ProbeState::Pass, 0, 0);
            watch.began = at(began);
            watch.probes[0].asked = asked.map(|second| Time(at(second)));
            why_to_end(&[probing(during, 0)], &watch, at(now))
        };
        let blind = "probe web had no answer for more than 45s";
        for during in ["Halt", "MustBreak"] {
            assert_eq!(of(during, Some(100), 0, 145), None);
            assert_eq!(of(during, Some(100), 0, 146), Some((ProbeBlind, blind.to_owned())));
            // Another leader begins to ask first.
            assert_eq!(of(during, Some(100), 200, 245), None);
            assert!(of(during, Some(100), 200, 246).is_some());
            assert!(of(during, None, 0, 46).is_some());
        }
        assert_eq!(of("Record", None, 0, 1_000), None);
        let unasked = watch(0, ProbeState::Unasked, 0, 0);
        assert_eq!(why_to_end(&[ledger()], &unasked, at(1_000)), None);
    }

    #[test]
    fn a_steady_state_is_not_waited_for_for_ever() {
        let of = |answers: u32, now: i64| {
            too_late(&[probing("Record", 0)], &watch(answers, ProbeState::Pass, 0, 0), at(now))
        };
        assert_eq!([of(2, 149), of(3, 149)], [None, None]);
        assert!(of(2, 150).is_some_and(|why| why.contains("probe web had no answer")));
        assert!(of(3, 150).is_some_and(|why| why.contains("every probe holds")));
        let unasked = watch(0, ProbeState::Unasked, 0, 0);
        assert_eq!(too_late(&[ledger()], &unasked, at(1_000)), None);
    }

    #[test]
    fn what_held_once_and_does_not_at_the_end_has_not_recovered() {
        for state in [ProbeState::Fail, ProbeState::Error] {
            let mut watch = watch(3, state, 0, 0);
            watch.probes[0].recovered = true;
            let of = |now| recovery(&[probing("Halt", 0)], &watch.probes, at(100), at(now));
            assert_eq!([of(109), of(110)], [Recovery::Waiting, Recovery::Over]);
        }
    }

    #[test]
    fn recovery_waits_for_each_probe_as_long_as_it_may_take() {
        let of = |recovered: bool, now: i64| {
            let state = if recovered { ProbeState::Pass } else { ProbeState::Fail };
            let mut watch = watch(3, state, 0, 0);
            watch.probes[0].recovered = recovered;
            recovery(&[probing("Record", 0)], &watch.probes, at(100), at(now))
        };
        assert_eq!([of(false, 109), of(false, 110)], [Recovery::Waiting, Recovery::Over]);
        assert_eq!(of(true, 101), Recovery::Over);
        let unasked = watch(0, ProbeState::Unasked, 0, 0);
        assert_eq!(recovery(&[ledger()], &unasked.probes, at(0), at(0)), Recovery::Over);
        let said =
            not_recovered(&probing("Record", 0), &watch(3, ProbeState::Fail, 1, 0).probes[0]);
        assert_eq!(said, "probe web did not hold again within 10s: 500, 2ms");
    }
}
