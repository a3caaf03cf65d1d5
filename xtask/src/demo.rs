//! `demo`: a client and a server, broken and healed before your eyes.

use std::process::Command;

use anyhow::Result;

use crate::{
    command::run as run_command,
    integration,
    setup::{self, Part},
};

pub fn run() -> Result<()> {
    integration::needs_root("the demo makes cgroups and network namespaces")?;
    setup::ensure(&[Part::Build, Part::System])?;
    let programs = integration::build_programs(&["demo", "victim"])?;
    run_command(Command::new(programs.join("demo")).arg(programs.join(integration::AGENT)))
}
