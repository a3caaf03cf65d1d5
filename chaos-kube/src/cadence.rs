//! Decides when the ledgers of a pod are read next, for its status. Pure.
//!
//! Counts are news of which each is a write to the API server and is sent to everybody who watches
//! pods. So a node writes about one a second at most, however many of its pods are armed. What
//! becomes of a fault, in contrast, is told at once.

use std::time::{Duration, Instant};

/// Counts of a pod are written no more often than this.
const SHORTEST: Duration = Duration::from_secs(3);
/// For each armed pod of the node.
const FOR_EACH: Duration = Duration::from_secs(1);
/// The interval is longer by up to this share, so that the nodes of a cluster keep no common time.
const JITTER: f64 = 0.2;
/// A phase that should have changed by now is looked at again after this.
const AGAIN: Duration = Duration::from_millis(200);

/// When the next look at a pod is due. `armed` are the pods of the node that are, `dice` says where
/// from 0 to 1 in the jitter this one is, and `change` is when the phase of one of its faults is to
/// change next, from now on.
pub(super) fn next_look(
    now: Instant,
    armed: usize,
    dice: f64,
    change: Option<Duration>,
) -> Instant {
    let armed = u32::try_from(armed).unwrap_or(u32::MAX);
    let interval = SHORTEST.max(FOR_EACH.saturating_mul(armed));
    let interval = interval + interval.mul_f64(JITTER * dice.clamp(0.0, 1.0));
    now + change.map_or(interval, |change| change.max(AGAIN).min(interval))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// How many looks there are in ten minutes, and the longest time between two at one pod.
    fn simulate(pods: usize) -> (usize, Duration) {
        let start = Instant::now();
        let dice = |look: usize| (look % 11) as f64 / 10.0;
        let mut due: Vec<Instant> =
            (0..pods).map(|pod| next_look(start, pods, dice(pod), None)).collect();
        let (mut looks, mut longest) = (0, Duration::ZERO);
        while let Some((pod, at)) = due.iter().copied().enumerate().min_by_key(|(_, at)| *at)
            && at < start + 10 * MINUTE
        {
            looks += 1;
            due[pod] = next_look(at, pods, dice(looks), None);
            longest = longest.max(due[pod] - at);
        }
        (looks, longest)
    }

    #[test]
    fn a_node_writes_one_count_a_second_at_most_and_a_pod_one_in_three() {
        for (pods, most, interval) in
            [(1, 200, 3), (2, 400, 3), (3, 600, 3), (10, 600, 10), (64, 600, 64), (500, 600, 500)]
        {
            let (looks, longest) = simulate(pods);
            assert!(looks <= most, "{looks} of {most} for {pods} pods");
            assert!(looks * 13 >= most * 10 - pods * 10, "{looks} are far too few for {pods} pods");
            assert!(longest <= Duration::from_secs(interval).mul_f64(1.0 + JITTER));
        }
    }

    #[test]
    fn a_change_of_phase_is_looked_at_when_it_comes() {
        let now = Instant::now();
        let next = |change| next_look(now, 64, 0.5, Some(change)) - now;
        assert_eq!(next(Duration::from_secs(5)), Duration::from_secs(5));
        assert_eq!(next(Duration::ZERO), AGAIN, "but not without a pause");
        assert_eq!(next(100 * MINUTE), next_look(now, 64, 0.5, None) - now);
    }

    #[test]
    fn jitter_only_lengthens() {
        let now = Instant::now();
        let next = |dice| next_look(now, 1, dice, None) - now;
        assert_eq!(next(0.0), SHORTEST);
        assert_eq!(next(1.0), SHORTEST.mul_f64(1.2));
        assert_eq!((next(-1.0), next(2.0)), (next(0.0), next(1.0)));
    }
}
