//! Counts of pods are told as often as the guard's Lease lets agents.

use super::{super::super::names::ARMED_PODS, cluster::Cluster, orders::play};

impl Cluster {
    /// What the status of a pod says that its first fault has matched.
    fn told(&self, pod: usize) -> u64 {
        self.status(pod).expect("it was answered").faults[0].counts.matched
    }
}

#[test]
fn a_wrong_number_of_armed_pods_holds_counts_up_until_it_is_mended() {
    play(|mut cluster| async move {
        cluster.match_events(10);
        cluster.annotate(0, Some("drop for 1h")).await;
        cluster.change_lease(|lease| lease.annotate(ARMED_PODS, Some("1000000000")));
        cluster.settle().await;
        cluster.pass(60).await;
        assert_eq!(cluster.told(0), 0);
        cluster.change_lease(|lease| lease.annotate(ARMED_PODS, Some("1")));
        cluster.settle().await;
        // Two intervals of one pod.
        cluster.pass(6).await;
        assert_eq!(cluster.told(0), 660);
    });
}
