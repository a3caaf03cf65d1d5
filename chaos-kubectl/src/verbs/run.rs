//! `run`: makes a Run of a target and a sentence, or of a file.

use super::create::{create, finish, wanted};
use crate::{cli::RunArgs, cluster::Cluster, exit::Exit, failure::Failure};

/// Makes the Run, and waits for its end if that was asked for.
pub async fn execute(cluster: &Cluster, args: &RunArgs) -> Result<Exit, Failure> {
    let wanted = wanted(cluster, &args.what, args.mode).await?;
    let run = create(cluster, &wanted).await?;
    finish(cluster, run, &args.wait, args.output).await
}
