//! `test [--unit] [--native] [--kubernetes] [--lab] [--node] [FILTER]`: runs the tests and adds up
//! their results.

mod report;

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{ExitCode, Stdio},
};

use anyhow::{Context as _, Result};
use cargo_metadata::{MetadataCommand, TargetKind};
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
/// The one that needs a real node. It is slow, so it is run only when it is asked for.
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
    /// Tests on a real Kubernetes node, in a virtual machine for each of two kernels; needs root,
    /// and is not among the tests that are run without a choice
    #[arg(long)]
    node: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let report = run_tests(args)?;
    print!("{report}");
    Ok(report.exit_code())
}

/// Runs the chosen kinds of tests, all of them when none is chosen. A failed test is in the
/// report; an error means that tests could not be run.
pub fn run_tests(args: &Args) -> Result<Report> {
    let Args { unit, native, kubernetes, lab, node, filter } = args;
    let all = !(*unit || *native || *kubernetes || *lab || *node);
    let filter = filter.as_deref();
    let mut report = Report::default();

    setup::ensure(&[Part::Build])?;
    if all || *unit {
        let workspace = ["--workspace", "--exclude", INTEGRATION];
        cargo_test(&workspace, &[], filter, None, &mut report)?;
    }
    let (with_api_server, with_kernel): (Vec<String>, Vec<String>) = integration_targets()?
        .into_iter()
        .filter(|name| name != NODE)
        .partition(|name| name == KUBERNETES);
    let mut integration = Vec::new();
    if all || *native {
        integration.extend(with_kernel);
    }
    if all || *kubernetes {
        integration.extend(with_api_server);
    }
    if !integration.is_empty() {
        integration_tests(&integration, all || *native, filter, &mut report)?;
    }
    if all || *lab {
        vm::test(filter, &mut report)?;
    }
    if *node {
        on_nodes(filter, &mut report)?;
    }
    Ok(report)
}

/// Runs test targets of the integration crate and, with the native ones, the crate's own tests.
fn integration_tests(
    targets: &[String],
    native: bool,
    filter: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    integration::needs_root("these tests make cgroups and network namespaces")?;
    setup::ensure(&[Part::System])?;
    if targets.iter().any(|name| name == KUBERNETES) {
        setup::ensure(&[Part::Kube])?;
    }
    // The tests start the agent's program, which cargo does not build for another crate's tests.
    integration::build_agent()?;
    // One at a time: they count packets and watch the clock on a machine with few cores.
    let harness_args = ["--test-threads=1"];
    if native {
        // The tests of the guards themselves, of the demo and of the benchmark.
        let own = ["--package", INTEGRATION, "--lib", "--bins"];
        cargo_test(&own, &harness_args, filter, None, report)?;
    }
    for target in targets {
        let select = ["--workspace", "--test", target];
        cargo_test(&select, &harness_args, filter, None, report)?;
    }
    Ok(())
}

/// Runs the tests of a node on one kernel after the other. A node that can't be made ready for its
/// tests is in the report.
fn on_nodes(filter: Option<&str>, report: &mut Report) -> Result<()> {
    let parts = vm::node::Parts::build(vm::Settings::DEFAULT)?;
    for (kernel, cgroups) in vm::node::tested() {
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
