//! A kernel of the lab, booted for one job.

use std::{env, fs, io::Write as _, time::Duration};

use anyhow::{Context as _, Result, bail};
use chaos_guest::{JOB_FILE, Job, MODULES_DIR, MODULES_ORDER};

use super::{
    initramfs::Initramfs,
    installed::{self, Installed},
    kernels::{Kernel, MODULES, OPTIONAL_MODULES},
    machine::{Machine, Outcome},
    modules,
};
use crate::command::target_directory;

/// How machines are made, whichever kernel they boot.
#[derive(Clone, Copy, clap::Args)]
pub struct Settings {
    /// Virtual processors
    #[arg(long, default_value_t = Settings::DEFAULT.cpus, value_parser = clap::value_parser!(u8).range(1..))]
    pub cpus: u8,
    /// Memory in MiB; it also holds the files that are written. A node has 1536 at least
    #[arg(long, default_value_t = Settings::DEFAULT.memory, value_parser = clap::value_parser!(u32).range(256..))]
    pub memory: u32,
    /// Seconds after which a machine is given up; a shell has no such time
    #[arg(long, default_value_t = Settings::DEFAULT.timeout)]
    timeout: u64,
}

impl Settings {
    pub const DEFAULT: Self = Self { cpus: 2, memory: 1024, timeout: 1500 };
    /// For what takes its time.
    pub const PATIENT: Self = Self { timeout: 3600, ..Self::DEFAULT };
}

/// What is the same for every kernel.
pub struct Lab {
    pub settings: Settings,
    /// The program that is `/init`.
    pub guest: Vec<u8>,
}

impl Lab {
    /// Boots `kernel` for one job, whose output is handed on piece by piece.
    pub fn boot(
        &self,
        kernel: &Kernel,
        job: &Job,
        output: impl FnMut(&[u8]) + Send,
    ) -> Result<Outcome> {
        let installed =
            installed::ensure(kernel).with_context(|| format!("get {}", kernel.name))?;
        // It has the environment in it, so nobody else may read it.
        let mut initramfs = tempfile::NamedTempFile::new().context("make a temporary file")?;
        initramfs
            .write_all(&self.initramfs(&installed, job, &[])?)
            .context("write the initramfs")?;
        let logs = target_directory()?.join("vm");
        fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        let Settings { cpus, memory, timeout } = self.settings;
        let machine = Machine {
            kernel: &installed,
            initramfs: initramfs.path(),
            cpus,
            memory,
            timeout: job.terminal.is_none().then(|| Duration::from_secs(timeout)),
            input: job.terminal.is_some(),
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

    /// What the machine starts from: the guest's program, the kernel's modules and the job. Of the modules
    /// `besides`, those that the kernel has.
    pub fn initramfs(&self, kernel: &Installed, job: &Job, besides: &[&str]) -> Result<Vec<u8>> {
        let mut initramfs = Initramfs::default();
        initramfs.program("init", &self.guest);
        initramfs.file(JOB_FILE, &serde_json::to_vec(job).context("write the job")?);
        initramfs.directory(MODULES_DIR);
        let mut order = String::new();
        if let Some(dir) = &kernel.modules {
            let optional = [OPTIONAL_MODULES, besides].concat();
            for modules::Module { name, contents } in modules::read(dir, &optional, MODULES)? {
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
pub fn host_job(command: Vec<String>) -> Result<Job> {
    let mut environment: Vec<(String, String)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name != "PATH")
        .collect();
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(
        [target_directory()?.join("debug")].into_iter().chain(env::split_paths(&path)),
    );
    let path = path.context("extend PATH")?.into_string();
    let Ok(path) = path else { bail!("PATH is not UTF-8") };
    environment.push(("PATH".to_owned(), path));
    let directory = env::current_dir().context("find the working directory")?;
    let Some(directory) = directory.to_str() else { bail!("the working directory is not UTF-8") };
    Ok(Job { command, environment, directory: directory.to_owned(), terminal: None })
}
