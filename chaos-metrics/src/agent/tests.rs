//! What an agent with a fake engine tells.

use chaos_arm::{
    Keeper,
    fake::{FakeEngine, Shared},
};

use super::*;

#[tokio::test]
async fn what_is_known_is_told_without_a_fault() {
    let keeper = Keeper::start(FakeEngine::new(Shared::default()), Duration::from_secs(5)).unwrap();
    let kernel = KernelFeatures::everything("6.12.0");
    let meter = Arc::new(AgentMeter::new("1.2.3", &kernel, false));
    let mut pages = AgentPages::start(meter.clone(), keeper.handle());
    pages.fresh = Duration::ZERO;
    let told = async || {
        let page = pages.page("/metrics").await.unwrap();
        String::from_utf8(page.body.to_vec()).unwrap()
    };
    let first = told().await;
    for line in [
        "chaos_agent_build_info{version=\"1.2.3\",kernel=\"6.12.0\"} 1.0",
        "chaos_arm_duration_seconds_count 0",
        "chaos_refusals_total{reason=\"plan\"} 0",
        "chaos_ledgers_dropped_total 0",
    ] {
        assert!(first.lines().any(|one| one == line), "{line}:\n{first}");
    }
    assert!(!first.contains("\nchaos_api_silence_seconds "), "it was never heard:\n{first}");
    assert_eq!(meter.silence(), None);
    meter.heard();
    meter.refused(RefusalCause::Plan);
    meter.armed(Duration::from_millis(3));
    let second = told().await;
    assert!(second.contains("\nchaos_api_silence_seconds 0."), "{second}");
    assert!(second.contains("\nchaos_refusals_total{reason=\"plan\"} 1\n"), "{second}");
    assert!(second.contains("\nchaos_arm_duration_seconds_count 1\n"), "{second}");
    assert!(pages.page("/").await.is_none());
    drop(keeper);
    assert!(told().await.contains("chaos_kernel_lease_age_seconds "));
}

#[tokio::test]
async fn those_who_scrape_at_the_same_time_share_a_page() {
    let keeper = Keeper::start(FakeEngine::new(Shared::default()), Duration::from_secs(5)).unwrap();
    let kernel = KernelFeatures::everything("6.12.0");
    let meter = Arc::new(AgentMeter::new("1.2.3", &kernel, false));
    let mut pages = AgentPages::start(meter.clone(), keeper.handle());
    // Longer than any test.
    pages.fresh = Duration::from_secs(600);
    let (first, second) = tokio::join!(pages.page("/metrics"), pages.page("/metrics"));
    let first = first.unwrap().body;
    assert_eq!(second.unwrap().body.as_ptr(), first.as_ptr());
    meter.refused(RefusalCause::Plan);
    assert_eq!(pages.page("/metrics").await.unwrap().body.as_ptr(), first.as_ptr());
    pages.fresh = Duration::ZERO;
    assert_ne!(pages.page("/metrics").await.unwrap().body, first);
}
