//! Tells Grafana what waits, one annotation after the other, and tries again what fails.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{client::Client, queue::Queue};

/// Failures are told of this often.
const SILENCE: Duration = Duration::from_secs(60);

/// How long nothing is asked after a failure.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After the first; twice as long after each that follows.
    pub first: Duration,
    pub longest: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), longest: Duration::from_secs(60) }
    }
}

impl Pace {
    /// After so many failures in a row.
    fn pause(self, failures: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
        self.first.saturating_mul(doubled).min(self.longest)
    }
}

/// Tells, until it is dropped.
pub async fn work(queue: Arc<Queue>, client: Client, pace: Pace) {
    let (mut failures, mut said): (u32, Option<Instant>) = (0, None);
    loop {
        let next = queue.next().await;
        let error = match client.tell(&next).await {
            Ok(id) => {
                queue.done(&next, id);
                failures = 0;
                continue;
            }
            Err(error) => error,
        };
        queue.failed(&next, error.is_final());
        if said.is_none_or(|said| said.elapsed() >= SILENCE) {
            let (run, dropped) = (&next.annotation.title, queue.dropped());
            tracing::warn!(%error, run, dropped, "Grafana was not told of a run");
            said = Some(Instant::now());
        }
        failures = failures.saturating_add(1);
        sleep(pace.pause(failures)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let pauses = [1, 2, 7, u32::MAX].map(|failures| Pace::default().pause(failures).as_secs());
        assert_eq!(pauses, [1, 2, 60, 60]);
    }
}
