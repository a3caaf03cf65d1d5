//! `ci`: everything that a change must pass, from a bare machine on.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    build_ebpf,
    command::{self, run as run_command},
    setup::{self, Part},
    test::{self, Report},
};

pub fn run() -> Result<ExitCode> {
    let mut stages = Stages::default();
    stages.run("setup", || setup::ensure(&[Part::Build, Part::System, Part::Kube, Part::Lab]))?;
    // A later stage still tells something when an earlier one fails.
    let format = stages.run("format", || cargo(&["fmt", "--all", "--check"]));
    let lints = stages.run("lints", || {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        cargo(&args)
    });
    let object = stages.run("object", build_ebpf::run);
    let report = stages.run("tests", || test::run_tests(&test::Args::default()))?;
    println!();
    for Stage { name, took, passed } in &stages.0 {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{name:<7} {:>7.1} s  {verdict}", took.as_secs_f64());
    }
    print!("{report}");
    let checks_passed = format.is_ok() && lints.is_ok() && object.is_ok();
    Ok(if checks_passed { report.exit_code() } else { ExitCode::FAILURE })
}

fn cargo(args: &[&str]) -> Result<()> {
    run_command(command::cargo().args(args))
}

struct Stage {
    name: &'static str,
    took: Duration,
    passed: bool,
}

/// The stages that ran, in order.
#[derive(Default)]
struct Stages(Vec<Stage>);

/// What a stage returns when it could be run.
trait Outcome {
    fn passed(&self) -> bool;
}

impl Outcome for () {
    fn passed(&self) -> bool {
        true
    }
}

impl Outcome for Report {
    fn passed(&self) -> bool {
        self.exit_code() == ExitCode::SUCCESS
    }
}

impl Stages {
    fn run<T: Outcome>(
        &mut self,
        name: &'static str,
        stage: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        eprintln!("== {name}");
        let start = Instant::now();
        let outcome = stage();
        if let Err(error) = &outcome {
            eprintln!("{name}: {error:#}");
        }
        let passed = outcome.as_ref().is_ok_and(Outcome::passed);
        self.0.push(Stage { name, took: start.elapsed(), passed });
        outcome
    }
}
