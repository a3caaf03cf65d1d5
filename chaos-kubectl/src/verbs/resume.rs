//! `resume`: lifts the halt of the cluster.

use serde_json::json;

use super::halt::set_lever;
use crate::{cluster::Cluster, exit::Exit, failure::Failure, output};

/// Empties the annotation of the Lease: that lifts the halt also where the Lease was made anew since.
pub async fn execute(cluster: &Cluster) -> Result<Exit, Failure> {
    set_lever(cluster, json!("")).await?;
    output::line("Runs may begin again; what was halted stays ended")?;
    Ok(Exit::Done)
}
