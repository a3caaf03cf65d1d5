//! Ends that others than the kernel's clock decide: a moment of the wall clock, the guard, the cluster's halt.

use std::{cell::Cell, collections::BTreeSet, future::Future};

use chaos_api::{Phase, RunName};
use chaos_fault::Fault;
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::runtime::Builder;

use super::{
    super::super::{
        names::{HALT, HALTED_RUNS},
        status::{PodPhase, Status},
    },
    cluster::{Cluster, NAMESPACES},
};

const SECOND: u64 = 1_000_000_000;

pub fn play<T: Future<Output = ()>>(scene: impl FnOnce(Cluster) -> T) {
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
        // Of what was in force nothing goes on, whatever it is written beside.
        cluster.change_lease(|lease| lease.annotate(HALT, Some("again")));
        cluster.settle().await;
        cluster.change_lease(|lease| lease.annotate(HALT, None));
        cluster.settle().await;
        cluster.ask(1, "reset for 8m; corrupt for 8m").await;
        let armed = cluster.in_kernel().await;
        assert_eq!(armed, [("reset for 8m".to_owned(), 1_480)], "{:?}", cluster.says(1));
        assert!(cluster.says(1).1.contains("the cluster was halted"), "{:?}", cluster.says(1));
    });
}

#[test]
fn what_waited_when_the_node_was_halted_is_not_armed_afterwards() {
    play(|mut cluster| async move {
        cluster.set_running(0, false);
        cluster.ask(0, "drop for 10m").await;
        cluster.ask(1, "drop for 10m").await;
        assert_eq!((cluster.count().await, cluster.says(0).0), (1, PodPhase::Waiting));
        // Found before the halt, and looked at after it.
        cluster.annotate(1, Some("reset for 10m")).await;
        assert_eq!(cluster.halt().await, 1);
        cluster.set_running(0, true);
        cluster.pass(20).await;
        assert_eq!(cluster.count().await, 0);
        for pod in [0, 1] {
            let (phase, says) = cluster.says(pod);
            assert_eq!(phase, PodPhase::Ended);
            assert!(says.starts_with("everything was halted"), "{says}");
        }
        assert_eq!(cluster.phases(0), [Phase::Ended]);
        cluster.restart_agent(true).await;
        cluster.settle().await;
        assert_eq!(cluster.count().await, 0);
        cluster.ask(0, "drop for 9m").await;
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

/// What happens to the guard, to a pod, or to the agent.
#[derive(Debug, Clone)]
enum Step {
    Annotate(usize, usize),
    Unannotate(usize),
    Renew,
    DeleteLease,
    Lever(bool),
    HaltRun(bool),
    Restart(bool),
    LoseServer,
    FindServer,
    Pass(u8),
}

const TEXTS: [&str; 4] = [
    "drop for 20m guarded as run/a",
    "drop for 20m guarded; corrupt for 20m as run/b; delay 5ms for 20m",
    "reset for 20m as shop/run/a in container main; drop for 20m guarded as other/a",
    "delay 5ms for 20m",
];

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..2_usize, 0..TEXTS.len()).prop_map(|(pod, text)| Step::Annotate(pod, text)),
        1 => (0..2_usize).prop_map(Step::Unannotate),
        8 => Just(Step::Renew),
        1 => Just(Step::DeleteLease),
        1 => any::<bool>().prop_map(Step::Lever),
        2 => any::<bool>().prop_map(Step::HaltRun),
        1 => any::<bool>().prop_map(Step::Restart),
        1 => Just(Step::LoseServer),
        3 => Just(Step::FindServer),
        8 => (1_u8..30).prop_map(Step::Pass),
    ]
}

/// The Lease as it is.
#[derive(Debug, Clone, Copy, Default)]
struct SimulatedGuard {
    renewals: u64,
    /// The value of the lever, if it has one.
    lever: Option<bool>,
    is_run_halted: bool,
}

/// What the agent has heard.
#[derive(Default)]
struct Heard {
    texts: [Option<usize>; 2],
    /// The Lease that it saw, when it found it or saw it move last (boot clock, s), and whether it did.
    guard: Option<(u64, u64, bool)>,
    is_halted: bool,
    is_run_halted: bool,
    /// What orders have ended of the text of a pod.
    ended: BTreeSet<(usize, String)>,
}

impl Heard {
    fn hear(&mut self, texts: [Option<usize>; 2], guard: Option<SimulatedGuard>, now: u64) {
        let is_same = [0, 1].map(|pod| self.texts[pod] == texts[pod]);
        self.ended.retain(|(pod, _)| is_same[*pod]);
        self.texts = texts;
        self.guard = guard.map(|guard| match self.guard {
            Some((renewals, at, has_moved)) if renewals == guard.renewals => {
                (renewals, at, has_moved)
            }
            before => (guard.renewals, now, before.is_some()),
        });
        if let Some(guard) = guard {
            self.is_halted = guard.lever.unwrap_or(self.is_halted);
            self.is_run_halted = guard.is_run_halted;
        }
    }

    /// Why an order has ended a fault for good.
    fn order(&self, pod: usize, fault: &Fault, now: u64) -> Option<&'static str> {
        let run = RunName::of(fault, NAMESPACES[pod]).map(|run| run.to_string());
        if self.is_halted {
            return Some("the cluster is halted");
        }
        if self.is_run_halted && run.as_deref() == Some("shop/run") {
            return Some("its Run is halted");
        }
        // An agent looks within five seconds.
        let is_gone = self.guard.is_none_or(|(_, at, _)| now >= at + 50);
        (fault.guarded && is_gone).then_some("it has no guard")
    }

    /// Why a fault must not be armed.
    fn forbids(&self, pod: usize, fault: &Fault, now: u64) -> Option<&'static str> {
        let has_moved = self.guard.is_some_and(|(_, _, has_moved)| has_moved);
        let waits = (fault.guarded && !has_moved).then_some("its guard has not moved");
        self.order(pod, fault, now).or(waits)
    }
}

async fn obey(steps: &[Step], ended: &Cell<usize>, armed: &Cell<usize>) -> Result<(), String> {
    let mut cluster = Cluster::new();
    for namespace in 0..2 {
        cluster.label(namespace, true).await;
        cluster.create(namespace).await;
    }
    cluster.settle().await;
    let (mut texts, mut guard, mut heard) = ([None; 2], None::<SimulatedGuard>, Heard::default());
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Annotate(pod, text) => {
                texts[*pod] = Some(*text);
                cluster.annotate(*pod, Some(TEXTS[*text])).await;
            }
            Step::Unannotate(pod) => {
                texts[*pod] = None;
                cluster.annotate(*pod, None).await;
            }
            Step::Renew => {
                guard.get_or_insert_default().renewals += 1;
                cluster.change_lease(|lease| lease.renewals += 1);
            }
            Step::DeleteLease => {
                guard = None;
                cluster.delete_lease();
            }
            Step::Lever(is_pulled) => {
                guard.get_or_insert_default().lever = Some(*is_pulled);
                let value = if *is_pulled { "INC-4711" } else { "" };
                cluster.change_lease(|lease| lease.annotate(HALT, Some(value)));
            }
            Step::HaltRun(is_halted) => {
                guard.get_or_insert_default().is_run_halted = *is_halted;
                let value = is_halted.then_some("shop/run");
                cluster.change_lease(|lease| lease.annotate(HALTED_RUNS, value));
            }
            Step::Restart(is_told) => {
                cluster.restart_agent(*is_told).await;
                (heard.guard, heard.is_halted, heard.is_run_halted) = (None, false, false);
            }
            Step::LoseServer => cluster.lose_server(),
            Step::FindServer => cluster.find_server().await,
            Step::Pass(seconds) => {
                for _ in (0..*seconds).step_by(5) {
                    cluster.pass(5).await;
                    let checked = check(&cluster, &mut heard, ended, armed).await;
                    checked.map_err(|broken| format!("in step {number}, {step:?}: {broken}"))?;
                }
            }
        }
        cluster.settle().await;
        if cluster.is_heard {
            heard.hear(texts, guard, cluster.now() / SECOND);
        }
        let checked = check(&cluster, &mut heard, ended, armed).await;
        checked.map_err(|broken| format!("after step {number}, {step:?}: {broken}"))?;
    }
    Ok(())
}

async fn check(
    cluster: &Cluster,
    heard: &mut Heard,
    ended: &Cell<usize>,
    armed: &Cell<usize>,
) -> Result<(), String> {
    let now = cluster.now() / SECOND;
    for report in cluster.armed().await {
        let pod = usize::from(report.id.starts_with("pod:bank"));
        for report in report.faults {
            let fault: Fault = report.fault.parse().expect("a sentence");
            if let Some(why) = heard.forbids(pod, &fault, now) {
                return Err(format!("at {now} s `{fault}` of pod {pod} is armed, and {why}"));
            }
            if heard.ended.contains(&(pod, report.fault)) {
                return Err(format!("at {now} s `{fault}` of pod {pod} has come back"));
            }
            armed.set(armed.get() + 1);
        }
    }
    if cluster.is_heard {
        for (pod, text) in heard.texts.into_iter().enumerate() {
            for sentence in chaos_fault::parse(text.map_or("", |text| TEXTS[text])).unwrap() {
                let fault = sentence.fault;
                if heard.order(pod, &fault, now).is_some()
                    && heard.ended.insert((pod, fault.to_string()))
                {
                    ended.set(ended.get() + 1);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn in_any_order_of_events_what_an_order_has_ended_is_over() {
    let config = Config { cases: 400, failure_persistence: None, ..Config::default() };
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, b"an order of guards for each case");
    let mut runner = TestRunner::new_with_rng(config, seed);
    let (ended, armed) = (Cell::new(0), Cell::new(0));
    let outcome = runner.run(&vec(step(), 1..40), |steps| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(obey(&steps, &ended, &armed)).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // What never came about has not been tested.
    println!("{} ended, {} armed", ended.get(), armed.get());
    assert!(ended.get() > 500 && armed.get() > 1_000, "{ended:?} {armed:?}");
}
