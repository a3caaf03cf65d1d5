//! `watch`: shows a Run until it ends.

use super::create::end;
use crate::{
    cli::WatchArgs,
    cluster::Cluster,
    exit::Exit,
    failure::Failure,
    follow::{OnInterrupt, Shown, follow},
    run_name::RunName,
    signals::Signals,
};

/// Shows the Run until it ends.
pub async fn execute(cluster: &Cluster, args: &WatchArgs) -> Result<Exit, Failure> {
    let shown = if args.output.is_some() { Shown::Silent } else { Shown::Here };
    let RunName { namespace, name } = RunName::of(&args.run, cluster)?;
    let signals = Signals::listen()?;
    let followed = follow(cluster, &namespace, &name, shown, OnInterrupt::Say, signals).await?;
    end(cluster, &followed, args.output, &args.reports).await
}
