//! The second serial line, to which only this process writes.

use std::{
    fs::File,
    io::{self, Write as _},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use chaos_guest::{Milestone, TerminalSize};
use nix::sys::termios::{BaudRate, SetArg, cfmakeraw, cfsetspeed, tcdrain, tcgetattr, tcsetattr};

const DEVICE: &str = "/dev/ttyS1";

pub struct Console(File);

impl Console {
    /// Opens the line and has it carry every byte unchanged.
    pub fn open() -> Result<Self> {
        let line = File::options().read(true).write(true).open(DEVICE);
        let console = Self(line.with_context(|| format!("open {DEVICE}"))?);
        console.make_raw()?;
        Ok(console)
    }

    fn make_raw(&self) -> Result<()> {
        let mut settings = tcgetattr(&self.0).context("tcgetattr")?;
        cfmakeraw(&mut settings);
        cfsetspeed(&mut settings, BaudRate::B115200).context("cfsetspeed")?;
        tcsetattr(&self.0, SetArg::TCSADRAIN, &settings).context("tcsetattr")
    }

    /// Calls `job` while the line is a terminal of this size, with a handle of it, which is of no use
    /// afterwards: the kernel hangs a terminal up when the leader of its session ends.
    pub fn as_terminal<T>(
        &mut self,
        TerminalSize { rows, columns }: TerminalSize,
        job: impl FnOnce(&File) -> Result<T>,
    ) -> Result<T> {
        let mut stty = Command::new("stty");
        stty.arg(format!("--file={DEVICE}")).arg("sane");
        stty.args(["rows", &rows.to_string(), "columns", &columns.to_string()]);
        let status = stty.status().context("run stty")?;
        if !status.success() {
            bail!("stty could not set {DEVICE} up: {status}");
        }
        let outcome = job(&self.0);
        *self = Self::open()?;
        outcome
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
