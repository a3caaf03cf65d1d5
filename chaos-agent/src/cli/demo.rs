//! `demo`: a client and a server on this machine, broken and healed before your eyes.

use std::{fmt::Display, process::ExitCode, time::Duration};

use anstyle::{AnsiColor, Style};
use anyhow::Context as _;
use chaos_agent::{
    demo,
    demo::{CLIENT, DemoError, Hosts, KILLED, Outcome, Performed, Recovery, Residue, SERVER, Seen},
};
use chaos_api::Counts;
use nix::sys::{signal::Signal, utsname::uname};
use serde::Serialize;

use super::{
    failure::Failure,
    kernel,
    output::{self, BOLD, Format, GREEN, RED},
    signals::Signals,
};

const DIM: Style = Style::new().dimmed();
const FAULT: Style = AnsiColor::Yellow.on_default().bold();

/// Show what faults do, on a client and a server of its own
///
/// Makes two hosts (cgroups and network namespaces) with a client, its neighbour and a server, breaks the
/// client fault by fault, and shows what the client saw beside what the kernel counted and what the neighbour
/// saw. It touches nothing else, removes all that it has made, and takes half a minute.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Exits with 0 when the kernel counted what the client saw, nobody else was touched and nothing was
left; a fault that this kernel can't do is named and left out.")]
pub struct Args {}

/// A client, or a server, of `demo`; the agent starts this
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub struct VictimArgs {
    /// What to do, as JSON
    job: String,
}

/// All that was seen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    kernel: String,
    healthy: [Seen; 2],
    faults: Vec<Performed>,
    healed: [Seen; 2],
    /// The agent was killed in the middle of a fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    killed: Option<Recovery>,
    /// What was left behind.
    left: Vec<String>,
    /// The kernel counted what the client saw, nobody else was touched and nothing was left.
    holds: bool,
}

pub fn execute_victim(VictimArgs { job }: &VictimArgs) -> Result<ExitCode, Failure> {
    let job = serde_json::from_str(job).context("read the job")?;
    demo::work(&job).context("do the job")?;
    Ok(ExitCode::SUCCESS)
}

pub fn execute(Args {}: &Args, format: Format) -> Result<ExitCode, Failure> {
    let signals = Signals::block([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP])?;
    let screen = Screen { is_shown: format == Format::Table };
    if !nix::unistd::geteuid().is_root() {
        return Err(Failure::Runtime(anyhow::anyhow!(
            "the demonstration makes cgroups and network namespaces: run it as root"
        )));
    }
    let root = kernel::prepare()?;
    let hosts = Hosts::new(&root)?;
    match perform(&hosts, &screen, &signals)? {
        Some(report) => {
            if format == Format::Json {
                output::json(&report)?;
            }
            Ok(if report.holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        None => Err(Failure::Runtime(anyhow::anyhow!("interrupted; nothing is left"))),
    }
}

/// The whole of it; `None` where a signal ended it before.
fn perform(hosts: &Hosts, screen: &Screen, signals: &Signals) -> Result<Option<Report>, Failure> {
    let is_over = || Ok::<_, anyhow::Error>(signals.next(Duration::ZERO, None)?.is_some());
    let release = uname().context("uname")?.release().to_string_lossy().into_owned();
    screen.scene(hosts, &release);
    let residue = Residue::look(hosts)?;
    let healthy = look(hosts, screen)?;
    let mut faults = Vec::new();
    for act in demo::acts(hosts) {
        if is_over()? {
            return Ok(None);
        }
        screen.fault(act.what, &act.fault);
        let performed = act.perform(hosts)?;
        screen.outcome(&performed.outcome);
        faults.push(performed);
    }
    let healed = look(hosts, screen)?;
    if is_over()? {
        return Ok(None);
    }
    screen.fault("the agent is killed in the middle of it", KILLED);
    let killed = match demo::kill_the_agent(hosts)? {
        Ok(recovery) => {
            screen.recovery(&recovery);
            Some(recovery)
        }
        Err(refused) => {
            screen.refused(&refused);
            None
        }
    };
    let left = residue.left(hosts)?;
    screen.residue(&left);
    let is_healthy = |seen: &[Seen; 2]| seen.iter().all(|one| one.broken == 0);
    let agrees = |performed: &Performed| match performed.outcome {
        Outcome::Done { agrees, .. } => agrees,
        Outcome::Refused { .. } => true,
    };
    let is_anything_shown = faults.iter().any(|one| matches!(one.outcome, Outcome::Done { .. }));
    let holds = is_anything_shown
        && is_healthy(&healthy)
        && is_healthy(&healed)
        && faults.iter().all(agrees)
        && left.is_empty();
    screen.end(holds);
    Ok(Some(Report { kernel: release, healthy, faults, healed, killed, left, holds }))
}

fn look(hosts: &Hosts, screen: &Screen) -> Result<[Seen; 2], DemoError> {
    screen.healthy();
    let seen = demo::healthy(hosts)?;
    for one in &seen {
        screen.seen("victim", one);
    }
    Ok(seen)
}

/// How it looks for people; programs get one report at the end.
struct Screen {
    is_shown: bool,
}

impl Screen {
    fn print(&self, text: impl Display) {
        if self.is_shown {
            // Whoever does not read any longer sees nothing.
            drop(output::line(&text.to_string()));
        }
    }

    fn line(&self, who: &str, text: impl Display) {
        self.print(format_args!("  {BOLD}{who:<9}{BOLD:#} {text}"));
    }

    fn scene(&self, hosts: &Hosts, release: &str) {
        let cgroup = hosts.client.cgroup().path().display();
        self.print(format_args!(
            "A client and a server, each in a cgroup and a network namespace of its own; Linux {release}

  client    {CLIENT} ── veth ── {SERVER}    server
  neighbour {CLIENT}    in the client's namespace, in another cgroup

Each fault is armed by a process of its own:

  chaos-agent inject --cgroup {cgroup} --fault '...'"
        ));
    }

    fn healthy(&self) {
        self.print(format_args!("\n{GREEN}healthy{GREEN:#}"));
    }

    fn fault(&self, what: &str, sentence: &str) {
        self.print(format_args!("\n{FAULT}{sentence}{FAULT:#}    {DIM}{what}{DIM:#}"));
    }

    fn seen(&self, who: &str, Seen { text, broken, .. }: &Seen) {
        let style = if *broken == 0 { GREEN } else { RED };
        self.line(who, format_args!("{style}{text}{style:#}"));
    }

    fn outcome(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Refused { refused } => self.refused(refused),
            Outcome::Done { victim, neighbour, kernel, agrees } => {
                self.seen("victim", victim);
                self.seen("neighbour", neighbour);
                self.line("kernel", sums(kernel));
                if !agrees {
                    self.line("", format_args!("{RED}that is not what they saw{RED:#}"));
                }
            }
        }
    }

    fn refused(&self, why: &str) {
        for (number, text) in why.lines().enumerate() {
            self.line(if number == 0 { "refused" } else { "" }, text);
        }
    }

    fn recovery(&self, Recovery { answered, lost, healthy_after_ms }: &Recovery) {
        self.line("victim", format_args!("{answered} pings answered, {lost} lost"));
        let after = format_args!("{GREEN}{healthy_after_ms:.1} ms after SIGKILL{GREEN:#}");
        self.line("healthy", after);
    }

    fn residue(&self, left: &[String]) {
        if left.is_empty() {
            let what = "no program, map, link, qdisc or interface";
            self.print(format_args!("\n{GREEN}nothing left{GREEN:#}: {what}"));
            return;
        }
        self.print(format_args!("\n{RED}left behind{RED:#}"));
        for thing in left {
            self.print(format_args!("  {thing}"));
        }
    }

    fn end(&self, holds: bool) {
        if !holds {
            self.print(format_args!("\n{RED}That is not what should be seen.{RED:#}"));
        }
    }
}

fn sums(Counts { matched, injected, spared, .. }: &Counts) -> String {
    let mut text = format!("{matched} matched, {injected} injected");
    for (reason, number) in spared {
        text.push_str(&format!(", {number} spared ({reason})"));
    }
    text
}
