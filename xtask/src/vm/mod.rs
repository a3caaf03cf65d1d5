//! `vm --kernel NAME,… run -- COMMAND…`, `… shell`, `… test [FILTER]`, `… record` and `… node`: the lab,
//! real kernels under QEMU that see this machine's files.

mod alarm;
mod apt;
mod debian;
mod directory;
mod initramfs;
mod installed;
mod kernels;
mod lab;
mod machine;
mod modules;
pub mod node;
mod record;
mod shell;
mod source;
mod suite;

use std::{
    fs,
    io::{self, Write as _},
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, Result, bail};
use chaos_guest::CgroupDriver;
pub use kernels::KernelArg;
use kernels::{KERNELS, Kernel, OVERRIDE, PREEMPTIBLE, STOCK};
pub use lab::Settings;
use lab::{Lab, host_job};
use suite::Selection;

use crate::{
    command::{cargo, run as run_command, target_directory},
    integration,
    setup::{self, Part, build::MUSL_TARGET},
    test::{Extent, Report},
};

#[derive(clap::Args)]
pub struct Args {
    /// The kernels to boot, one after the other
    #[arg(long, value_delimiter = ',', required_unless_present = "all")]
    kernel: Vec<KernelArg>,
    /// Boot every kernel
    #[arg(long, conflicts_with = "kernel")]
    all: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Run a command with this machine's files, which it can't change, and return its exit code
    Run {
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// A prompt, with this machine's files
    Shell,
    /// Run the native tests that depend on the kernel
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
    /// Record what the agent finds the kernel can do, from which docs/kernels.md is made
    Record,
    /// Make it a Kubernetes node with the agent on it, and open a shell with kubectl
    Node {
        /// Have kubelet and runtime lay out the cgroups, instead of systemd
        #[arg(long)]
        cgroupfs: bool,
        /// Only build what it is made of
        #[arg(long, conflicts_with = "command")]
        build_only: bool,
        /// What to run instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
}

/// Runs the verb on every chosen kernel. The exit code is the first one that is not success.
pub fn run(args: &Args) -> Result<ExitCode> {
    let kernels: Vec<Kernel> =
        if args.all { KERNELS.into() } else { args.kernel.iter().map(|arg| arg.0).collect() };
    let prepare = || prepare(args.settings);
    match &args.verb {
        Verb::Run { command } => {
            let lab = prepare()?;
            each(&kernels, |kernel| Ok(lab.boot(kernel, &host_job(command.clone())?, print)?.code))
        }
        Verb::Shell => {
            let lab = prepare()?;
            each(&kernels, |kernel| shell::run(&lab, kernel))
        }
        Verb::Record => {
            let lab = prepare()?;
            each(&kernels, |kernel| record::record(&lab, kernel).map(|()| 0))
        }
        Verb::Node { cgroupfs, build_only, command } => {
            let parts = node::Parts::build(args.settings)?;
            let cgroups = if *cgroupfs { CgroupDriver::Cgroupfs } else { CgroupDriver::Systemd };
            each(&kernels, |kernel| match build_only {
                true => parts.prepare(kernel, cgroups).map(|_| 0),
                false => node::visit(&parts, kernel, cgroups, command),
            })
        }
        Verb::Test { filter } => {
            let lab = prepare()?;
            let mut report = Report::default();
            let lane = kernels.into_iter().map(|kernel| (kernel, Selection::Whole)).collect();
            test_on(&lab, &[lane], filter.as_deref(), &mut report)?;
            print!("{report}");
            Ok(report.exit_code())
        }
    }
}

/// Runs the native tests that depend on the kernel, on the kernels that this extent takes in, and adds
/// their results.
///
/// # Errors
/// When there is no lab or the tests do not compile; a machine that fails is in the report.
pub fn test(extent: Extent, filter: Option<&str>, report: &mut Report) -> Result<()> {
    // Whatever runs beside it may have the processors first.
    let lab = prepare(Settings::PATIENT)?;
    let lanes: Vec<Vec<Task>> = match extent {
        Extent::All => vec![KERNELS.map(|kernel| (kernel, Selection::Whole)).to_vec()],
        // A machine of the lab keeps one processor of this one busy.
        Extent::EveryChange => EVERY_CHANGE
            .iter()
            .map(|lane| {
                lane.iter().filter_map(|(name, tests)| Some((named(name)?, *tests))).collect()
            })
            .collect(),
    };
    test_on(&lab, &lanes, filter, report)
}

/// What is run for every change: lanes beside each other, in each of them one kernel after the other.
const EVERY_CHANGE: [&[(&str, Selection)]; 2] = [
    &[(STOCK, Selection::Counting)],
    &[(OVERRIDE, Selection::Override), (PREEMPTIBLE, Selection::Preempted)],
];

fn named(name: &str) -> Option<Kernel> {
    KERNELS.into_iter().find(|kernel| kernel.name == name)
}

/// Runs a command on the kernel of this name; what it prints.
pub fn capture(kernel: &str, command: Vec<String>) -> Result<String> {
    let kernel = named(kernel).context("no such kernel")?;
    let lab = prepare(Settings::PATIENT)?;
    let mut printed = Vec::new();
    let outcome = lab.boot(&kernel, &host_job(command)?, |piece| printed.extend(piece))?;
    let printed = String::from_utf8(printed).context("read what the command printed")?;
    if outcome.code != 0 {
        bail!("the command ended with exit code {}:\n{printed}", outcome.code);
    }
    Ok(printed)
}

/// A kernel, and which tests are run on it.
type Task = (Kernel, Selection);

/// Runs the tests on the kernels of each lane, the lanes beside each other, and adds their results.
fn test_on(
    lab: &Lab,
    lanes: &[Vec<Task>],
    filter: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    let binary = suite::build()?;
    let run_lane = |lane: &[Task]| -> Vec<(&'static str, Report)> {
        lane.iter()
            .map(|(kernel, selection)| {
                let mut found = suite::run(lab, kernel, &binary, *selection, filter);
                // A filter is for one who works on something.
                if filter.is_none()
                    && let Err(error) = record::compare(lab, kernel)
                {
                    found.broke(format!("{error:#}"));
                }
                (kernel.name, found)
            })
            .collect()
    };
    let found: Vec<(&str, Report)> = thread::scope(|scope| {
        let lanes: Vec<_> = lanes.iter().map(|lane| scope.spawn(|| run_lane(lane))).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("no lane panics")).collect()
    });
    for (kernel, found) in found {
        println!("\n{kernel}:{found}");
        report.add(kernel, found);
    }
    Ok(())
}

/// Calls `verb` for each kernel until one does not return success.
fn each(kernels: &[Kernel], mut verb: impl FnMut(&Kernel) -> Result<u8>) -> Result<ExitCode> {
    for kernel in kernels {
        let code = verb(kernel)?;
        if code != 0 {
            return Ok(code.into());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds what every machine needs: its first process, and the agent.
fn prepare(settings: Settings) -> Result<Lab> {
    setup::ensure(&[Part::Build, Part::Lab])?;
    integration::build_agent()?;
    Ok(Lab { settings, guest: build_guest()? })
}

fn print(piece: &[u8]) {
    let mut stdout = io::stdout();
    // Nobody reads any longer: the command goes on all the same.
    let _ = stdout.write_all(piece).and_then(|()| stdout.flush());
}

fn build_guest() -> Result<Vec<u8>> {
    let profile = ["--package", "chaos-guest", "--bins", "--release", "--target", MUSL_TARGET];
    run_command(cargo().arg("build").args(profile))?;
    let path = target_directory()?.join(MUSL_TARGET).join("release/chaos-guest");
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}
