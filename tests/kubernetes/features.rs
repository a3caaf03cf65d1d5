//! The agent says on its own pod what can be planned for its node.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use chaos_api::NodeFeatures;
use chaos_fault::Fault;
use chaos_kube::FEATURES;
use chaos_plan::{Terms, plan};

use crate::cluster::{Cluster, GRACE, NODE};

const PATIENCE: Duration = Duration::from_secs(60);

/// The pod that the agent's token was made for.
pub fn own() -> String {
    format!("chaos-agent-{NODE}")
}

/// What the agent of [`NODE`] says, once it does.
pub fn await_features(cluster: &Cluster) -> Result<NodeFeatures> {
    let key = FEATURES.replace('.', "\\.");
    let output = format!("--output=jsonpath={{.metadata.annotations.{key}}}");
    let give_up = Instant::now() + PATIENCE;
    loop {
        let get = ["get", "pod", &own(), "--namespace=chaos-agent", &output];
        let text = cluster.plane.kubectl(&get)?;
        match NodeFeatures::read(&text) {
            Some(features) => return Ok(features),
            None if Instant::now() > give_up => bail!("after {PATIENCE:?}: {text:?}"),
            None => thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[test]
fn an_agent_publishes_what_can_be_planned_for_its_node() -> Result<()> {
    let cluster = Cluster::start()?;
    let agent = cluster.agent(GRACE)?;
    let features = await_features(&cluster)?;
    assert_eq!(features.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(features.architecture, std::env::consts::ARCH);
    assert_eq!(features.limits.longest_seconds, 3600);
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    assert_eq!(features.kernel.release, release.trim());
    // What the agents of the other tests arm.
    let fault: Fault = "fail connect with ECONNREFUSED".parse()?;
    assert_eq!(plan(&[fault], &features.kernel, &Terms::default()).refused, []);

    // The next one says it again.
    agent.kill()?;
    let remove = format!("{FEATURES}-");
    cluster.plane.kubectl(&["annotate", "pod", &own(), "--namespace=chaos-agent", &remove])?;
    let agent = cluster.agent(GRACE)?;
    assert_eq!(await_features(&cluster)?, features);
    agent.stop()
}
