//! Ends come before armings, and wait for few of them.

use super::{
    super::super::{names::HALT, status::PodPhase},
    cluster::Cluster,
    orders::play,
};

/// The pods of [`super::PODS`], as they are armed.
const IDS: [&str; 2] = ["pod:shop/web-0", "pod:bank/db-0"];

async fn both_armed(cluster: &mut Cluster) {
    for pod in [0, 1] {
        cluster.annotate(pod, Some("drop for 10m; reset for 10m")).await;
    }
    cluster.settle().await;
    assert_eq!(cluster.deeds().len(), 2);
}

#[test]
fn what_ends_is_ended_before_something_else_is_armed() {
    play(|mut cluster| async move {
        for (ends, begins) in [(0, 1), (1, 0)] {
            for text in [None, Some("drop for 10m"), Some("drop everything, please")] {
                cluster.annotate(ends, Some("drop for 10m; reset for 10m")).await;
                cluster.annotate(begins, None).await;
                cluster.settle().await;
                cluster.deeds();
                cluster.annotate(ends, text).await;
                cluster.annotate(begins, Some("corrupt for 10m")).await;
                cluster.look().await;
                let first = match text {
                    Some("drop for 10m") => format!("arm {}", IDS[ends]),
                    Some(_) | None => format!("disarm {}", IDS[ends]),
                };
                let deeds = cluster.deeds();
                assert_eq!(deeds, [first, format!("arm {}", IDS[begins])], "{text:?}");
            }
        }
    });
}

#[test]
fn all_that_ends_at_once_is_disarmed_together() {
    play(|mut cluster| async move {
        both_armed(&mut cluster).await;
        cluster.annotate(0, None).await;
        cluster.annotate(1, None).await;
        cluster.look().await;
        assert_eq!(cluster.deeds(), [format!("disarm {}, {}", IDS[1], IDS[0])]);
        assert_eq!(cluster.armed().await.len(), 0);
    });
}

#[test]
fn an_order_waits_for_one_arming_and_not_for_all() {
    play(|mut cluster| async move {
        cluster.slow_down(3);
        for text in ["drop for 10m", "drop for 9m"] {
            // Whichever comes last in one pass comes first in the next one.
            for pod in [0, 1] {
                cluster.annotate(pod, Some(text)).await;
            }
            cluster.look().await;
            cluster.look().await;
            let mut deeds = cluster.deeds();
            deeds.sort();
            assert_eq!(deeds, [format!("arm {}", IDS[1]), format!("arm {}", IDS[0])]);
            cluster.settle().await;
        }
        for pod in [0, 1] {
            cluster.annotate(pod, Some("drop for 8m")).await;
        }
        cluster.look().await;
        assert_eq!(cluster.deeds().len(), 1);
        cluster.change_lease(|lease| lease.annotate(HALT, Some("INC-4711")));
        cluster.settle().await;
        assert_eq!(cluster.armed().await.len(), 0);
        let deeds = cluster.deeds();
        assert!(deeds.iter().all(|deed| deed.starts_with("disarm")), "{deeds:?}");
    });
}

#[test]
fn a_text_that_is_still_to_be_read_keeps_no_fault_alive() {
    play(|mut cluster| async move {
        both_armed(&mut cluster).await;
        // Longer than what is read at once; here nobody reads it.
        let long = format!("drop for 10m # {}", "long ".repeat(2_000)).leak();
        cluster.annotate(0, Some(long)).await;
        cluster.annotate(1, Some(long)).await;
        cluster.settle().await;
        assert_eq!(cluster.armed().await.len(), 2, "what was asked for before goes on");
        cluster.label(0, false).await;
        cluster.finish(1).await;
        cluster.settle().await;
        assert_eq!(cluster.armed().await.len(), 0);
        assert_eq!(cluster.status(0).unwrap().phase, PodPhase::Refused);
    });
}
