//! `ci`: everything that a change must pass, from a bare machine on.

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Result, bail};
use clap::ValueEnum as _;

use crate::{
    aarch64, build_ebpf, chart,
    command::{self, run as run_command},
    crds, dependencies, fmt, profiles,
    setup::{self, Part},
    test::{self, Extent, Kind, Ran, Report},
};

/// After this time no further test of a node is begun: a change whose checks have not ended after 90 minutes is
/// lost, on a machine that is slow that day, too. Each test that was not begun is named with this reason.
const TIME_FOR_TESTS: Duration = Duration::from_mins(78);

#[derive(clap::Args)]
pub struct Args {
    /// What takes too long for every change, too: the lab's tests whole, on each of its kernels, and
    /// the tests of a node on a second kernel
    #[arg(long)]
    all: bool,
}

pub fn run(Args { all }: &Args) -> Result<ExitCode> {
    let start = Instant::now();
    let end = (!all).then(|| SystemTime::now() + TIME_FOR_TESTS);
    let mut stages = Stages::default();
    if !stages.run("setup", || setup::ensure(Part::value_variants())) {
        bail!("without the setup nothing else can be run");
    }
    // A later stage still tells something when an earlier one fails.
    stages.run("format", || fmt::run(&fmt::Args { check: true }));
    stages.run("dependencies", dependencies::run);
    stages.run("lints", || {
        let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        cargo(&args)
    });
    stages.run("object", build_ebpf::run);
    // After the object, which it has compiled for that architecture already.
    stages.run("aarch64", aarch64::run);
    stages.run("profiles", || profiles::run(&profiles::Args { check: true }));
    stages.run("crds", || crds::run(&crds::Args { check: true }));
    stages.run("chart", || chart::run(&chart::Args { check: true }));
    let mut report = Report::default();
    let extent = Extent::of_flag(*all);
    for Ran { kind, took, passed } in
        test::run_kinds(Kind::value_variants(), extent, None, end, &mut report)?
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
    for error in stages.errors {
        report.broke(error);
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
    /// What went wrong in those that are no tests, by their names.
    errors: Vec<String>,
}

impl Stages {
    /// Whether it passed.
    fn run(&mut self, name: &str, stage: impl FnOnce() -> Result<()>) -> bool {
        eprintln!("== {name}");
        let start = Instant::now();
        let outcome = stage();
        let passed = outcome.is_ok();
        if let Err(error) = outcome {
            eprintln!("{name}: {error:#}");
            self.errors.push(format!("{name}: {error:#}"));
        }
        self.ran.push(Stage { name: name.to_owned(), took: start.elapsed(), passed });
        passed
    }
}
