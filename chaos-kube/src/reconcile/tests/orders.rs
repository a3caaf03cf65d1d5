//! Ends that others than the kernel's clock decide: a moment of the wall clock, the guard, the cluster's halt.

use std::future::Future;

use chaos_api::Phase;
use tokio::runtime::Builder;

use super::{
    super::super::{
        names::{HALT, HALTED_RUNS},
        status::{PodPhase, Status},
    },
    cluster::Cluster,
};

const SECOND: u64 = 1_000_000_000;

fn play<T: Future<Output = ()>>(scene: impl FnOnce(Cluster) -> T) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cluster = Cluster::new();
        for namespace in 0..2 {
            cluster.label(namespace, true).await;
        }
        cluster.create(0).await;
        cluster.create(1).await;
        cluster.settle().await;
        scene(cluster).await;
    });
}

impl Cluster {
    /// The sentences that are in the kernel, with their ends; boot clock, s.
    async fn in_kernel(&self) -> Vec<(String, u64)> {
        let reports = self.armed().await.into_iter().flat_map(|report| report.faults);
        reports.map(|fault| (fault.fault, fault.ends / SECOND)).collect()
    }

    async fn count(&self) -> usize {
        self.armed().await.len()
    }

    async fn ask(&mut self, pod: usize, text: &'static str) {
        self.annotate(pod, Some(text)).await;
        self.settle().await;
    }

    fn says(&self, pod: usize) -> (PodPhase, String) {
        let Status { phase, messages, .. } = self.status(pod).expect("it was answered");
        (phase, messages.join("; "))
    }

    fn phases(&self, pod: usize) -> Vec<Phase> {
        let status = self.status(pod).expect("it was answered");
        status.faults.iter().map(|fault| fault.phase).collect()
    }
}

#[test]
fn an_until_holds_by_the_boot_clock_whatever_the_wall_clock_is_set_to() {
    play(|mut cluster| async move {
        // The machine was started at 13:46:40, which is 1,000 s ago.
        let text = "drop for 5m until 1970-01-12T14:03:50Z as a/b; drop for 5m as a/b";
        let ends = vec![
            (text.split("; ").next().unwrap().to_owned(), 1_030),
            ("drop for 5m as a/b".to_owned(), 1_300),
        ];
        cluster.ask(0, text).await;
        assert_eq!(cluster.in_kernel().await, ends);
        for wall in ["1970-01-12T10:00:00Z", "1970-01-13T10:00:00Z"] {
            cluster.set_wall_clock(wall.parse().unwrap());
            for is_told in [true, false] {
                cluster.restart_agent(is_told).await;
                cluster.settle().await;
                assert_eq!(cluster.in_kernel().await, ends, "{wall}");
            }
        }
        cluster.set_wall_clock("1970-01-12T10:00:00Z".parse().unwrap());
        cluster.pass(30).await;
        assert_eq!(cluster.phases(0), [Phase::Ended, Phase::Active]);
        cluster.restart_agent(true).await;
        cluster.settle().await;
        assert_eq!(cluster.in_kernel().await, ends[1..]);
    });
}

#[test]
fn a_fault_whose_until_has_passed_is_never_armed() {
    play(|mut cluster| async move {
        cluster.ask(0, "drop until 1970-01-12T14:03:20Z").await;
        assert_eq!(cluster.count().await, 0);
        let (phase, says) = cluster.says(0);
        assert_eq!(phase, PodPhase::Ended);
        assert!(says.ends_with("its `until` has passed"), "{says}");
        // Nor when the clock is set back, nor by the next agent.
        cluster.set_wall_clock("1970-01-12T10:00:00Z".parse().unwrap());
        cluster.restart_container(0).await;
        cluster.pass(5).await;
        cluster.restart_agent(true).await;
        cluster.settle().await;
        assert_eq!(cluster.count().await, 0);
    });
}

#[test]
fn guarded_faults_end_when_the_guard_stands_still_and_do_not_come_back() {
    play(|mut cluster| async move {
        cluster.change_lease(|_| ());
        cluster.ask(0, "drop for 10m guarded").await;
        cluster.ask(1, "drop for 10m; corrupt for 10m guarded in container main").await;
        assert_eq!(cluster.in_kernel().await.len(), 1, "one is not guarded");
        assert!(cluster.says(0).1.contains("the guard has not moved"), "{:?}", cluster.says(0));
        cluster.pass_guarded(60).await;
        assert_eq!(cluster.count().await, 3);
        cluster.pass(40).await;
        assert_eq!(cluster.count().await, 3);
        cluster.pass(1).await;
        cluster.pass(5).await;
        assert_eq!(cluster.in_kernel().await, [("drop for 10m".to_owned(), 1_600)]);
        let (phase, says) = cluster.says(0);
        assert_eq!((phase, cluster.phases(0)), (PodPhase::Ended, vec![Phase::Ended]));
        assert!(says.ends_with("its guard stands still or is gone"), "{says}");
        assert_eq!(cluster.phases(1), [Phase::Active, Phase::Ended]);

        cluster.pass_guarded(10).await;
        assert_eq!(cluster.count().await, 1);
        cluster.restart_agent(true).await;
        cluster.settle().await;
        cluster.pass_guarded(10).await;
        assert_eq!(cluster.in_kernel().await, [("drop for 10m".to_owned(), 1_600)]);
        // What is asked for anew is another fault.
        cluster.ask(0, "drop for 9m guarded").await;
        assert_eq!(cluster.count().await, 2);
    });
}

#[test]
fn without_a_lease_nothing_is_guarded() {
    play(|mut cluster| async move {
        cluster.ask(0, "drop for 10m guarded").await;
        assert_eq!((cluster.count().await, cluster.says(0).0), (0, PodPhase::Ended));
        cluster.change_lease(|_| ());
        cluster.pass_guarded(10).await;
        cluster.ask(1, "drop for 10m guarded").await;
        assert_eq!(cluster.count().await, 1, "{:?}", cluster.says(1));
        cluster.delete_lease();
        cluster.settle().await;
        assert_eq!((cluster.count().await, cluster.says(1).0), (0, PodPhase::Ended));
    });
}

#[test]
fn an_agent_that_is_started_again_waits_until_the_guard_moves() {
    play(|mut cluster| async move {
        cluster.change_lease(|_| ());
        cluster.pass_guarded(10).await;
        cluster.ask(0, "drop for 10m guarded").await;
        let armed = cluster.in_kernel().await;
        cluster.restart_agent(false).await;
        cluster.settle().await;
        assert_eq!((cluster.count().await, cluster.says(0).0), (0, PodPhase::Waiting));
        cluster.pass_guarded(5).await;
        assert_eq!(cluster.in_kernel().await, armed, "its clock goes on");
        // Both are dead: the controller, and the agent for a moment.
        cluster.restart_agent(false).await;
        cluster.settle().await;
        cluster.pass(44).await;
        assert_eq!(cluster.says(0).0, PodPhase::Waiting);
        cluster.pass(1).await;
        assert_eq!(cluster.says(0).0, PodPhase::Ended);
    });
}

#[test]
fn a_guard_that_cannot_be_seen_for_too_long_is_none() {
    play(|mut cluster| async move {
        cluster.change_lease(|_| ());
        cluster.pass_guarded(10).await;
        cluster.ask(0, "drop for 10m guarded").await;
        cluster.ask(1, "drop for 10m").await;
        cluster.lose_server();
        for _ in 0..9 {
            cluster.pass(5).await;
        }
        assert_eq!(cluster.count().await, 0, "the grace is over");
        cluster.change_lease(|lease| lease.renewals += 1);
        cluster.find_server().await;
        cluster.pass(15).await;
        cluster.pass_guarded(10).await;
        assert_eq!(cluster.in_kernel().await, [("drop for 10m".to_owned(), 1_610)]);
        assert_eq!(cluster.says(0).0, PodPhase::Ended);
    });
}

#[test]
fn the_lever_ends_everything_and_what_was_asked_for_stays_over() {
    play(|mut cluster| async move {
        cluster.ask(0, "drop for 10m").await;
        assert_eq!(cluster.count().await, 1);
        cluster.change_lease(|lease| lease.annotate(HALT, Some("INC-4711")));
        cluster.settle().await;
        assert_eq!(cluster.count().await, 0);
        let (phase, says) = cluster.says(0);
        assert_eq!((phase, cluster.phases(0)), (PodPhase::Ended, vec![Phase::Ended]));
        assert!(says.starts_with("the cluster is halted: INC-4711"), "{says}");
        cluster.ask(1, "corrupt for 10m").await;
        assert_eq!((cluster.count().await, cluster.says(1).0), (0, PodPhase::Ended));
        cluster.ask(0, "drop for 9m").await;
        assert_eq!((cluster.phases(0), cluster.says(0).0), (vec![], PodPhase::Ended));
        // Deleting the Lease lifts nothing, nor does making it anew.
        cluster.delete_lease();
        cluster.settle().await;
        cluster.change_lease(|lease| lease.renewals += 1);
        cluster.settle().await;
        cluster.ask(1, "corrupt for 9m").await;
        assert_eq!((cluster.count().await, cluster.says(1).0), (0, PodPhase::Ended));

        cluster.change_lease(|lease| lease.annotate(HALT, Some("")));
        cluster.settle().await;
        cluster.restart_agent(true).await;
        cluster.settle().await;
        assert_eq!(cluster.count().await, 0);
        cluster.ask(1, "corrupt for 8m").await;
        assert_eq!(cluster.count().await, 1);
    });
}

#[test]
fn an_agent_that_is_started_under_the_lever_arms_nothing() {
    play(|mut cluster| async move {
        cluster.ask(0, "drop for 10m").await;
        cluster.lose_server();
        cluster.change_lease(|lease| lease.annotate(HALT, Some("INC-4711")));
        cluster.restart_agent(false).await;
        cluster.find_server().await;
        cluster.settle().await;
        assert_eq!((cluster.count().await, cluster.says(0).0), (0, PodPhase::Ended));
    });
}

#[test]
fn a_halted_run_ends_its_faults_and_no_others() {
    play(|mut cluster| async move {
        cluster.change_lease(|_| ());
        cluster.pass_guarded(10).await;
        cluster.ask(0, "drop for 10m as run/a guarded; corrupt for 10m as run/b; reset for 10m as other/a; drop for 10m").await;
        cluster.ask(1, "drop for 10m as shop/run/a; drop for 10m as run/a in container main").await;
        assert_eq!(cluster.in_kernel().await.len(), 6);
        cluster.change_lease(|lease| lease.annotate(HALTED_RUNS, Some("shop/run,shop/x")));
        cluster.settle().await;
        use Phase::{Active, Ended};
        assert_eq!(cluster.phases(0), [Ended, Ended, Active, Active]);
        assert_eq!(cluster.phases(1), [Ended, Active]);
        assert_eq!(cluster.in_kernel().await.len(), 3);
        let (phase, says) = cluster.says(0);
        assert!(phase == PodPhase::Armed && says.contains("its Run is halted"), "{says}");

        cluster.change_lease(|lease| lease.annotate(HALTED_RUNS, None));
        cluster.settle().await;
        cluster.restart_agent(true).await;
        cluster.settle().await;
        cluster.pass_guarded(10).await;
        assert_eq!(cluster.in_kernel().await.len(), 3, "what is over stays so");
    });
}
