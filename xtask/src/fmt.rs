//! `fmt [--check]`: formats the sources, imports included, with the rustfmt of the pinned nightly: that of the
//! stable toolchain leaves imports as they are.

use anyhow::Result;
use chaos_toolchain::bpf::{ensure_rustfmt, nightly_command};
use xtask::paths;

use crate::command::run as run_command;

/// Standard library, other crates, this crate: three groups, with one `use` for each crate.
const IMPORTS: &str = "group_imports=StdExternalCrate,imports_granularity=Crate";

#[derive(clap::Args)]
pub struct Args {
    /// Change nothing; say what is not formatted, and fail
    #[arg(long)]
    pub check: bool,
}

pub fn run(Args { check }: &Args) -> Result<()> {
    let toolchain = paths::bpf_toolchain()?;
    ensure_rustfmt(&toolchain)?;
    let mut command = nightly_command(&toolchain, "cargo")?;
    command.current_dir(paths::workspace()).args(["fmt", "--all", "--", "--config", IMPORTS]);
    if *check {
        command.arg("--check");
    }
    run_command(&mut command)
}
