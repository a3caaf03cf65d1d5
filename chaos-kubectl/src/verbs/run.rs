//! `run`: makes a Run of a target and a sentence, or of a file.

use super::create::{self, wanted};
use crate::{cli::RunArgs, cluster::Cluster, exit::Exit, failure::Failure};

/// Makes the Run, and waits for its end if that was asked for.
pub async fn execute(cluster: &Cluster, args: &RunArgs) -> Result<Exit, Failure> {
    let wanted = wanted(cluster, &args.what, args.mode).await?;
    create::execute(cluster, &wanted, &args.wait, args.output).await
}
