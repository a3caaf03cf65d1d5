//! How much of what happened the ring could not keep. The ring is a sample and the ledger is
//! exact, so the difference is what was lost.

/// The records of one ledger slot against its count.
#[derive(Debug, Default)]
pub(super) struct Sample {
    drained: u64,
    lost: u64,
    counted: u64,
}

impl Sample {
    /// One record came out of the ring.
    pub fn drained(&mut self) {
        self.drained += 1;
    }

    /// How many records were lost since this was last asked, when the ledger has `counted` acts
    /// and the ring was drained after that was read.
    ///
    /// A program counts a moment before it writes the record, so what is missing of the latest
    /// count may still be on its way; the count of the time before is compared.
    pub fn lost(&mut self, counted: u64) -> u64 {
        let before = std::mem::replace(&mut self.counted, counted);
        self.missing_of(before)
    }

    /// The same when no program acts any more.
    pub fn lost_at_last(&mut self, counted: u64) -> u64 {
        self.missing_of(counted)
    }

    fn missing_of(&mut self, counted: u64) -> u64 {
        let missing = counted.saturating_sub(self.drained + self.lost);
        self.lost += missing;
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(sample: &mut Sample, number: u64) {
        (0..number).for_each(|_| sample.drained());
    }

    #[test]
    fn what_is_on_its_way_is_not_lost() {
        let mut sample = Sample::default();
        drain(&mut sample, 9);
        assert_eq!(sample.lost(10), 0);
        drain(&mut sample, 1);
        assert_eq!(sample.lost(10), 0);
        assert_eq!(sample.lost_at_last(10), 0);
    }

    #[test]
    fn everything_lost_is_told_once() {
        let mut sample = Sample::default();
        drain(&mut sample, 1000);
        assert_eq!(sample.lost(5000), 0);
        assert_eq!(sample.lost(5000), 4000);
        assert_eq!(sample.lost(5000), 0);
        drain(&mut sample, 10);
        assert_eq!(sample.lost_at_last(5013), 3);
        assert_eq!(sample.lost_at_last(5013), 0);
    }
}
