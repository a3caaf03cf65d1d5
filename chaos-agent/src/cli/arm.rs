//! `arm`: faults kept in force by a running agent.

use std::{process::ExitCode, time::Duration};

use chaos_agent::control::{Answer, Command, Replaced};
use chaos_api::{ArmedId, TargetReport};

use super::{
    failure::Failure,
    faults::FaultArgs,
    output::{self, Format, note},
    socket::{SocketArg, failure},
    target::{PodsArg, TargetArgs},
    terms,
};

/// Have a running agent break a cgroup, process, unit or container
///
/// Prints the id by which `show`, `disarm` and `follow` know it. The faults end with their time,
/// with `disarm` or `halt`, with the target, and with the agent.
#[derive(Debug, clap::Args)]
#[command(
    mut_group("TargetArgs", |group| group.required(true)),
    after_help = "\
Examples:
  chaos-agent arm --unit nginx.service --fault 'drop 10% egress tcp for 2m'
  id=$(chaos-agent arm --pid 4242 --faults faults.yaml) && chaos-agent follow $id
  chaos-agent arm --unit nginx.service --fault 'drop 50% egress tcp for 2m' --replace"
)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pods: PodsArg,
    #[command(flatten)]
    faults: FaultArgs,
    /// How long faults last that have no `for` of their own: as long as the agent's `--default-duration`
    /// says, unless this is given
    #[arg(long = "for", value_name = "DURATION", value_parser = terms::duration)]
    lasting: Option<Duration>,
    /// The name of faults that have no `as` of their own. The same fault under another name is another one, with a
    /// clock of its own
    #[arg(long, value_name = "NAME", value_parser = terms::name)]
    name: Option<String>,
    /// Put these faults in the place of what was armed on the target before, without a gap: a fault that stays the
    /// same keeps its time and its counts. Where nothing is armed, this changes nothing. With an id, in the place of what
    /// has that, which must be armed
    #[arg(long, value_name = "ID", num_args = 0..=1, require_equals = true)]
    #[expect(clippy::option_option, reason = "an option with a value that may be left out")]
    replace: Option<Option<String>>,
    /// Arm them again where the target comes back: a unit or a container named by its pod that is started again, or a
    /// cgroup that is made anew. The faults keep their time
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    socket: SocketArg,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    // Read here, where errors can point into the text.
    let mut faults = args.faults.read()?;
    for fault in &mut faults {
        fault.duration = fault.duration.or(args.lasting);
        fault.name = fault.name.take().or_else(|| args.name.clone());
    }
    // The YAML form has what was read from files, which sentences name only.
    let faults = serde_json::to_string(&faults)
        .map_err(|error| Failure::Usage(format!("cannot write the faults down: {error}")))?;
    let target = args.target.spec().ok_or_else(|| Failure::Usage("no target".to_owned()))?;
    let mut client = args.socket.connect()?;
    let replace = args.replace.as_ref().map(|id| match id {
        Some(id) => Replaced::Id(ArmedId(id.clone())),
        None => Replaced::Only,
    });
    let command =
        Command::Arm { target, faults, force: args.pods.force, replace, follow: args.follow };
    let report = match client.ask(command).map_err(failure)? {
        Answer::Armed(report) => report,
        other => return Err(client.unexpected(&other).into()),
    };
    match format {
        Format::Json => output::json(&report)?,
        Format::Table => {
            let TargetReport { id, notes, faults, .. } = &report;
            for text in notes.iter().chain(faults.iter().flat_map(|fault| &fault.notes)) {
                note(text);
            }
            output::line(id)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
