//! What every job has around it: the signal to stop, the line that says ready, the rounds.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use chaos_tests::job::{Ready, Repeat};
use serde::Serialize;

/// How long servers wait for traffic before they look whether they are to stop. Once stopped,
/// silence of this length means that nothing more is on its way.
pub const QUIET: Duration = Duration::from_millis(50);

pub struct Stage {
    stopped: Arc<AtomicBool>,
}

impl Stage {
    pub fn new() -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stopped);
        thread::spawn(move || {
            // A read error ends the job as the end of input does.
            let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
            flag.store(true, Ordering::Relaxed);
        });
        Self { stopped }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    pub fn ready(&self, address: Option<SocketAddr>) -> Result<()> {
        print(&Ready { address })
    }

    /// The rounds of one of `lanes` threads or flows.
    pub fn rounds(&self, repeat: Repeat, lane: u32, lanes: u32) -> Rounds<'_> {
        let (left, until) = match repeat {
            Repeat::Times(times) => {
                let (lane, lanes) = (u64::from(lane), u64::from(lanes));
                (times / lanes + u64::from(lane < times % lanes), None)
            }
            Repeat::For(duration) => (u64::MAX, Some(Instant::now() + duration)),
            Repeat::UntilStopped => (u64::MAX, None),
        };
        Rounds { stage: self, left, until }
    }
}

/// Yields once for every time that something is to be done.
pub struct Rounds<'a> {
    stage: &'a Stage,
    left: u64,
    until: Option<Instant>,
}

impl Iterator for Rounds<'_> {
    type Item = ();

    fn next(&mut self) -> Option<()> {
        let over = self.until.is_some_and(|until| Instant::now() >= until);
        if self.left == 0 || over || self.stage.is_stopped() {
            return None;
        }
        self.left -= 1;
        Some(())
    }
}

pub fn pause(interval: Duration) {
    if !interval.is_zero() {
        thread::sleep(interval);
    }
}

/// Prints one line of JSON.
pub fn print(line: &impl Serialize) -> Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, line).context("print a line of JSON")?;
    writeln!(stdout).and_then(|()| stdout.flush()).context("print a line of JSON")
}
