//! `ci`: everything that a change must pass, from a bare machine on.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::ValueEnum as _;

use crate::{
    build_ebpf,
    command::{self, run as run_command},
    dependencies, fmt, profiles,
    setup::{self, Part},
    test::{self, Extent, Kind, Ran, Report},
};

#[derive(clap::Args)]
pub struct Args {
    /// What takes too long for every change, too: the lab's tests whole, on each of its kernels, and
    /// the tests of a node on a second kernel
    #[arg(long)]
    all: bool,
}

pub fn run(Args { all }: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let mut stages = Stages::default();
    stages.run("setup", || setup::ensure(Part::value_variants()))?;
    // A later stage still tells something when an earlier one fails.
    let format = stages.run("format", || fmt::run(&fmt::Args { check: true }));
    let dependencies = stages.run("dependencies", dependencies::run);
    let lints = stages.run("lints", || {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        cargo(&args)
    });
    let object = stages.run("object", build_ebpf::run);
    let profiles = stages.run("profiles", || profiles::run(&profiles::Args { check: true }));
    let mut report = Report::default();
    let extent = Extent::of_flag(*all);
    for Ran { kind, took, passed } in
        test::run_kinds(Kind::value_variants(), extent, None, &mut report)?
    {
        stages.ran.push(Stage { name: kind.name(), took, passed });
    }
    println!();
    for Stage { name, took, passed } in &stages.ran {
        let verdict = if *passed { "ok" } else { "FAILED" };
        println!("{name:<12} {:>5.1} min  {verdict}", took.as_secs_f64() / 60.0);
    }
    // Less than their sum, as some run beside others.
    let whole = start.elapsed();
    println!("{:<12} {:>5.1} min", "together", whole.as_secs_f64() / 60.0);
    // Told beside the sum, where it is seen: the rest of what they printed stands far above.
    let checks = [
        ("format", format),
        ("dependencies", dependencies),
        ("lints", lints),
        ("object", object),
        ("profiles", profiles),
    ];
    for (name, outcome) in checks {
        if let Err(error) = outcome {
            report.broke(format!("{name}: {error:#}"));
        }
    }
    print!("{report}");
    Ok(report.exit_code())
}

fn cargo(args: &[&str]) -> Result<()> {
    run_command(command::cargo().args(args))
}

struct Stage {
    name: String,
    took: Duration,
    passed: bool,
}

/// The stages that ran, in the order in which they ended.
#[derive(Default)]
struct Stages {
    ran: Vec<Stage>,
}

impl Stages {
    fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<()>) -> Result<()> {
        eprintln!("== {name}");
        let start = Instant::now();
        let outcome = stage();
        if let Err(error) = &outcome {
            eprintln!("{name}: {error:#}");
        }
        let (name, took) = (name.to_owned(), start.elapsed());
        self.ran.push(Stage { name, took, passed: outcome.is_ok() });
        outcome
    }
}
