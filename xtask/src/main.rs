//! The project's own commands: `cargo xtask VERB`. One file a verb.

mod aarch64;
mod bench;
mod build_ebpf;
mod chart;
mod ci;
mod command;
mod crds;
mod demo;
mod dependencies;
mod fmt;
mod image;
mod integration;
mod profiles;
mod setup;
mod test;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's own commands", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what this machine lacks; does nothing where everything is there
    Setup(setup::Args),
    /// Build the BPF object and check what is in it
    BuildEbpf,
    /// Check that the agent compiles for aarch64
    Aarch64,
    /// Check licences, sources and bans of all dependencies
    Dependencies,
    /// Format the sources
    Fmt(fmt::Args),
    /// Run the tests; without a choice of kind, all of them
    Test(test::Args),
    /// Show a client and a server broken and healed, fault by fault; needs root
    Demo(demo::Args),
    /// Measure what the agent costs its victims; needs root
    Bench(bench::Args),
    /// Build the agent's container image, an OCI archive
    Image(image::Args),
    /// Run a command or the native tests on other kernels, under QEMU
    Vm(vm::Args),
    /// Write the seccomp profiles of manifests/ from the container runtime's default
    Profiles(profiles::Args),
    /// Write the definitions of the kinds Experiment and Run of manifests/ from their types
    Crds(crds::Args),
    /// Write what the Helm chart takes from manifests/, and check that it renders the same objects
    Chart(chart::Args),
    /// What a change must pass: setup, formatting, lints, BPF object, tests
    Ci(ci::Args),
}

fn main() -> ExitCode {
    run(Cli::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(Cli { verb }: Cli) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Setup(args) => setup::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::BuildEbpf => build_ebpf::run().map(|()| ExitCode::SUCCESS),
        Verb::Aarch64 => aarch64::run().map(|()| ExitCode::SUCCESS),
        Verb::Dependencies => dependencies::run().map(|()| ExitCode::SUCCESS),
        Verb::Fmt(args) => fmt::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Test(args) => test::run(&args),
        Verb::Bench(args) => bench::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Demo(args) => demo::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Image(args) => image::run(&args),
        Verb::Vm(args) => vm::run(&args),
        Verb::Profiles(args) => profiles::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Crds(args) => crds::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Chart(args) => chart::run(&args).map(|()| ExitCode::SUCCESS),
        Verb::Ci(args) => ci::run(&args),
    }
}
