//! Plays a cluster and a node in any order of events, and compares after each of them what is armed, and what
//! stands on the pods, with what is promised.

mod cluster;
mod counts;
mod kills;
mod orders;
mod passes;
mod promises;

use std::{cell::RefCell, time::Duration};

use cluster::{Cluster, NAMESPACES, PODS};
use promises::{Met, Promises};
use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio::runtime::Builder;

/// What happens to the cluster, its node or the agent.
#[derive(Debug, Clone)]
enum Step {
    /// A pod is created, if there is none of this name.
    Create(usize),
    /// A pod is annotated with one of [`TEXTS`], whatever it had before.
    Annotate(usize, usize),
    /// The annotation is no fault any more.
    Malform(usize),
    Unannotate(usize),
    Delete(usize),
    /// A container ends, and the kubelet starts it anew.
    RestartContainer(usize),
    /// All containers of the pod have ended for good.
    Finish(usize),
    Label(usize),
    Unlabel(usize),
    /// Somebody disarms a pod at the node.
    Disarm(usize),
    StopAgent,
    KillAgent,
    LoseServer,
    FindServer,
    /// The agent is started anew, with this for the longest fault.
    Allow(Duration),
    /// So many seconds pass.
    Pass(u8),
}

/// Texts that share sentences, for whole pods and for containers.
const TEXTS: [&str; 6] = [
    "drop 10% for 2m",
    "drop 10% for 2m; delay 50ms for 40s after 10s",
    "corrupt 1% for 40s in container main",
    "drop 10% for 40s; fail connect with ECONNREFUSED for 2m",
    "fail connect with ECONNREFUSED for 2m in container main; drop 10% for 2m",
    "shadow drop for 5m; drop 10% for 2m",
];

fn step() -> impl Strategy<Value = Step> {
    let (pod, namespace) = (0..PODS.len(), 0..NAMESPACES.len());
    prop_oneof![
        4 => pod.clone().prop_map(Step::Create),
        8 => (pod.clone(), 0..TEXTS.len()).prop_map(|(pod, text)| Step::Annotate(pod, text)),
        1 => pod.clone().prop_map(Step::Malform),
        4 => pod.clone().prop_map(Step::Unannotate),
        1 => pod.clone().prop_map(Step::Delete),
        4 => pod.clone().prop_map(Step::RestartContainer),
        1 => pod.clone().prop_map(Step::Finish),
        4 => namespace.clone().prop_map(Step::Label),
        1 => namespace.prop_map(Step::Unlabel),
        2 => pod.prop_map(Step::Disarm),
        1 => Just(Step::StopAgent),
        1 => Just(Step::KillAgent),
        1 => Just(Step::LoseServer),
        4 => Just(Step::FindServer),
        1 => select(vec![60, 3600, 3600]).prop_map(|longest| Step::Allow(Duration::from_secs(longest))),
        6 => (1_u8..30).prop_map(Step::Pass),
        1 => Just(Step::Pass(130)),
    ]
}

async fn play(steps: Vec<Step>, met: &RefCell<Met>) -> Result<(), String> {
    let mut cluster = Cluster::new();
    let mut promises = Promises::default();
    for namespace in 0..NAMESPACES.len() {
        cluster.label(namespace, true).await;
    }
    for pod in 0..PODS.len() {
        cluster.create(pod).await;
    }
    for (number, step) in steps.into_iter().enumerate() {
        match step.clone() {
            Step::Create(pod) => cluster.create(pod).await,
            Step::Annotate(pod, text) => cluster.annotate(pod, Some(TEXTS[text])).await,
            Step::Malform(pod) => cluster.annotate(pod, Some("drop everything, please")).await,
            Step::Unannotate(pod) => cluster.annotate(pod, None).await,
            Step::Delete(pod) => cluster.delete(pod).await,
            Step::RestartContainer(pod) => cluster.restart_container(pod).await,
            Step::Finish(pod) => cluster.finish(pod).await,
            Step::Label(namespace) => cluster.label(namespace, true).await,
            Step::Unlabel(namespace) => cluster.label(namespace, false).await,
            Step::Disarm(pod) => {
                let is_armed = cluster.disarm(pod).await;
                promises.disarmed(&cluster, pod, is_armed);
            }
            Step::StopAgent | Step::KillAgent => {
                cluster.restart_agent(matches!(step, Step::StopAgent)).await;
                promises.restarted();
            }
            Step::LoseServer => cluster.lose_server(),
            Step::FindServer => cluster.find_server().await,
            Step::Allow(longest) => {
                cluster.allow(longest).await;
                promises.restarted();
            }
            Step::Pass(seconds) => {
                // Not faster than an agent looks at what has failed.
                for passed in (0..seconds).step_by(5) {
                    cluster.pass(u64::from(seconds - passed).min(5)).await;
                    promises.check(&cluster, number, &step).await?;
                }
            }
        }
        cluster.settle().await;
        promises.check(&cluster, number, &step).await?;
    }
    met.borrow_mut().add(&promises.met);
    Ok(())
}

#[test]
fn any_order_of_events_keeps_every_promise() {
    let config = Config { cases: 500, failure_persistence: None, ..Config::default() };
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, b"an order of events for each case");
    let mut runner = TestRunner::new_with_rng(config, seed);
    let met = RefCell::new(Met::default());
    let outcome = runner.run(&vec(step(), 1..32), |steps| {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps, &met)).map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    // What never came about has not been tested.
    let met = met.into_inner();
    println!("{met:?}");
    let Met { armed, resumed, refused, over, unheard } = met;
    assert!([armed, resumed, refused, over, unheard].iter().all(|times| *times > 200), "{met:?}");
}
