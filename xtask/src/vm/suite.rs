//! The native tests inside a machine: the very binary that runs on this machine's kernel.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{
    kernels::Kernel,
    lab::{Lab, host_job},
};
use crate::{integration, test::Report};

/// The test target that is about the kernel.
const TARGET: &str = "native";

/// Modules whose tests are for this machine alone: what they show on one kernel holds on all. The
/// target's own description tells them apart.
const NOT_ABOUT_THE_KERNEL: [&str; 3] = ["healthy::", "program::", "repeated::"];

/// Modules that take minutes on an emulated machine: they run there when they are asked for.
const ON_REQUEST: [&str; 6] = [
    "classes::",
    "clients::",
    "containers::",
    "copies::programs::",
    "copies::server::",
    "databases::",
];

/// Modules whose tests watch the clock, or try everything there is: a machine that does other things at the
/// same time is too slow for them.
const WATCH_THE_CLOCK: [&str; 17] = [
    "apart::",
    "crowded::",
    "death::",
    "dns::delays::",
    "errnos::",
    "forms::",
    "held::",
    // Two of them on top of each other are tried, which this machine's kernel may lack.
    "layers::a_bond",
    "layers::a_bridge",
    "layers::a_macvlan",
    "layers::a_vlan_alone",
    "layers::a_vxlan",
    "limits::",
    "matchers::",
    "pairs::",
    "parity::",
    "triggers::",
];

/// Modules about what waits in a queue of the kernel's: it is the same one on every kernel that has it.
const HELD: [&str; 3] = ["delays::", "latencies::", "loads::"];

/// Modules about what error injection gives a kernel that others lack: any system call can be failed at its entry.
const ENTRIES: [&str; 5] =
    ["copies::calls::", "paths::", "replacement::", "symlinks::", "syscalls::"];

/// Modules that every kernel is worth: what it has, and that nothing of a test stays.
const ALWAYS: [&str; 2] = ["features::", "guards::"];

/// Modules in which programs of several tasks are at work at once: whether one is preempted by another
/// matters there.
const PREEMPTED: [&str; 4] = ["chance::", "replacement::", "storm::", "syscalls::"];

/// Which of the tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// What counts events and does not watch the clock, without what waits in queues.
    Counting,
    /// Of what counts events, what waits in queues and what error injection makes possible.
    Override,
    /// Of what counts events, what may come out differently where tasks are preempted inside of the kernel.
    Preempted,
    /// All that is about the kernel.
    Whole,
}

/// Builds the tests and says where they are.
pub fn build() -> Result<PathBuf> {
    integration::test_target(TARGET)
}

/// Runs the tests on `kernel`, shows what they print and adds their results up. A machine that
/// fails is in the report as well.
pub fn run(
    lab: &Lab,
    kernel: &Kernel,
    binary: &Path,
    selection: Selection,
    filter: Option<&str>,
) -> Report {
    let mut report = Report::default();
    if let Err(error) = try_run(lab, kernel, binary, selection, filter, &mut report) {
        report.broke(format!("{error:#}"));
    }
    report
}

fn try_run(
    lab: &Lab,
    kernel: &Kernel,
    binary: &Path,
    selection: Selection,
    filter: Option<&str>,
    report: &mut Report,
) -> Result<()> {
    let Some(program) = binary.to_str() else { bail!("{} is not UTF-8", binary.display()) };
    // As `cargo xtask test` has it: one at a time, with the reasons of those that did not run.
    let mut command = vec![program.to_owned()];
    command.extend(["--test-threads=1", "--show-output"].map(str::to_owned));
    let on_request = ON_REQUEST.into_iter().filter(|_| filter.is_none());
    let timed = WATCH_THE_CLOCK.into_iter().filter(|_| selection != Selection::Whole);
    let held = HELD.into_iter().filter(|_| selection == Selection::Counting && filter.is_none());
    let skipped = NOT_ABOUT_THE_KERNEL.into_iter().chain(on_request).chain(timed).chain(held);
    command.extend(skipped.flat_map(|kind| ["--skip", kind]).map(str::to_owned));
    match (filter, selection) {
        (Some(filter), _) => command.push(filter.to_owned()),
        (None, Selection::Override) => {
            command.extend(HELD.into_iter().chain(ENTRIES).chain(ALWAYS).map(str::to_owned));
        }
        (None, Selection::Preempted) => command.extend(PREEMPTED.map(str::to_owned)),
        (None, Selection::Counting | Selection::Whole) => {}
    }
    let mut job = host_job(command)?;
    job.directory = format!("{}/tests", xtask::paths::workspace().display());
    let failed_before = report.failed();
    let mut pending = Vec::new();
    let outcome = lab.boot(kernel, &job, |piece| {
        pending.extend(piece);
        while let Some(end) = pending.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = pending.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\n');
            // Another kernel may print at the same time.
            println!("{}: {line}", kernel.name);
            report.read(line);
        }
    })?;
    if outcome.code != 0 && report.failed() == failed_before {
        report.broke(format!("the tests ended with exit code {}", outcome.code));
    }
    Ok(())
}
