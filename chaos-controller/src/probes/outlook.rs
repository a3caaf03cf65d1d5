//! Says what follows from what probes have seen.

use chaos_api::kinds::{
    During, ProbeState, ProbeStatus, Reason,
    Reason::{ProbeBlind, ProbeBroke},
};
use chaos_fault::print_duration;
use jiff::{SignedDuration, Timestamp};

use super::{Probing, Watch};

/// So often each probe is asked before anything is broken.
const BEFORE: u32 = 3;

/// When so many questions in a row have no usable answer, nobody sees what becomes of the service.
const BLIND: u32 = 3;

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
    /// Each probe has held again, or its time is over.
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

/// Why a run is to end at once while pods are broken, if it is.
pub fn why_to_end(probings: &[Probing], probes: &[ProbeStatus]) -> Option<(Reason, String)> {
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
        During::Halt | During::Record | During::MustBreak => None,
    };
    let mut asked = probings.iter().zip(probes).filter(|(probing, _)| probing.is_asked());
    asked.clone().find_map(broke).or_else(|| asked.find_map(blind))
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
        let recover = SignedDuration::try_from(probing.recover).unwrap_or(SignedDuration::MAX);
        probing.is_asked() && !probe.recovered && now.duration_since(since) < recover
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
    use serde_json::json;

    use super::{super::Before, *};

    fn probing(during: &str, tolerate: u32) -> Probing {
        let http = json!({ "url": "http://web" });
        let probe = json!({ "name": "web", "http": http, "during": during, "tolerate": tolerate });
        let probe: Probe = serde_json::from_value(probe).unwrap();
        let second = std::time::Duration::from_secs(10);
        Probing { probe, every: second, recover: second }
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
        Watch { probes: vec![probe], before: vec![Before { answers, values: Vec::new() }] }
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
            why_to_end(&[probing(during, 0)], &watch.probes).map(|(reason, _)| reason)
        };
        assert_eq!([of("Halt", 0, 2), of("Halt", 1, 0)], [None, Some(ProbeBroke)]);
        assert_eq!([of("Halt", 0, 3), of("MustBreak", 0, 3)], [Some(ProbeBlind); 2]);
        assert_eq!([of("Record", 5, 5), of("MustBreak", 5, 2)], [None; 2]);
    }

    #[test]
    fn recovery_waits_for_each_probe_as_long_as_it_may_take() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let of = |recovered: bool, now: i64| {
            let mut watch = watch(3, ProbeState::Fail, 0, 0);
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
