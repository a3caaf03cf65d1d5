//! Judges whether a run did what was asked for, by what the kernels have counted. Pure: it goes by the status of the run
//! alone, so whoever leads when it ends says the same.
//!
//! A chance is taken for each event on its own, so the number of hits follows a binomial distribution, or a sum of
//! some. A share is off if so many hits, or so few, have a probability below 1 in 10,000 by Hoeffding's bound, which
//! holds for sums, too: <https://doi.org/10.1080/01621459.1963.10500830>, theorem 1. What is decided for whole flows, in
//! bursts or by counting is told, and not judged.

use chaos_api::kinds::{
    Evidence, LedgerSums, Mode, RunStatus, Step, StepStatus, Verdict,
    VerdictReason::{
        self, AllInjected, CallsMissed, EndedEarly, LeaseLapsed, LedgerGap, LittleTraffic, Lost,
        NoTraffic, NotAllArmed, NothingDone, NothingHit, PlanOnly, ShareOff, TargetsRefused,
    },
};

use crate::counted::counted;

/// The logarithm of 20,000: each side has half of 1 in 10,000.
const BOUND: f64 = 9.903_487_552_536_128;

/// A chance is judged when so many hits are to be expected.
const ENOUGH: f64 = 5.0;

/// How many events may have been spared by a lease that had lapsed: an agent that ends what it has armed withdraws the
/// lease first, and what comes then counts as well.
const LAPSED: Tolerance = Tolerance { number: 10, one_of: 20 };

/// How many calls may have been missed.
const MISSED: Tolerance = Tolerance { number: 10, one_of: 100 };

/// What is too little to speak against a step: this number, or one of so many.
struct Tolerance {
    number: u64,
    one_of: u64,
}

impl Tolerance {
    fn is_exceeded(&self, found: u64, of: u64) -> bool {
        found > self.number && found.saturating_mul(self.one_of) > of
    }
}

/// What is said of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub reason: VerdictReason,
    pub message: String,
}

impl Judgement {
    fn new(verdict: Verdict, reason: VerdictReason, message: impl Into<String>) -> Self {
        Self { verdict, reason, message: message.into() }
    }
}

/// Judges a run that has ended.
pub fn judge(status: &RunStatus, mode: Mode) -> Judgement {
    if mode == Mode::Plan {
        return Judgement::new(Verdict::Inconclusive, PlanOnly, "nothing was to be done");
    }
    let steps = status.spec.iter().flat_map(|spec| &spec.steps).zip(&status.steps);
    let begun: Vec<(&Step, &StepStatus)> =
        steps.filter(|(step, status)| breaks_pods(step) && status.started.is_some()).collect();
    if begun.is_empty() {
        let message = "no step that breaks pods has begun";
        return Judgement::new(Verdict::Inconclusive, NothingDone, message);
    }
    for (verdict, look) in [
        (Verdict::Mismatch, contradiction as fn(&Step, &StepStatus) -> Option<_>),
        (Verdict::Inconclusive, lack),
    ] {
        let mut found = begun.iter().filter_map(|(step, status)| Some((step, look(step, status)?)));
        if let Some((step, (reason, what))) = found.next() {
            return Judgement::new(verdict, reason, format!("step {}: {what}", step.name));
        }
    }
    Judgement::new(Verdict::Confirmed, AllInjected, in_words(&begun))
}

fn breaks_pods(step: &Step) -> bool {
    step.fault.is_some() || step.pods.is_some()
}

/// What speaks against a step, if anything does.
fn contradiction(step: &Step, status: &StepStatus) -> Option<(VerdictReason, String)> {
    let StepStatus { picked, ledger, evidence, .. } = status;
    let &Evidence { armed, refused, early, drawn, expected, hit, lapsed, .. } = evidence;
    if refused > 0 {
        return Some((TargetsRefused, format!("{refused} of {picked} pods were refused")));
    }
    if armed < *picked {
        let what = if step.pods.is_some() { "removed" } else { "armed" };
        return Some((NotAllArmed, format!("{armed} of {picked} pods were {what}")));
    }
    if ledger.lost > 0 {
        let lost = ledger.lost;
        return Some((Lost, format!("{} to be hit could not be", counted(lost, "event"))));
    }
    if early > 0 {
        return Some((
            EndedEarly,
            format!("the faults of {early} pods were over before their time"),
        ));
    }
    if LAPSED.is_exceeded(lapsed, ledger.matched) {
        let of = ledger.matched;
        return Some((
            LeaseLapsed,
            format!(
                "{lapsed} of {of} events passed while an agent hung, or was kept from the processor"
            ),
        ));
    }
    is_off(drawn, expected, hit).then(|| {
        let asked = expected.round();
        (ShareOff, format!("{hit} of {drawn} events were hit, and {asked} were to be expected"))
    })
}

/// What a step lacks to be proven, if anything.
fn lack(step: &Step, status: &StepStatus) -> Option<(VerdictReason, String)> {
    step.fault.as_ref()?;
    let Evidence { gap, drawn, expected, unfit, missed, .. } = status.evidence;
    let LedgerSums { matched, injected, shadowed, .. } = status.ledger;
    if gap {
        let what = "an agent was started again, and has counted anew since";
        return Some((LedgerGap, what.to_owned()));
    }
    if matched == 0 {
        return Some((NoTraffic, "nothing has met its faults".to_owned()));
    }
    if drawn > 0 && expected < ENOUGH {
        let what =
            format!("{drawn} events have met a chance, of which {expected:.1} were to be hit");
        return Some((LittleTraffic, format!("{what}: too few to judge it")));
    }
    if injected + shadowed == 0 {
        let what = format!("{} met its faults, and none was hit", counted(matched, "event"));
        let why = format!("{unfit} of them could not be held or damaged");
        return Some((NothingHit, if unfit > 0 { format!("{what}: {why}") } else { what }));
    }
    MISSED.is_exceeded(missed, matched).then(|| {
        let what = format!("beside {} up to {missed} were missed", counted(matched, "call"));
        (CallsMissed, format!("{what}, neither failed nor counted"))
    })
}

/// Whether so many hits do not go with what was to be expected of so many events.
fn is_off(drawn: u64, expected: f64, hit: u64) -> bool {
    if drawn == 0 {
        return false;
    }
    let (drawn, hit) = (drawn as f64, hit as f64);
    let (asked, found) = ((expected / drawn).clamp(0.0, 1.0), (hit / drawn).clamp(0.0, 1.0));
    drawn * divergence(found, asked) > BOUND
}

/// How far a share is from another one: the divergence of Kullback and Leibler.
fn divergence(found: f64, asked: f64) -> f64 {
    let part = |found: f64, asked: f64| match found {
        0.0 => 0.0,
        _ => found * (found / asked).ln(),
    };
    part(found, asked) + part(1.0 - found, 1.0 - asked)
}

fn in_words(begun: &[(&Step, &StepStatus)]) -> String {
    let words = begun.iter().map(|(step, status)| {
        let StepStatus { picked, ledger, .. } = status;
        match &step.pods {
            Some(_) => format!("step {}: {picked} of {picked} pods were removed", step.name),
            None => {
                let hit = ledger.injected + ledger.shadowed;
                let of = ledger.matched;
                let name = &step.name;
                let words = format!(
                    "step {name}: {picked} of {picked} pods were armed, and {hit} of {of} events hit"
                );
                let Evidence { unfit, missed, .. } = status.evidence;
                let unfit = (unfit > 0).then(|| format!("{unfit} could not be held or damaged"));
                let missed = (missed > 0).then(|| format!("up to {missed} calls were missed"));
                let but: Vec<String> = unfit.into_iter().chain(missed).collect();
                if but.is_empty() { words } else { format!("{words} ({})", but.join(", ")) }
            }
        }
    });
    words.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use chaos_api::kinds::{Experiment, RunPhase, StepPhase};
    use chaos_ebpf_common::hash;
    use serde_json::json;

    use super::*;

    /// A run of one step that has ended.
    fn ended(evidence: Evidence, ledger: LedgerSums) -> RunStatus {
        let spec = json!({ "apiVersion": "chaos-agent.dev/v1alpha1", "kind": "Experiment", "metadata": {}, "spec": {
            "targets": { "web": { "pods": {} } },
            "steps": [{ "name": "slow", "fault": { "target": "web", "do": "drop 10%", "for": "1m" } }],
        }});
        let spec = serde_json::from_value::<Experiment>(spec).unwrap().spec;
        let status = json!({ "phase": "Finished", "steps": [{
            "name": "slow", "phase": "Done", "started": "2026-11-28T10:00:00Z", "picked": 4 }] });
        let mut status: RunStatus = serde_json::from_value(status).unwrap();
        assert_eq!((status.phase, status.steps[0].phase), (RunPhase::Finished, StepPhase::Done));
        status.spec = Some(spec);
        status.steps[0].evidence = evidence;
        status.steps[0].ledger = ledger;
        status
    }

    fn good() -> (Evidence, LedgerSums) {
        let evidence =
            Evidence { armed: 4, drawn: 1_000, expected: 100.0, hit: 103, ..Evidence::default() };
        let ledger =
            LedgerSums { matched: 1_000, injected: 103, spared: 897, ..LedgerSums::default() };
        (evidence, ledger)
    }

    fn reason(change: impl FnOnce(&mut Evidence, &mut LedgerSums)) -> (Verdict, VerdictReason) {
        let (mut evidence, mut ledger) = good();
        change(&mut evidence, &mut ledger);
        let judgement = judge(&ended(evidence, ledger), Mode::Armed);
        (judgement.verdict, judgement.reason)
    }

    #[test]
    fn each_reason_is_given() {
        use Verdict::{Confirmed, Inconclusive, Mismatch};
        assert_eq!(reason(|_, _| ()), (Confirmed, AllInjected));
        assert_eq!(reason(|evidence, _| evidence.refused = 1), (Mismatch, TargetsRefused));
        assert_eq!(reason(|evidence, _| evidence.armed = 3), (Mismatch, NotAllArmed));
        assert_eq!(reason(|_, ledger| ledger.lost = 1), (Mismatch, Lost));
        assert_eq!(reason(|evidence, _| evidence.early = 1), (Mismatch, EndedEarly));
        assert_eq!(reason(|evidence, _| evidence.lapsed = 51), (Mismatch, LeaseLapsed));
        assert_eq!(reason(|evidence, _| evidence.lapsed = 50), (Confirmed, AllInjected));
        // What came while its faults were taken away.
        let at_the_end = |evidence: &mut Evidence, ledger: &mut LedgerSums| {
            (ledger.matched, ledger.injected, ledger.spared) = (29, 26, 3);
            (evidence.drawn, evidence.expected, evidence.hit) = (0, 0.0, 0);
            evidence.lapsed = 3;
        };
        assert_eq!(reason(at_the_end), (Confirmed, AllInjected));
        assert_eq!(reason(|evidence, _| evidence.hit = 200), (Mismatch, ShareOff));
        assert_eq!(reason(|evidence, _| evidence.hit = 0), (Mismatch, ShareOff));
        assert_eq!(reason(|evidence, _| evidence.gap = true), (Inconclusive, LedgerGap));
        let silent = |evidence: &mut Evidence, ledger: &mut LedgerSums| {
            *ledger = LedgerSums::default();
            (evidence.drawn, evidence.expected, evidence.hit) = (0, 0.0, 0);
        };
        assert_eq!(reason(silent), (Inconclusive, NoTraffic));
        // Without a chance, and each event was too large, for example.
        let passed = |evidence: &mut Evidence, ledger: &mut LedgerSums| {
            (ledger.injected, ledger.spared) = (0, ledger.matched);
            (evidence.drawn, evidence.expected, evidence.hit) = (0, 0.0, 0);
            evidence.unfit = ledger.matched;
        };
        assert_eq!(reason(passed), (Inconclusive, NothingHit));
        assert_eq!(reason(|evidence, _| evidence.missed = 11), (Inconclusive, CallsMissed));
        assert_eq!(reason(|evidence, _| evidence.missed = 10), (Confirmed, AllInjected));
        let few = |evidence: &mut Evidence, _: &mut LedgerSums| {
            (evidence.drawn, evidence.expected, evidence.hit) = (20, 2.0, 1);
        };
        assert_eq!(reason(few), (Inconclusive, LittleTraffic));
        let (evidence, ledger) = good();
        let status = ended(evidence, ledger);
        assert_eq!(judge(&status, Mode::Plan).reason, PlanOnly);
        let mut before = status.clone();
        before.steps[0].started = None;
        assert_eq!(judge(&before, Mode::Armed).reason, NothingDone);
        let message = "step slow: 4 of 4 pods were armed, and 103 of 1000 events hit";
        assert_eq!(judge(&status, Mode::Shadow).message, message);
        let mut damaged = status.clone();
        (damaged.steps[0].evidence.unfit, damaged.steps[0].evidence.missed) = (7, 3);
        let message =
            format!("{message} (7 could not be held or damaged, up to 3 calls were missed)");
        assert_eq!(judge(&damaged, Mode::Armed).message, message);
    }

    /// A number that follows from two others, between 0 and 1.
    fn draw(seed: u64, number: u64) -> f64 {
        (hash::nth(seed, number) >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[test]
    fn chance_is_believed_and_a_lie_is_not() {
        let mut doubted = 0;
        for case in 1..=10_000 {
            let events = 1 + (draw(case, 1) * 2_000.0) as u64;
            let chance = (1.0 + (draw(case, 2) * 98.0).floor()) / 100.0;
            let expected = events as f64 * chance;
            let is_hit = |event: &u64| draw(case << 20, *event) < chance;
            let hit = (1..=events).filter(is_hit).count() as u64;
            doubted += u64::from(is_off(events, expected, hit));
            // An agent that claims far more than it was told to, or nothing.
            let claimed = (hit * (2 + case % 3)).min(events);
            let far = expected + 6.0 * (expected * (1.0 - chance)).sqrt() + 12.0;
            let is_caught = claimed as f64 <= far || is_off(events, expected, claimed);
            assert!(is_caught, "{claimed} of {events} at {chance}");
            assert!(expected < 12.0 || is_off(events, expected, 0), "none of {events} at {chance}");
        }
        // One is to be expected, at most.
        assert!(doubted <= 5, "{doubted} of 10000");
    }
}
