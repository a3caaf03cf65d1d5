//! Runs tests in a process of its own, which gives way to whatever else wants the processors.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    path::PathBuf,
    process::{self, Command, ExitStatus},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use super::{Extent, Kind, Report};
use crate::command::target_directory;

/// How far it gives way: it gets a tenth of a processor that another process wants for itself (nice(2)), so
/// that no kernel of the lab takes itself for stalled.
const NICENESS: &str = "10";

/// Tests of one kind that are being run.
pub struct Beside {
    kind: Kind,
    /// What they print.
    log: PathBuf,
    /// Their results, once they have ended.
    results: PathBuf,
    ended: JoinHandle<io::Result<(ExitStatus, Duration)>>,
    /// What to do while waiting for them, which others would have to wait for later.
    meanwhile: Option<Command>,
}

impl Beside {
    /// Starts them, as `cargo xtask test` would run them; the command with `meanwhile` runs once somebody waits
    /// for them ([`Self::finish`]): until then others want the processors.
    pub fn start(
        kind: Kind,
        extent: Extent,
        filter: Option<&str>,
        meanwhile: Option<Vec<String>>,
    ) -> Result<Self> {
        let name = kind.name();
        let directory = target_directory()?.join("beside");
        fs::create_dir_all(&directory)
            .with_context(|| format!("create {}", directory.display()))?;
        let results = directory.join(format!("{name}.json"));
        // Those of an earlier run are no results of this one.
        match fs::remove_file(&results) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", results.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        // This program, also where cargo builds it anew meanwhile.
        let program = format!("/proc/{}/exe", process::id());
        let xtask = || -> io::Result<Command> {
            let mut command = Command::new("nice");
            command.arg("-n").arg(NICENESS).arg(&program);
            command.stdout(output.try_clone()?).stderr(output.try_clone()?);
            Ok(command)
        };
        let mut tests = xtask().context("share a file")?;
        tests.args(["test", &format!("--{name}")]);
        if extent == Extent::All {
            tests.arg("--all");
        }
        tests.args(filter).arg("--results").arg(&results);
        let start = Instant::now();
        let mut tests = tests.spawn().with_context(|| format!("run {tests:?}"))?;
        eprintln!("== {name}, beside what follows; it prints to {}", log.display());
        let meanwhile = meanwhile.map(|words| -> io::Result<Command> {
            let mut command = xtask()?;
            command.args(words);
            Ok(command)
        });
        let meanwhile = meanwhile.transpose().context("share a file")?;
        let ended = thread::spawn(move || Ok((tests.wait()?, start.elapsed())));
        Ok(Self { kind, log, results, ended, meanwhile })
    }

    /// Waits for them, passes on what they have printed and adds their results; how long they took.
    pub fn finish(self, report: &mut Report) -> Result<Duration> {
        let Self { kind, log, results, ended, meanwhile } = self;
        if let Some(mut command) = meanwhile {
            // Whoever needs what it makes says what is wrong with it.
            command.status().with_context(|| format!("run {command:?}"))?;
        }
        let ended = ended.join().expect("waiting does not panic");
        let (status, took) = ended.context("wait for tests")?;
        let mut file = File::open(&log).with_context(|| format!("open {}", log.display()))?;
        io::copy(&mut file, &mut io::stdout()).context("pass on what tests have printed")?;
        match fs::read(&results).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            Some(found) => report.add_all(found),
            None => report.broke(format!("tests of kind {}: {status}", kind.name())),
        }
        Ok(took)
    }
}
