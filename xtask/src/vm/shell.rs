//! A prompt on a kernel of the lab.

use std::{
    env,
    io::{Stdin, stdin},
};

use anyhow::Result;
use chaos_guest::TerminalSize;
use nix::sys::termios::{SetArg, Termios, tcgetattr, tcsetattr};
use terminal_size::{Height, Width, terminal_size};

use super::{
    kernels::Kernel,
    lab::{Lab, host_job},
    print,
};

/// Runs this user's shell until it ends.
pub fn run(lab: &Lab, kernel: &Kernel) -> Result<u8> {
    let shell = env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let mut job = host_job(vec![shell])?;
    job.terminal = Some(size());
    let _kept = Kept::new();
    Ok(lab.boot(kernel, &job, print)?.code)
}

/// The size of this process's terminal; the usual one without a terminal.
fn size() -> TerminalSize {
    let (Width(columns), Height(rows)) = terminal_size().unwrap_or((Width(80), Height(24)));
    TerminalSize { rows, columns }
}

/// The settings of this process's terminal, which QEMU changes; back in force when this is dropped,
/// however QEMU ended.
struct Kept {
    terminal: Stdin,
    settings: Option<Termios>,
}

impl Kept {
    fn new() -> Self {
        let terminal = stdin();
        let settings = tcgetattr(&terminal).ok();
        Self { terminal, settings }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(settings) = &self.settings {
            // Without it there is nothing to keep.
            let _ = tcsetattr(&self.terminal, SetArg::TCSADRAIN, settings);
        }
    }
}
