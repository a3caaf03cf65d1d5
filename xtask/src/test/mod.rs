//! `test [--unit] [--native] [--kubernetes] [--lab] [--node] [--all] [FILTER]`: runs the tests and adds
//! up their results.

mod beside;
mod report;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result};
use beside::Beside;
use cargo_metadata::{MetadataCommand, TargetKind};
use clap::ValueEnum;
pub use report::Report;
use xtask::{node::END_VARIABLE, paths};

use crate::{
    command::cargo,
    integration::{self, PACKAGE as INTEGRATION},
    setup::{self, Part},
    vm,
};

/// The integration crate's test target that needs a control plane.
const KUBERNETES: &str = "kubernetes";
/// The one that needs a real node.
const NODE: &str = "node";

#[derive(clap::Args, Default)]
pub struct Args {
    /// Tests inside the crates, their examples and documentation
    #[arg(long)]
    unit: bool,
    /// Tests against this machine's kernel; needs root
    #[arg(long)]
    native: bool,
    /// Tests against a real API server; needs root
    #[arg(long)]
    kubernetes: bool,
    /// The native tests that depend on the kernel, on kernels of the lab; needs root
    #[arg(long)]
    lab: bool,
    /// Tests on a real Kubernetes node, in a virtual machine; needs root
    #[arg(long)]
    node: bool,
    /// What takes too long for every change, too: the lab's tests whole, on each of its kernels, and
    /// the tests of a node on a second kernel
    #[arg(long)]
    all: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
    /// Where to write the results, as JSON, for the process that has started this one
    #[arg(long, hide = true)]
    results: Option<PathBuf>,
}

/// Where tests run, and against what.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Unit,
    Native,
    Kubernetes,
    Lab,
    Node,
}

/// How much is run of the kinds that boot other kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What every change must pass.
    EveryChange,
    All,
}

impl Args {
    /// The chosen kinds, all when none is chosen.
    fn kinds(&self) -> Vec<Kind> {
        let Self { unit, native, kubernetes, lab, node, .. } = self;
        let chosen = |kind: &Kind| match kind {
            Kind::Unit => *unit,
            Kind::Native => *native,
            Kind::Kubernetes => *kubernetes,
            Kind::Lab => *lab,
            Kind::Node => *node,
        };
        let kinds: Vec<Kind> = Kind::value_variants().iter().copied().filter(chosen).collect();
        if kinds.is_empty() { Kind::value_variants().to_vec() } else { kinds }
    }
}

impl Extent {
    /// That of a command with or without `--all`.
    pub fn of_flag(all: bool) -> Self {
        if all { Self::All } else { Self::EveryChange }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut report = Report::default();
    let filter = args.filter.as_deref();
    run_kinds(&args.kinds(), Extent::of_flag(args.all), filter, None, &mut report)?;
    print!("{report}");
    if let Some(path) = &args.results {
        let text = serde_json::to_vec(&report).context("write the results")?;
        fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(report.exit_code())
}

/// How the tests of one kind went.
pub struct Ran {
    pub kind: Kind,
    pub took: Duration,
    /// Whether all its tests could be run and none failed; what did is in the report.
    pub passed: bool,
}

/// Runs the tests of these kinds and adds their results. Those of the lab keep the processors busy, which those
/// on this machine's kernel and those of Kubernetes leave idle, waiting for what they have sent: the lab's
/// run beside them, and give way to them. At `end` no further test of a node is begun.
///
/// # Errors
/// When what they need cannot be set up.
pub fn run_kinds(
    kinds: &[Kind],
    extent: Extent,
    filter: Option<&str>,
    end: Option<SystemTime>,
    report: &mut Report,
) -> Result<Vec<Ran>> {
    let mut parts: Vec<Part> = Vec::new();
    for part in kinds.iter().flat_map(|kind| kind.parts()).chain([&Part::Build]) {
        if !parts.contains(part) {
            parts.push(*part);
        }
    }
    // Two processes do not install packages at once.
    setup::ensure(&parts)?;
    let leaves_idle = |kind: &Kind| matches!(kind, Kind::Native | Kind::Kubernetes);
    let mut beside = None;
    let mut all_ran = Vec::new();
    for &kind in kinds {
        if beside.is_none() && leaves_idle(&kind) && kinds.contains(&Kind::Lab) {
            // What both run is built once, before.
            integration::build_all()?;
            let node = kinds.contains(&Kind::Node).then(|| vm::node::build_command(extent));
            beside = Some(Beside::start(Kind::Lab, extent, filter, node)?);
        }
        eprintln!("== {}", kind.name());
        let failed_before = report.failed();
        let start = Instant::now();
        let took = match beside.take_if(|_| kind == Kind::Lab) {
            Some(beside) => beside.finish(report)?,
            None => {
                if let Err(error) = run_kind(kind, extent, filter, end, report) {
                    report.broke(format!("{}: {error:#}", kind.name()));
                }
                start.elapsed()
            }
        };
        all_ran.push(Ran { kind, took, passed: report.failed() == failed_before });
    }
    Ok(all_ran)
}

impl Kind {
    /// As it is written on the command line.
    pub fn name(self) -> String {
        let value = self.to_possible_value().expect("no kind is hidden");
        value.get_name().to_owned()
    }

    /// What has to be set up for it, beside the compilers.
    fn parts(self) -> &'static [Part] {
        match self {
            Self::Unit => &[],
            Self::Native => &[Part::System],
            Self::Kubernetes => &[Part::System, Part::Kube, Part::Prometheus],
            Self::Lab => &[Part::Lab],
            Self::Node => {
                &[Part::System, Part::Kube, Part::Image, Part::Lab, Part::Node, Part::Prometheus]
            }
        }
    }
}

fn run_kind(
    kind: Kind,
    extent: Extent,
    filter: Option<&str>,
    end: Option<SystemTime>,
    report: &mut Report,
) -> Result<()> {
    match kind {
        Kind::Unit => {
            let workspace = ["--workspace", "--exclude", INTEGRATION];
            cargo_test(&workspace, &[], filter, &[], report)
        }
        Kind::Native => {
            let of_the_kernel = |name: &str| name != NODE && name != KUBERNETES;
            integration_tests(kind, of_the_kernel, filter, report)
        }
        Kind::Kubernetes => integration_tests(kind, |name| name == KUBERNETES, filter, report),
        Kind::Lab => vm::test(extent, filter, report),
        Kind::Node => on_nodes(extent, filter, end, report),
    }
}

/// Runs test targets of the integration crate and, with the native ones, the crate's own tests.
fn integration_tests(
    kind: Kind,
    is_chosen: impl Fn(&str) -> bool,
    filter: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    integration::needs_root("these tests make cgroups and network namespaces")?;
    // The tests start the agent's program, which cargo does not build for another crate's tests.
    integration::build_agent()?;
    // One at a time: they count packets and watch the clock on a machine with few cores.
    let harness_args = ["--test-threads=1"];
    if kind == Kind::Native {
        // The tests of the guards themselves, of the demo and of the benchmark.
        for program in integration::own_tests()? {
            let mut command = Command::new(program);
            command.current_dir(paths::workspace().join("tests"));
            run_tests(command.args(filter).arg("--show-output").args(harness_args), report)?;
        }
    }
    for target in integration_targets()?.iter().filter(|name| is_chosen(name)) {
        let select = ["--workspace", "--test", target];
        cargo_test(&select, &harness_args, filter, &[], report)?;
    }
    Ok(())
}

/// Runs the tests of a node on one kernel after the other. A node that can't be made ready for its
/// tests is in the report.
fn on_nodes(
    extent: Extent,
    filter: Option<&str>,
    end: Option<SystemTime>,
    report: &mut Report,
) -> Result<()> {
    let end = end.map(|end| {
        let since_1970 = end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        (END_VARIABLE, since_1970.as_secs().to_string().into())
    });
    let parts = vm::node::Parts::build(vm::Settings::DEFAULT)?;
    for (kernel, cgroups) in vm::node::tested(extent) {
        let node = parts.prepare(&kernel, cgroups)?;
        let place = format!("{} with {cgroups}", kernel.name);
        println!("\nA node on {place}:");
        let select = ["--workspace", "--test", NODE];
        let variables: Vec<_> = [node.variable()].into_iter().chain(end.clone()).collect();
        let mut found = Report::default();
        cargo_test(&select, &[], filter, &variables, &mut found)?;
        report.add(&place, found);
    }
    Ok(())
}

/// The test targets of the integration crate.
fn integration_targets() -> Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .current_dir(paths::workspace())
        .no_deps()
        .exec()
        .context("read the workspace")?;
    let package = metadata.packages.into_iter().find(|package| package.name == INTEGRATION);
    let package = package.with_context(|| format!("no crate {INTEGRATION} in the workspace"))?;
    let tests = package.targets.into_iter().filter(|target| target.is_kind(TargetKind::Test));
    Ok(tests.map(|target| target.name).collect())
}

/// Runs `cargo test`, passes on what it prints and adds its results to the report.
fn cargo_test(
    select: &[&str],
    harness_args: &[&str],
    filter: Option<&str>,
    variables: &[(&str, PathBuf)],
    report: &mut Report,
) -> Result<()> {
    let mut command = cargo();
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.args(["test", "--no-fail-fast"]).args(select).args(filter);
    // A test that can't run here says why on standard error, which is hidden otherwise.
    command.args(["--", "--show-output"]).args(harness_args);
    run_tests(&mut command, report)
}

/// Runs a command that runs tests, passes on what it prints and adds its results to the report.
fn run_tests(command: &mut Command, report: &mut Report) -> Result<()> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("run {command:?}"))?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let failed_before = report.failed();
    for line in BufReader::new(stdout).lines() {
        let line = line.with_context(|| format!("output of {command:?}"))?;
        println!("{line}");
        report.read(&line);
    }
    let status = child.wait().with_context(|| format!("wait for {command:?}"))?;
    if !status.success() && report.failed() == failed_before {
        report.broke(format!("{command:?}: {status}"));
    }
    Ok(())
}
