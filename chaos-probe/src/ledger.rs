//! Judges what the kernels have counted.

use chaos_api::kinds::{LedgerSums, Probe};
use chaos_expression::Variables;
use jiff::Timestamp;

use crate::{
    Outcome, Sample,
    expectation::{Answer, Expectation},
    question::Question,
};

/// Judges a `ledger` probe by these counts.
pub fn judge_ledger(probe: &Probe, sums: &LedgerSums, at: Timestamp) -> Sample {
    let failed = |why: &str| Sample::new(at, Outcome::Error, None, why).shown(&[]);
    let Some(question @ Question::Ledger) = Question::of(probe) else {
        return failed("it is no ledger probe");
    };
    let expectation = match Expectation::of(probe, question) {
        Ok(expectation) => expectation,
        Err(error) => return failed(&format!("expect: {error}")),
    };
    let LedgerSums { matched, injected, shadowed, spared, lost } = *sums;
    let mut variables = Variables::default();
    for (name, count) in [
        ("matched", matched),
        ("injected", injected),
        ("shadowed", shadowed),
        ("spared", spared),
        ("lost", lost),
    ] {
        variables = variables.int(name, count.try_into().unwrap_or(i64::MAX));
    }
    let seen = format!("{injected} of {matched} injected, {lost} lost");
    let value = Some(injected as f64);
    expectation.judge(Answer { variables, value, seen }, None, at).shown(&[])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn counts_are_judged() {
        let sums = LedgerSums { matched: 1000, injected: 100, shadowed: 0, spared: 900, lost: 1 };
        for (expect, outcome) in [
            ("injected >= 100", Outcome::Pass),
            ("value >= 100", Outcome::Pass),
            ("injected > matched / 2", Outcome::Fail),
            ("lost == 0", Outcome::Fail),
            ("injected + spared + shadowed + lost == matched", Outcome::Fail),
            ("status == 200", Outcome::Error),
            ("injected / shadowed > 1", Outcome::Error),
        ] {
            let probe = json!({ "name": "hit", "ledger": {}, "expect": expect });
            let probe = serde_json::from_value(probe).unwrap();
            let sample = judge_ledger(&probe, &sums, Timestamp::UNIX_EPOCH);
            assert_eq!(sample.outcome, outcome, "{expect}: {}", sample.seen);
            assert!(sample.seen.starts_with("100 of 1000 injected") || outcome == Outcome::Error);
        }
    }
}
