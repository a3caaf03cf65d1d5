//! The second serial line, to which only this process writes.

use std::{
    fs::File,
    io::{self, Write as _},
};

use anyhow::{Context as _, Result};
use chaos_guest::Milestone;
use nix::sys::termios::{BaudRate, SetArg, cfmakeraw, cfsetspeed, tcdrain, tcgetattr, tcsetattr};

const DEVICE: &str = "/dev/ttyS1";

pub struct Console(File);

impl Console {
    /// Opens the line and has it carry every byte unchanged.
    pub fn open() -> Result<Self> {
        let line = File::options().read(true).write(true).open(DEVICE);
        let line = line.with_context(|| format!("open {DEVICE}"))?;
        let mut settings = tcgetattr(&line).context("tcgetattr")?;
        cfmakeraw(&mut settings);
        cfsetspeed(&mut settings, BaudRate::B115200).context("cfsetspeed")?;
        tcsetattr(&line, SetArg::TCSANOW, &settings).context("tcsetattr")?;
        Ok(Self(line))
    }

    /// Writes a milestone and waits until it is out.
    pub fn tell(&mut self, milestone: &Milestone) -> Result<()> {
        write!(self.0, "{milestone}").with_context(|| format!("write to {DEVICE}"))?;
        tcdrain(&self.0).with_context(|| format!("drain {DEVICE}"))
    }

    /// Passes on everything from `source` until its end.
    pub fn copy(&mut self, mut source: impl io::Read) -> Result<()> {
        io::copy(&mut source, &mut self.0).with_context(|| format!("copy to {DEVICE}"))?;
        Ok(())
    }
}
