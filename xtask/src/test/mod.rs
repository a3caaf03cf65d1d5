//! `test [--unit] [--native] [--kubernetes] [--lab] [--node] [--all] [FILTER]`: runs the tests and adds
//! up their results.

mod report;

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, Result};
use cargo_metadata::{MetadataCommand, TargetKind};
use clap::ValueEnum;
pub use report::Report;
use xtask::paths;

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
    for kind in args.kinds() {
        let extent = Extent::of_flag(args.all);
        run_kind(kind, extent, args.filter.as_deref(), &mut report)?;
    }
    print!("{report}");
    Ok(report.exit_code())
}

/// Runs the tests of one kind and adds their results. A failed test is in the report; an error means
/// that tests could not be run.
pub fn run_kind(
    kind: Kind,
    extent: Extent,
    filter: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    setup::ensure(&[Part::Build])?;
    match kind {
        Kind::Unit => {
            let workspace = ["--workspace", "--exclude", INTEGRATION];
            cargo_test(&workspace, &[], filter, None, report)
        }
        Kind::Native => {
            let of_the_kernel = |name: &str| name != NODE && name != KUBERNETES;
            integration_tests(kind, of_the_kernel, filter, report)
        }
        Kind::Kubernetes => integration_tests(kind, |name| name == KUBERNETES, filter, report),
        Kind::Lab => vm::test(extent, filter, report),
        Kind::Node => on_nodes(extent, filter, report),
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
    setup::ensure(&[Part::System])?;
    if kind == Kind::Kubernetes {
        setup::ensure(&[Part::Kube])?;
    }
    // The tests start the agent's program, which cargo does not build for another crate's tests.
    integration::build_agent()?;
    // One at a time: they count packets and watch the clock on a machine with few cores.
    let harness_args = ["--test-threads=1"];
    if kind == Kind::Native {
        // The tests of the guards themselves, of the demo and of the benchmark.
        let own = ["--package", INTEGRATION, "--lib", "--bins"];
        cargo_test(&own, &harness_args, filter, None, report)?;
    }
    for target in integration_targets()?.iter().filter(|name| is_chosen(name)) {
        let select = ["--workspace", "--test", target];
        cargo_test(&select, &harness_args, filter, None, report)?;
    }
    Ok(())
}

/// Runs the tests of a node on one kernel after the other. A node that can't be made ready for its
/// tests is in the report.
fn on_nodes(extent: Extent, filter: Option<&str>, report: &mut Report) -> Result<()> {
    let parts = vm::node::Parts::build(vm::Settings::DEFAULT)?;
    for (kernel, cgroups) in vm::node::tested(extent) {
        let node = parts.prepare(&kernel, cgroups)?;
        let place = format!("{} with {cgroups}", kernel.name);
        println!("\nA node on {place}:");
        let select = ["--workspace", "--test", NODE];
        let mut found = Report::default();
        cargo_test(&select, &[], filter, Some(node.variable()), &mut found)?;
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
    variable: Option<(&str, PathBuf)>,
    report: &mut Report,
) -> Result<()> {
    let mut command = cargo();
    command.envs(variable);
    command.args(["test", "--no-fail-fast"]).args(select).args(filter);
    // A test that can't run here says why on standard error, which is hidden otherwise.
    command.args(["--", "--show-output"]).args(harness_args);
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
