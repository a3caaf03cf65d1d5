//! `watch`: shows a Run until it ends.

use super::create::print;
use crate::{
    cli::WatchArgs,
    cluster::Cluster,
    exit::Exit,
    failure::Failure,
    follow::{OnInterrupt, Shown, follow},
};

/// Shows the Run until it ends.
pub async fn execute(cluster: &Cluster, args: &WatchArgs) -> Result<Exit, Failure> {
    let shown = if args.output.is_some() { Shown::Silent } else { Shown::Here };
    let name = args.run.rsplit('/').next().unwrap_or(&args.run);
    let followed = follow(cluster, &cluster.namespace, name, shown, OnInterrupt::Say).await?;
    if args.output.is_some() {
        print(&followed.run, args.output)?;
    }
    Ok(followed.exit)
}
