//! Runs the plugin on a terminal, types keys and reads what is shown.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::pty::{Winsize, openpty};

/// Far longer than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

const SIZE: Winsize = Winsize { ws_row: 24, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };

/// A program on a terminal. Dropping it kills the program.
pub struct Terminal {
    child: Child,
    keys: File,
    shown: Arc<Mutex<String>>,
}

impl Terminal {
    /// Starts a program with the terminal as standard input and output.
    pub fn start(mut command: Command) -> Result<Self> {
        let terminal = openpty(&SIZE, None).context("openpty")?;
        let slave = File::from(terminal.slave);
        command.stdin(slave.try_clone()?).stdout(slave).stderr(Stdio::inherit());
        command.env("TERM", "xterm").env("NO_COLOR", "1");
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        // With it goes the test's own end of the terminal: reading ends with the program.
        drop(command);
        let keys = File::from(terminal.master);
        let (mut output, shown) = (keys.try_clone()?, Arc::new(Mutex::new(String::new())));
        let kept = shown.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Ok(Self { child, keys, shown })
    }

    pub fn press(&mut self, keys: &str) -> Result<()> {
        self.keys.write_all(keys.as_bytes()).context("write to the terminal")
    }

    /// Everything that was shown so far.
    fn shown(&self) -> String {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until this is shown after what was shown when it was called last, and forgets what was shown so far.
    pub fn await_shown(&self, text: &str) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let shown = self.shown();
            if let Some(at) = shown.find(text) {
                let mut kept = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
                kept.drain(..at + text.len());
                return Ok(());
            }
            if Instant::now() > give_up {
                bail!("{text:?} was not shown, but {shown}");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn wait(&mut self) -> Result<ExitStatus> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                bail!("it still runs, and shows {}", self.shown());
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only where it is dead and reaped already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
