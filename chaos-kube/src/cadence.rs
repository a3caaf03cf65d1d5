//! Decides when the ledgers of a pod are read next, for its status. Pure.
//!
//! Counts are news of which each is a write to the API server and is sent to everybody who watches
//! pods. So a node writes about one a second at most, and all nodes together as many as the API
//! server can bear beside its other work, however many pods are armed. What becomes of a fault, in
//! contrast, is told at once.

use std::time::{Duration, Instant};

/// Counts of a pod are written no more often than this.
const SHORTEST: Duration = Duration::from_secs(3);
/// For each armed pod of the node.
const FOR_EACH: Duration = Duration::from_secs(1);
/// All nodes of a cluster together write so many counts a second.
const OF_CLUSTER: usize = 200;
/// However many pods of the cluster are said to be armed, and however slow the server is, counts are
/// written no less often than this: the number may be wrong.
const LONGEST_BY_SERVER: Duration = Duration::from_secs(15 * 60);
/// The time between two counts of a pod is so many times that of an answer: a server that is slow because too much is
/// written is written less.
const ANSWERS: u32 = 40;
/// The interval is longer by up to this share, so that the nodes of a cluster keep no common time.
const JITTER: f64 = 0.2;
/// A phase that should have changed by now is looked at again after this.
const AGAIN: Duration = Duration::from_millis(200);

/// How many pods are armed, and what the API server bears.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub on_node: usize,
    /// As the guard's Lease says; 0 where it does not.
    pub in_cluster: usize,
    /// How long its answers take.
    pub latency: Duration,
}

impl Load {
    /// The time between two counts of one pod, without jitter.
    fn interval(self) -> Duration {
        let on_node = u32::try_from(self.on_node).unwrap_or(u32::MAX);
        let in_cluster = Duration::from_secs(self.in_cluster.div_ceil(OF_CLUSTER) as u64);
        let by_latency = self.latency.saturating_mul(ANSWERS);
        let by_server = in_cluster.max(by_latency).min(LONGEST_BY_SERVER);
        SHORTEST.max(FOR_EACH.saturating_mul(on_node)).max(by_server)
    }
}

/// When the next look at a pod is due under this load. `dice` says where from 0 to 1 in
/// the jitter this one is, and `change` is when the phase of one of its faults is to change next,
/// from now on.
pub(super) fn next_look(now: Instant, load: Load, dice: f64, change: Option<Duration>) -> Instant {
    let interval = load.interval();
    let interval = interval + interval.mul_f64(JITTER * dice.clamp(0.0, 1.0));
    now + change.map_or(interval, |change| change.max(AGAIN).min(interval))
}

/// When a look is due that was to be at `next`, now that fewer pods of the cluster are armed than when that was said: no
/// later than two intervals from now. `dice` spreads those that have waited for longer.
pub(super) fn sooner(next: Instant, now: Instant, load: Load, dice: f64) -> Instant {
    let interval = load.interval();
    next.min(now + interval + interval.mul_f64(dice.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn on_node(on_node: usize) -> Load {
        Load { on_node, in_cluster: 0, latency: Duration::ZERO }
    }

    /// How many looks there are in ten minutes, and the longest time between two at one pod.
    fn simulate(pods: usize) -> (usize, Duration) {
        let start = Instant::now();
        let dice = |look: usize| (look % 11) as f64 / 10.0;
        let mut due: Vec<Instant> =
            (0..pods).map(|pod| next_look(start, on_node(pods), dice(pod), None)).collect();
        let (mut looks, mut longest) = (0, Duration::ZERO);
        while let Some((pod, at)) = due.iter().copied().enumerate().min_by_key(|(_, at)| *at)
            && at < start + 10 * MINUTE
        {
            looks += 1;
            due[pod] = next_look(at, on_node(pods), dice(looks), None);
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
    fn all_nodes_together_write_no_more_than_the_cluster_bears() {
        for (nodes, on_each, seconds) in [
            // Here nodes alone would write no more.
            (1, 1, 3),
            (200, 3, 3),
            (200, 30, 30),
            // Here they would.
            (600, 1, 3),
            (6_000, 1, 30),
            (5_000, 30, 750),
        ] {
            let armed = Load { in_cluster: nodes * on_each, ..on_node(on_each) };
            assert_eq!(armed.interval().as_secs(), seconds, "{armed:?}");
            let a_second = armed.in_cluster as f64 / armed.interval().as_secs_f64();
            assert!(a_second <= OF_CLUSTER as f64, "{a_second} a second by {armed:?}");
        }
    }

    #[test]
    fn a_wrong_number_of_the_cluster_silences_nobody() {
        for in_cluster in [usize::MAX, 1_000_000_000] {
            assert_eq!(Load { in_cluster, ..on_node(1) }.interval(), LONGEST_BY_SERVER);
        }
    }

    #[test]
    fn where_fewer_are_armed_nobody_waits_for_longer_than_they_make_him() {
        let now = Instant::now();
        let [many, few] = [1_000_000_000, 6].map(|in_cluster| Load { in_cluster, ..on_node(1) });
        let late = next_look(now, many, 0.5, None);
        for (dice, seconds) in [(-1.0, 3.0), (0.0, 3.0), (0.5, 4.5), (1.0, 6.0), (2.0, 6.0)] {
            assert_eq!((sooner(late, now, few, dice) - now).as_secs_f64(), seconds);
        }
        let soon = now + Duration::from_secs(1);
        assert_eq!(sooner(soon, now, few, 0.0), soon);
    }

    #[test]
    fn a_slow_server_is_written_less() {
        let under = |latency| Load { latency, ..on_node(1) }.interval();
        assert_eq!(under(Duration::from_millis(20)), SHORTEST, "that is as it should be");
        assert_eq!(under(Duration::from_secs(2)), Duration::from_secs(80));
        assert_eq!(under(Duration::MAX), LONGEST_BY_SERVER);
    }

    #[test]
    fn a_change_of_phase_is_looked_at_when_it_comes() {
        let now = Instant::now();
        let next = |change| next_look(now, on_node(64), 0.5, Some(change)) - now;
        assert_eq!(next(Duration::from_secs(5)), Duration::from_secs(5));
        assert_eq!(next(Duration::ZERO), AGAIN, "but not without a pause");
        assert_eq!(next(100 * MINUTE), next_look(now, on_node(64), 0.5, None) - now);
    }

    #[test]
    fn jitter_only_lengthens() {
        let now = Instant::now();
        let next = |dice| next_look(now, on_node(1), dice, None) - now;
        assert_eq!(next(0.0), SHORTEST);
        assert_eq!(next(1.0), SHORTEST.mul_f64(1.2));
        assert_eq!((next(-1.0), next(2.0)), (next(0.0), next(1.0)));
    }
}
