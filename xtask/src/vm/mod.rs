//! `vm --kernel NAME,… run -- COMMAND…` and `vm --kernel NAME,… test [FILTER]`: the lab, real
//! kernels under QEMU that see this machine's files.
//!
//! `cargo xtask ci` and `cargo xtask test` do not use it.

mod alarm;
mod apt;
mod debian;
mod initramfs;
mod installed;
mod kernels;
mod machine;
mod modules;
mod source;
mod suite;

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, ExitCode},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use chaos_guest::{JOB_FILE, Job, MODULES_DIR, MODULES_ORDER};
use initramfs::Initramfs;
use installed::Installed;
use kernels::{Kernel, KernelArg, MODULES};
use machine::{Machine, Outcome};
use xtask::paths;

use crate::{
    command::run as run_command,
    integration,
    setup::{self, Part, build::MUSL_TARGET},
};

#[derive(clap::Args)]
pub struct Args {
    /// The kernels to boot, one after the other
    #[arg(long, value_delimiter = ',', required_unless_present = "all")]
    kernel: Vec<KernelArg>,
    /// Boot every kernel
    #[arg(long, conflicts_with = "kernel")]
    all: bool,
    /// Virtual processors
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    cpus: u8,
    /// Memory in MiB; it also holds the files that are written
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(256..))]
    memory: u32,
    /// Seconds after which a machine is given up
    #[arg(long, default_value_t = 300)]
    timeout: u64,
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
    /// Run the native tests
    Test {
        /// Only tests whose name contains this
        filter: Option<String>,
    },
}

/// Runs the verb on every chosen kernel. The exit code is the first one that is not success.
pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Part::Build, Part::Lab])?;
    let lab = Lab { args, guest: build_guest()? };
    let kernels =
        if args.all { <KernelArg as clap::ValueEnum>::value_variants() } else { &args.kernel };
    match &args.verb {
        Verb::Run { command } => {
            build_agent()?;
            for KernelArg(kernel) in kernels {
                let code = lab.boot(kernel, host_job(command.clone())?, print)?.code;
                if code != 0 {
                    return Ok(code.into());
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Verb::Test { filter } => {
            build_agent()?;
            let binary = suite::build()?;
            let mut exit_code = ExitCode::SUCCESS;
            let mut summary = Vec::new();
            for KernelArg(kernel) in kernels {
                let report = suite::run(&lab, kernel, &binary, filter.as_deref());
                if report.exit_code() != ExitCode::SUCCESS {
                    exit_code = ExitCode::FAILURE;
                }
                summary.push((kernel.name, report));
            }
            for (name, report) in summary {
                println!("\n{name}:{report}");
            }
            Ok(exit_code)
        }
    }
}

/// What is the same for every kernel.
struct Lab<'a> {
    args: &'a Args,
    /// The program that is `/init`.
    guest: Vec<u8>,
}

impl Lab<'_> {
    /// Boots `kernel` for one job.
    fn boot(&self, kernel: &Kernel, job: Job, output: impl FnMut(&[u8]) + Send) -> Result<Outcome> {
        let installed =
            installed::ensure(kernel).with_context(|| format!("get {}", kernel.name))?;
        // It has the environment in it, so nobody else may read it.
        let mut initramfs = tempfile::NamedTempFile::new().context("make a temporary file")?;
        initramfs.write_all(&self.initramfs(&installed, &job)?).context("write the initramfs")?;
        let logs = paths::workspace().join("target/vm");
        fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        let Args { cpus, memory, timeout, .. } = *self.args;
        let machine = Machine {
            kernel: &installed,
            initramfs: initramfs.path(),
            cpus,
            memory,
            timeout: Duration::from_secs(timeout),
            log: logs.join(format!("{}.log", kernel.name)),
        };
        let outcome = machine.run(output).with_context(|| kernel.name)?;
        let Outcome { code, boot, total } = &outcome;
        eprintln!(
            "{}: started after {:.1} s, exit code {code} after {:.1} s",
            kernel.name,
            boot.as_secs_f64(),
            total.as_secs_f64()
        );
        Ok(outcome)
    }

    fn initramfs(&self, kernel: &Installed, job: &Job) -> Result<Vec<u8>> {
        let mut initramfs = Initramfs::default();
        initramfs.program("init", &self.guest);
        initramfs.file(JOB_FILE, &serde_json::to_vec(job).context("write the job")?);
        initramfs.directory(MODULES_DIR);
        let mut order = String::new();
        if let Some(dir) = &kernel.modules {
            for modules::Module { name, contents } in modules::read(dir, MODULES)? {
                initramfs.file(&format!("{MODULES_DIR}/{name}"), &contents);
                order += &name;
                order.push('\n');
            }
        }
        initramfs.file(&format!("{MODULES_DIR}/{MODULES_ORDER}"), order.as_bytes());
        Ok(initramfs.finish())
    }
}

/// A command that finds the guest as it would find this machine, with the built agent on `PATH`.
fn host_job(command: Vec<String>) -> Result<Job> {
    let mut environment: Vec<(String, String)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name != "PATH")
        .collect();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([built_programs()].into_iter().chain(env::split_paths(&path)));
    let path = path.context("extend PATH")?.into_string();
    let Ok(path) = path else { bail!("PATH is not UTF-8") };
    environment.push(("PATH".to_owned(), path));
    let directory = env::current_dir().context("find the working directory")?;
    let Some(directory) = directory.to_str() else { bail!("the working directory is not UTF-8") };
    Ok(Job { command, environment, directory: directory.to_owned() })
}

fn built_programs() -> PathBuf {
    paths::workspace().join("target/debug")
}

fn print(piece: &[u8]) {
    let mut stdout = io::stdout();
    // Nobody reads any longer: the command goes on all the same.
    let _ = stdout.write_all(piece).and_then(|()| stdout.flush());
}

fn build_agent() -> Result<()> {
    run_command(cargo().args(["build", "--package", integration::AGENT]))
}

fn build_guest() -> Result<Vec<u8>> {
    let profile = ["--package", "chaos-guest", "--bins", "--release", "--target", MUSL_TARGET];
    run_command(cargo().arg("build").args(profile))?;
    let path = paths::workspace().join("target").join(MUSL_TARGET).join("release/chaos-guest");
    fs::read(&path).with_context(|| format!("read {}", path.display()))
}

fn cargo() -> Command {
    let mut command = Command::new("cargo");
    command.current_dir(paths::workspace());
    command
}
