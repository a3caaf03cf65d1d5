//! `/init` of the lab's virtual machines: loads the modules, puts the host's file system in
//! place, runs one command and powers the machine off.

mod console;
mod modules;
mod mounts;
mod run;

use std::{convert::Infallible, fs, process::Command};

use anyhow::{Context as _, Result, bail};
use chaos_guest::{JOB_FILE, Job, Milestone};
use console::Console;
use nix::{
    sys::reboot::{RebootMode, reboot},
    unistd::{getpid, sethostname},
};

fn main() -> Result<Infallible> {
    if getpid().as_raw() != 1 {
        bail!("this is the first process of a virtual machine: run `cargo xtask vm`");
    }
    if let Err(error) = live() {
        // The first serial line; without the second one this is all that the host learns.
        eprintln!("chaos-guest: {error:#}");
    }
    reboot(RebootMode::RB_POWER_OFF).context("power off")
}

fn live() -> Result<()> {
    mounts::early()?;
    let mut console = Console::open()?;
    let milestone = match do_job(&mut console) {
        Ok(code) => Milestone::Exited(code),
        Err(error) => Milestone::Broken(format!("{error:#}")),
    };
    console.tell(&milestone)
}

fn do_job(console: &mut Console) -> Result<u8> {
    let job = fs::read(format!("/{JOB_FILE}")).with_context(|| format!("read /{JOB_FILE}"))?;
    let job: Job = serde_json::from_slice(&job).with_context(|| format!("parse /{JOB_FILE}"))?;
    modules::load()?;
    mounts::enter_host_root()?;
    sethostname("chaos-lab").context("set the host name")?;
    // The host has the program; nobody else configures the guest's network.
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    if !status.context("run ip")?.success() {
        bail!("ip could not bring up lo");
    }
    console.tell(&Milestone::Started)?;
    run::run(&job, console)
}
