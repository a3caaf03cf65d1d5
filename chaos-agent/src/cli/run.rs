//! `run`: faults for a command and all that it starts.

use std::{
    ffi::OsString,
    fs::File,
    io::{ErrorKind, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, anyhow};
use chaos_api::{Ended, TargetReport};
use chaos_engine::{
    arm::Armory,
    cgroup::{Target, TransientCgroup},
    descriptors,
    seccomp::{Filter, SharedRules, Supervisor, filtered},
};
use chaos_plan::Terms;
use nix::sys::signal::{Signal, kill};
use serde::Serialize;

use super::{
    failure::Failure,
    faults::FaultArgs,
    kernel, ledger,
    output::{self, Format, note},
    session::{Event, Session},
    signals::{Received, Signals},
    terms::{self, TermsArgs},
};

/// Passed on to the command.
const PASSED_ON: [Signal; 7] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
];

/// The exit codes of env(1) for a command that is not there, or cannot be started.
const NOT_FOUND: u8 = 127;
const NOT_STARTED: u8 = 126;

/// How long a supervisor whose target is gone may take to end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Added to the number of the signal that ended the command, as shells do.
const SIGNALLED: i32 = 128;

/// Run a command, and break it and all that it starts
///
/// The command gets a cgroup of its own, in which the faults are in force before its first
/// instruction. It keeps the terminal, and signals are passed on to it. When it ends, the ledger is
/// printed on standard error. What it leaves running goes on without faults.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits as the command does; 128 + N when that is ended by signal N; 127 when it is not found and 126
when it cannot be started.

Examples:
  chaos-agent run --fault 'fail connect with ECONNREFUSED 50% to port 5432' -- ./my-test
  chaos-agent run --fault 'drop 1% of flows' --fault 'corrupt 0.1% ingress' -- make check
  chaos-agent run --faults faults.yaml --seed 42 --report ledger.json --quiet -- ./my-test")]
pub struct Args {
    #[command(flatten)]
    faults: FaultArgs,
    /// How long faults last that have no `for` of their own: as long as `--longest` allows, unless this
    /// is given; the command may run longer
    #[arg(long = "for", value_name = "DURATION", value_parser = terms::duration)]
    lasting: Option<Duration>,
    /// How long faults go on when this process hangs or is stopped
    #[arg(long, value_name = "DURATION", value_parser = terms::lease, default_value = "5s")]
    lease: Duration,
    #[command(flatten)]
    terms: TermsArgs,
    /// Write the ledger into this file, too, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Print no ledger and no notes, only errors
    #[arg(long, short)]
    quiet: bool,
    /// The command and its arguments, best behind `--`
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RunReport<'a> {
    command: Vec<String>,
    exit_code: u8,
    seed: u64,
    ended_because: &'a str,
    #[serde(flatten)]
    ledger: &'a Option<TargetReport>,
}

pub fn execute(args: &Args, format: Format) -> Result<ExitCode, Failure> {
    let faults = args.faults.read()?;
    let terms = Terms { has_filter: true, ..args.terms.terms(args.lasting, None)? };
    kernel::refuse_impossible(&faults, &terms)?;
    let seed = terms.seed;
    let report = args.report.as_ref().map(create).transpose()?;
    // Whoever reads JSON wants nothing beside it.
    let quiet = args.quiet || format == Format::Json;
    let signals = Signals::block(PASSED_ON.into_iter().chain([Signal::SIGCHLD]))?;
    let root = kernel::prepare()?;
    let cgroup = kernel::own_cgroup(&root)?;
    let features = kernel::try_needed(cgroup.cgroup(), &faults, &terms);
    let target = Target::child(&root, format!("run:{}", args.name()), &cgroup)?;
    let shared = Arc::new(SharedRules::create()?);
    kernel::collect_left_filters(&root, &features);
    let mut armory = Armory::new(root, features, args.lease);
    armory.expect_child(&target, shared.clone());
    let mut session = Session::arm(armory, target, &faults, terms, args.lease)?;
    if !quiet {
        session.notes().iter().for_each(|text| note(text));
    }
    let (mut child, supervisor) = args.start(&cgroup, &signals, &shared)?;
    let status = accompany(&mut session, &mut child, &signals, quiet)?;
    let ended = session.end("the command has ended");
    let code = exit_code(status);
    let outcome = RunReport {
        command: args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        exit_code: code,
        seed,
        ended_because: &ended.why,
        ledger: &ended.report,
    };
    // Said first, as it explains what the ledger says.
    let left = leave(cgroup, quiet);
    if !args.quiet {
        args.print(&ended, &outcome, left, format)?;
    }
    if let (Some(mut file), Some(path)) = (report, &args.report) {
        let written = serde_json::to_string_pretty(&outcome).map_err(Into::into);
        if let Err(error) = written.and_then(|json| writeln!(file, "{json}")) {
            note(&format!("the ledger could not be written into {}: {error}", path.display()));
        }
    }
    if let (Some(supervisor), 0) = (supervisor, left) {
        // It ends with the command, unless that left something running.
        supervisor.wait(FAREWELL);
    }
    Ok(ExitCode::from(code))
}

impl Args {
    fn name(&self) -> String {
        let program = PathBuf::from(self.command.first().cloned().unwrap_or_default());
        program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned()
    }

    /// Starts the command; with a filter and a supervisor, if there is a rule that needs them.
    fn start(
        &self,
        cgroup: &TransientCgroup,
        signals: &Signals,
        shared: &Arc<SharedRules>,
    ) -> Result<(Child, Option<Supervisor>), Failure> {
        let [program, arguments @ ..] = self.command.as_slice() else {
            return Err(Failure::Usage("no command".to_owned()));
        };
        let mut command = Command::new(program);
        command.args(arguments);
        descriptors::give_back(&mut command);
        cgroup.contain(&mut command)?;
        let mask = signals.mask_before();
        // SAFETY: between fork and exec only pthread_sigmask(3) is called, which is
        // async-signal-safe; nothing is allocated.
        unsafe {
            command.pre_exec(move || Ok(mask.thread_set_mask()?));
        }
        let calls = shared.rules().map(|(_, rules)| rules.named()).unwrap_or_default();
        let supervisor = match calls.is_empty() {
            true => None,
            false => {
                let supervisor = Supervisor::of_child(shared)?;
                filtered(&mut command, Filter::new(&calls), shared.clone());
                Some(supervisor)
            }
        };
        let child = command.spawn().map_err(|error| {
            let code = match error.kind() {
                ErrorKind::NotFound => NOT_FOUND,
                _ => NOT_STARTED,
            };
            let program = program.to_string_lossy();
            Failure::Command { code, message: format!("cannot run {program}: {error}") }
        })?;
        if supervisor.is_some() && !shared.handover().is_accepted() {
            return Err(anyhow!("no supervisor took the listener of the command's filter").into());
        }
        Ok((child, supervisor))
    }

    /// `left`: how many processes of the command go on without it.
    fn print(
        &self,
        ended: &Ended,
        outcome: &RunReport<'_>,
        left: usize,
        format: Format,
    ) -> anyhow::Result<()> {
        match (format, &ended.report) {
            (Format::Json, _) => output::error_line(&serde_json::to_string_pretty(outcome)?),
            (Format::Table, Some(report)) => {
                note(&format!("{} has ended; {}", self.name(), ledger::repeat(outcome.seed)));
                output::error_line(&ledger::table(&report.faults));
                // What is matched later nobody knows.
                if left == 0 {
                    ledger::unmatched(&report.faults).for_each(|line| note(&line));
                }
            }
            (Format::Table, None) => note("the ledger could not be read"),
        }
        Ok(())
    }
}

fn create(path: &PathBuf) -> Result<File, Failure> {
    File::create(path)
        .map_err(|error| Failure::Usage(format!("cannot create {}: {error}", path.display())))
}

/// Keeps the faults in force until the command ends, and passes signals on.
fn accompany(
    session: &mut Session,
    child: &mut Child,
    signals: &Signals,
    quiet: bool,
) -> anyhow::Result<ExitStatus> {
    loop {
        match session.wait(signals)? {
            Event::Ended => {
                if let (Some(ended), false) = (session.ended(), quiet) {
                    note(&format!("the faults have ended: {}; the command goes on", ended.why));
                }
            }
            Event::Signal(Received { signal: Signal::SIGCHLD, .. }) => {
                if let Some(status) = child.try_wait().context("wait for the command")? {
                    return Ok(status);
                }
            }
            // The kernel has sent it to the command, too, which shares our process group.
            Event::Signal(Received { by_kernel: true, .. }) => {}
            Event::Signal(Received { signal, .. }) => pass_on(signal, child),
        }
    }
}

fn pass_on(signal: Signal, child: &Child) {
    // Not waited for yet, so the id is still the command's.
    let sent = i32::try_from(child.id())
        .map_err(anyhow::Error::from)
        .and_then(|pid| Ok(kill(nix::unistd::Pid::from_raw(pid), signal)?));
    if let Err(error) = sent {
        tracing::warn!(%signal, %error, "cannot pass a signal on");
    }
}

fn exit_code(status: ExitStatus) -> u8 {
    let code = match status.signal() {
        Some(signal) => SIGNALLED + signal,
        None => status.code().unwrap_or(SIGNALLED),
    };
    u8::try_from(code).unwrap_or(u8::MAX)
}

/// Removes the command's cgroup, and says how many processes were in it. What cannot be removed is
/// the next agent's to collect.
fn leave(cgroup: TransientCgroup, quiet: bool) -> usize {
    match cgroup.remove() {
        Ok(left) => {
            if left > 0 && !quiet {
                let (processes, go) = if left == 1 {
                    ("1 process", "goes")
                } else {
                    (&*format!("{left} processes"), "go")
                };
                note(&format!(
                    "{processes} outlived the command and {go} on without faults: a server has to \
                     stay in the foreground"
                ));
            }
            left
        }
        Err(error) => {
            note(&format!("the command's cgroup was left behind: {error}"));
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_commands() {
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(Signal::SIGKILL as i32)), 137);
    }
}
