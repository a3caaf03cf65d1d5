//! Keeps how long the API server has taken to answer lately. Whoever writes notes it; whoever decides what is written reads it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chaos_plan::nanoseconds;

/// An answer has this share in what is kept: one slow answer is no slow server.
const SHARE: u64 = 4;

/// A moving average over answers, zero before the first. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Latency(Arc<AtomicU64>);

impl Latency {
    /// Takes in how long one answer has taken. Only one task does.
    pub fn note(&self, took: Duration) {
        let before = self.0.load(Ordering::Relaxed);
        let now = before - before / SHARE + nanoseconds(took) / SHARE;
        self.0.store(now, Ordering::Relaxed);
    }

    pub fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_answer_is_no_slow_server_and_many_are() {
        let latency = Latency::default();
        let (writer, second) = (latency.clone(), Duration::from_secs(1));
        writer.note(second);
        assert_eq!(latency.get(), second / 4);
        (0..30).for_each(|_| writer.note(second));
        assert!(latency.get() > second.mul_f64(0.99) && latency.get() <= second);
        (0..30).for_each(|_| writer.note(Duration::ZERO));
        assert!(latency.get() < second / 100);
    }
}
