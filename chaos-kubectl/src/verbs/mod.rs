//! Does what the command line asks for, a file for each verb.

mod completion;
mod create;
mod doctor;
pub mod halt;
mod lint;
mod list;
mod plan;
mod report;
mod resume;
mod run;
mod start;
mod top;
mod watch;
mod why;

use crate::{
    cli::{Cli, Verb},
    cluster::Cluster,
    exit::Exit,
    failure::Failure,
};

/// Does what the command line asks for.
pub async fn execute(cli: &Cli) -> Result<Exit, Failure> {
    let cluster = || Cluster::of(&cli.cluster);
    match &cli.verb {
        Verb::Run(args) => run::execute(&cluster().await?, args).await,
        Verb::Start(args) => start::execute(&cluster().await?, args).await,
        Verb::Plan(args) => plan::execute(&cluster().await?, args).await,
        Verb::Watch(args) => watch::execute(&cluster().await?, args).await,
        Verb::List(args) => list::execute(&cluster().await?, args).await,
        Verb::Halt(args) => halt::execute(&cluster().await?, args).await,
        Verb::Resume(_) => resume::execute(&cluster().await?).await,
        Verb::Report(args) => report::execute(&cluster().await?, args).await,
        Verb::Top(args) => top::execute(&cluster().await?, args).await,
        Verb::Why(args) => why::execute(&cluster().await?, args).await,
        Verb::Doctor(args) => doctor::execute(&cluster().await?, args).await,
        Verb::Lint(args) => lint::execute(args),
        Verb::Completion(args) => completion::execute(args),
    }
}
