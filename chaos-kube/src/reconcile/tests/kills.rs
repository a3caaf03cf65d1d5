//! Containers that faults kill: each once, and none before the pod's status says so.

use chaos_api::{Counts, Phase};
use tokio::runtime::Builder;

use super::{super::super::status::PodPhase, cluster::Cluster};

const TEXT: &str = "drop egress for 20m\nkill container for 10m";

/// A pod in a namespace that allows it.
fn play<T: Future<Output = ()>>(scene: impl FnOnce(Cluster) -> T) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut cluster = Cluster::new();
        cluster.allow_verbs("default, kill container");
        cluster.label(0, true).await;
        cluster.create(0).await;
        cluster.settle().await;
        scene(cluster).await;
    });
}

/// What the status says of the kill.
fn told(cluster: &Cluster) -> (Phase, Vec<String>, Counts) {
    let status = cluster.status(0).expect("it was answered");
    let kills =
        |sentence: &str| sentence.starts_with("kill") || sentence.starts_with("shadow kill");
    let fault = status.faults.into_iter().find(|fault| kills(&fault.fault)).expect("it is told");
    (fault.phase, fault.killed, fault.counts)
}

#[test]
fn a_container_is_killed_once_and_its_successor_left_alone() {
    play(|mut cluster| async move {
        cluster.annotate(0, Some(TEXT)).await;
        cluster.settle().await;
        let killed = cluster.kills();
        assert_eq!(killed.len(), 1);
        let counts = Counts { matched: 1, injected: 1, ..Counts::default() };
        assert_eq!(told(&cluster), (Phase::Ended, killed.clone(), counts.clone()));
        assert_eq!(cluster.status(0).unwrap().phase, PodPhase::Armed);
        cluster.restart_container(0).await;
        cluster.settle().await;
        for is_told in [true, false] {
            cluster.restart_agent(is_told).await;
            cluster.settle().await;
        }
        assert_eq!(cluster.kills(), killed);
        assert_eq!(told(&cluster), (Phase::Ended, killed.clone(), counts));
        // Asking again is a new fault.
        cluster.annotate(0, None).await;
        cluster.settle().await;
        cluster.annotate(0, Some("kill container")).await;
        cluster.settle().await;
        assert_eq!(cluster.kills().len(), 2);
        assert_eq!(cluster.status(0).unwrap().phase, PodPhase::Ended);
    });
}

#[test]
fn nothing_is_killed_before_the_server_knows() {
    play(|mut cluster| async move {
        cluster.annotate(0, Some("kill container")).await;
        cluster.lose_server();
        cluster.settle().await;
        assert!(cluster.kills().is_empty());
        // The agent forgets what it was about to do, and nobody has read of it.
        cluster.restart_agent(false).await;
        cluster.settle().await;
        assert!(cluster.kills().is_empty());
        cluster.find_server().await;
        cluster.settle().await;
        assert_eq!(cluster.kills().len(), 1);
    });
}

#[test]
fn a_shadow_kills_nobody_and_a_container_that_does_not_run_is_waited_for() {
    play(|mut cluster| async move {
        cluster.annotate(0, Some("shadow kill container in container main")).await;
        cluster.settle().await;
        let counts = Counts { matched: 1, shadowed: 1, ..Counts::default() };
        assert_eq!((cluster.kills().len(), told(&cluster).2), (0, counts));
        cluster.annotate(0, Some("kill container in container nobody")).await;
        cluster.settle().await;
        let status = cluster.status(0).unwrap();
        assert_eq!(status.phase, PodPhase::Refused);
        assert!(status.messages[0].contains("no container `nobody`"), "{:?}", status.messages);
    });
}

#[test]
fn a_namespace_has_to_allow_it() {
    play(|mut cluster| async move {
        cluster.allow_verbs("default, kill");
        cluster.label(0, true).await;
        cluster.annotate(0, Some("kill container")).await;
        cluster.settle().await;
        let status = cluster.status(0).unwrap();
        assert_eq!((status.phase, cluster.kills().len()), (PodPhase::Refused, 0));
        assert!(status.messages[0].contains("does not allow `kill container`"), "{status:?}");
    });
}
