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
    let pages = AgentPages::start(meter.clone(), keeper.handle());
    let told = async || pages.page("/metrics").await.unwrap().body;
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
