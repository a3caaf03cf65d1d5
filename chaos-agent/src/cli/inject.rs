//! `inject`: faults for something that runs already.

use std::{process::ExitCode, time::Duration};

use chaos_agent::successor::{Clocks, PAUSE, can_be_followed};
use chaos_api::{Ended, TargetReport, TargetSpec, clock::boot_now};
use chaos_engine::{arm::Armory, cgroup::Target};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::{
    failure::Failure,
    faults::FaultArgs,
    kernel, ledger,
    output::{self, Format, note},
    session::{Event, Session, lived_its_time},
    signals::{Received, Signals},
    target::{PodsArg, TargetArgs},
    terms::{self, TermsArgs},
};

/// Break a cgroup, process, unit or container that is there already
///
/// The faults end with their time, with Ctrl-C or SIGTERM, with the target, and with this process
/// however it ends. The ledger is printed then.
#[derive(Debug, clap::Args)]
#[command(
    mut_group("TargetArgs", |group| group.required(true)),
    after_help = "\
Exits with 0 when the faults lived their time or were ended by a signal, and with 1 when the
target vanished before or the faults could not be kept in force.

Examples:
  chaos-agent inject --unit nginx.service --fault 'drop 10% egress tcp'
  chaos-agent inject --pid 4242 --for 1m --fault 'fail connect with ECONNREFUSED 25%'
  chaos-agent inject --container 8c5f8b9a2d11 --faults faults.yaml --output json"
)]
pub struct Args {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    pods: PodsArg,
    #[command(flatten)]
    faults: FaultArgs,
    /// How long faults last that have no `for` of their own: 5m, unless this is given
    #[arg(long = "for", value_name = "DURATION", value_parser = terms::duration)]
    lasting: Option<Duration>,
    /// How long faults go on when this process hangs or is stopped
    #[arg(long, value_name = "DURATION", value_parser = terms::lease, default_value = "5s")]
    lease: Duration,
    /// Go on where the target comes back: a unit or a container named by its pod that is started again, or a cgroup
    /// that is made anew. The faults keep their time; each ledger is printed when its cgroup is gone
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    terms: TermsArgs,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InjectReport<'a> {
    seed: u64,
    ended_because: &'a str,
    #[serde(flatten)]
    ledger: &'a Option<TargetReport>,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let faults = args.faults.read()?;
    let spec = args.target.spec().ok_or_else(|| Failure::Usage("no target".to_owned()))?;
    if args.follow {
        can_be_followed(&spec).map_err(Failure::Usage)?;
    }
    let terms = args.terms.terms(args.lasting, Some(terms::UNLESS_SAID))?;
    kernel::refuse_impossible(&faults, &terms)?;
    let seed = terms.seed;
    let signals =
        Signals::block([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT])?;
    let root = kernel::prepare()?;
    let target = args.pods.resolve(&spec, &root)?;
    let features = kernel::try_needed(kernel::own_cgroup(&root)?.cgroup(), &faults, &terms);
    kernel::collect_left_filters(&root, &features);
    let armory = Armory::new(root, features, args.lease);
    let mut session = Session::arm(armory, target.clone(), &faults, terms.clone(), args.lease)?;
    announce(&spec, &target, faults.len(), &session.notes());
    let mut target = target;
    let why = loop {
        match session.wait(&signals)? {
            Event::Signal(received) => break format!("{} was received", received.signal),
            Event::Ended => {}
        }
        if !args.follow {
            break String::new();
        }
        let Some(gone) = session.take_gone() else { break String::new() };
        let clocks = gone.report.as_ref().map(Clocks::of).unwrap_or_default();
        note(&format!("cgroup of {spec} is gone; waiting for the next one"));
        let arm =
            |session: &mut Session, next| session.arm_again(next, &faults, terms.clone(), &clocks);
        let successor = arm_successor(args, &spec, &mut session, clocks.until, arm, &signals);
        if !matches!(successor, Ok(Next::Nothing)) {
            print(&gone, seed, format)?;
        }
        match successor? {
            Next::Armed(next) => {
                announce(&spec, &next, faults.len(), &session.notes());
                target = next;
            }
            Next::Signal(received) => {
                note(&format!(
                    "{} was received; no cgroup came after the one that is gone",
                    received.signal
                ));
                return Ok(ExitCode::SUCCESS);
            }
            Next::Nothing => {
                session.end_with(gone);
                break String::new();
            }
        }
    };
    let by_signal = session.ended().is_none();
    let ended = session.end(&why);
    let vanished = !by_signal && !target.is_alive();
    if vanished {
        note(&format!("cgroup {} is gone", target.cgroup.path().display()));
    }
    print(&ended, seed, format)?;
    let went_well = by_signal || (!vanished && lived_its_time(&ended));
    Ok(if went_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What came after a target that is gone.
enum Next {
    Armed(Target),
    Signal(Received),
    /// The time of the faults is up.
    Nothing,
}

/// Arms what comes after a target that is gone, as soon as it comes; again and again, if it is gone again at once.
fn arm_successor(
    args: &Args,
    spec: &TargetSpec,
    session: &mut Session,
    until: u64,
    arm: impl Fn(&mut Session, Target) -> Result<bool, Failure>,
    signals: &Signals,
) -> Result<Next, Failure> {
    while boot_now() < until {
        if let Ok(target) = args.pods.resolve(spec, session.root())
            && arm(session, target.clone())?
        {
            return Ok(Next::Armed(target));
        }
        if let Some(received) = signals.next(PAUSE, None)? {
            return Ok(Next::Signal(received));
        }
    }
    Ok(Next::Nothing)
}

fn announce(spec: &TargetSpec, target: &Target, faults: usize, notes: &[String]) {
    let faults = if faults == 1 { "1 fault".to_owned() } else { format!("{faults} faults") };
    let cgroup = if matches!(spec, TargetSpec::Cgroup(_)) {
        String::new()
    } else {
        format!(" (cgroup {})", target.cgroup.path().display())
    };
    note(&format!("{faults} armed for {}{cgroup}; Ctrl-C ends it", target.name));
    notes.iter().for_each(|text| note(text));
}

fn print(ended: &Ended, seed: u64, format: Format) -> anyhow::Result<()> {
    let Ended { why, report, .. } = ended;
    match (format, report) {
        (Format::Json, _) => {
            output::json(&InjectReport { seed, ended_because: why, ledger: report })
        }
        (Format::Table, Some(report)) => {
            note(&format!("disarmed: {why}; {}", ledger::repeat(seed)));
            output::line(&ledger::table(&report.faults))?;
            ledger::unmatched(&report.faults).for_each(|line| note(&line));
            Ok(())
        }
        (Format::Table, None) => {
            note(&format!("disarmed: {why}; the ledger could not be read"));
            Ok(())
        }
    }
}
