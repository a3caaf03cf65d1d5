//! Keeps the answers of probes for a report, which has room for some: of those that were as expected every other one is
//! left out first.

use super::record::{OutcomeWord, SampleRecord};

/// Of one probe.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    kept: Vec<SampleRecord>,
    is_cut: bool,
}

impl Samples {
    /// Adds an answer.
    pub fn push(&mut self, sample: SampleRecord) {
        self.kept.push(sample);
    }

    /// Leaves answers out until there are no more than `most`. Whether these are the first that are left out.
    pub fn bound(&mut self, most: usize) -> bool {
        let (was_cut, is_full) = (self.is_cut, self.kept.len() > most.max(1));
        while self.kept.len() > most.max(1) {
            let before = self.kept.len();
            self.thin();
            // Of two, the first and the last stay.
            if self.kept.len() == before {
                self.kept.remove(0);
            }
        }
        self.is_cut |= is_full;
        self.is_cut && !was_cut
    }

    pub fn iter(&self) -> impl Iterator<Item = &SampleRecord> {
        self.kept.iter()
    }

    /// Leaves out every other answer that was as expected; if there are none, every other one. The last stays.
    fn thin(&mut self) {
        let last = self.kept.len() - 1;
        let is_pass = |sample: &SampleRecord| sample.outcome == OutcomeWord::Pass;
        let has_passes = self.kept[..last].iter().filter(|sample| is_pass(sample)).count() > 1;
        let (mut index, mut is_other) = (0, false);
        self.kept.retain(|sample| {
            let is_last = index == last;
            index += 1;
            if is_last || (has_passes && !is_pass(sample)) {
                return true;
            }
            is_other = !is_other;
            is_other
        });
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_was_answered_there_are_no_more_than_allowed_and_the_last_stays(
            passes in prop::collection::vec(any::<bool>(), 1..60),
            most in 0_usize..20,
        ) {
            let mut samples = Samples::default();
            for (second, is_pass) in (0..).zip(&passes) {
                let outcome = if *is_pass { OutcomeWord::Pass } else { OutcomeWord::Fail };
                samples.push(sample(second, outcome));
            }
            samples.bound(most);
            prop_assert!(samples.kept.len() <= most.max(1));
            let last = samples.kept.last().map(|one| one.at.as_second());
            prop_assert_eq!(last, Some(i64::try_from(passes.len()).unwrap() - 1));
        }
    }

    fn sample(second: i64, outcome: OutcomeWord) -> SampleRecord {
        let at = Timestamp::from_second(second).unwrap();
        SampleRecord { at, probe: "web".into(), outcome, value: None, seen: String::new() }
    }

    #[test]
    fn failures_stay_as_long_as_there_is_anything_else_to_leave_out() {
        let mut samples = Samples::default();
        for second in 0..5_000 {
            let is_failure = second % 100 == 7;
            let outcome = if is_failure { OutcomeWord::Fail } else { OutcomeWord::Pass };
            samples.push(sample(second, outcome));
            samples.bound(200);
        }
        let failures = samples.iter().filter(|one| one.outcome == OutcomeWord::Fail).count();
        assert_eq!(failures, 50);
        assert!(samples.kept.len() <= 200 && samples.kept.len() > 100, "{}", samples.kept.len());
        let (first, last) = (samples.kept[0].at.as_second(), samples.kept.last().unwrap().at);
        assert_eq!((first, last.as_second()), (0, 4_999));
    }

    #[test]
    fn failures_alone_are_bounded_too() {
        let mut samples = Samples::default();
        let mut told = 0;
        for second in 0..1_000 {
            let outcome = if second == 0 { OutcomeWord::Pass } else { OutcomeWord::Fail };
            samples.push(sample(second, outcome));
            told += u32::from(samples.bound(10));
        }
        assert_eq!(told, 1);
        assert!(samples.kept.len() <= 10, "{}", samples.kept.len());
        assert_eq!(samples.kept.last().unwrap().at.as_second(), 999);
    }
}
