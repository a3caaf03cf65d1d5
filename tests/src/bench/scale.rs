//! What many targets cost: to arm them, to keep them, to let them go. Of one agent, or of two that take turns.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::UdpSocket,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    clock::boottime_ns,
    machine::Shared,
    netns::TestNetns,
    process::{Place, Process},
};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::rounds::{Effort, Samples, alternate};

/// How long the agent may take for one answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Targets of the agent before.
const MOST_BEFORE: usize = 250;
/// For how long its processor time is added up.
const IDLE: Duration = Duration::from_secs(2);

/// What is armed on each target.
struct Kind {
    fault: &'static str,
    /// Each target has a process in a network namespace of its own.
    has_namespace: bool,
    /// Targets at a time.
    counts: &'static [usize],
}

const KINDS: [Kind; 3] = [
    Kind { fault: "drop egress udp for 10m", has_namespace: false, counts: &[1, 100, 250, 1000] },
    Kind {
        fault: "fail connect with ENETDOWN for 10m",
        has_namespace: false,
        counts: &[1, 100, 250, 1000],
    },
    Kind {
        fault: "delay 100ms egress udp for 10m",
        has_namespace: true,
        counts: &[1, 10, 100, 250],
    },
];

/// What one round shows.
#[derive(Clone, Copy, Default)]
struct Figures {
    /// Milliseconds until all are armed.
    arm: f64,
    /// MiB.
    resident: f64,
    maps: f64,
    descriptors: f64,
    /// Percent of a processor, while nothing happens.
    idle: f64,
    /// Milliseconds from the order to halt until a packet or a call of the last target is left alone.
    halt: f64,
}

impl Figures {
    const NAMES: [&str; 6] =
        ["arm all, ms", "RSS, MiB", "maps, MiB", "descriptors", "idle CPU, %", "halt, ms"];

    fn all(self) -> [f64; 6] {
        let Self { arm, resident, maps, descriptors, idle, halt } = self;
        [arm, resident, maps, descriptors, idle, halt]
    }
}

/// The figures of this agent, and of the one before where there is one, as Markdown.
pub fn measure(effort: Effort, agent: &Path, before: Option<&Path>) -> Result<String> {
    let shared = Shared::acquire()?;
    let agents: Vec<&Path> = [agent].into_iter().chain(before).collect();
    let rounds = (effort.rounds / 4).max(1);
    let mut page = String::new();
    let names = Figures::NAMES.join(" | ");
    let mut heading = format!("| each target | targets | agent | {names} |\n");
    heading += &format!("|---|---|---|{}\n", "---|".repeat(Figures::NAMES.len()));
    page += &heading;
    for Kind { fault, has_namespace, counts } in KINDS {
        for count in counts.iter().copied() {
            if rounds == 1 && count > 100 {
                continue;
            }
            let targets = Targets::new(&shared, count, has_namespace)?;
            // The agent before takes 60 descriptors for each, which are not to be had for so many.
            let agents = if count > MOST_BEFORE { &agents[..1] } else { &agents[..] };
            let mut seen: Vec<Vec<Figures>> = vec![Vec::new(); agents.len()];
            alternate(rounds, agents.len(), |variant| {
                let figures = round(agents[variant], &targets, fault)?;
                seen[variant].push(figures);
                Ok(figures.arm)
            })?;
            for (rows, name) in seen.iter().zip(["this", "before"]) {
                let cells: Vec<String> = (0..Figures::NAMES.len())
                    .map(|column| {
                        let samples: Samples = rows.iter().map(|row| row.all()[column]).collect();
                        format!("{:.1}", samples.median())
                    })
                    .collect();
                page += &format!("| `{fault}` | {count} | {name} | {} |\n", cells.join(" | "));
            }
            eprintln!("{count} × {fault}: {}", page.lines().last().unwrap_or_default());
        }
    }
    Ok(page)
}

/// Cgroups, and what has to be in them.
struct Targets {
    cgroups: Vec<TestCgroup>,
    namespaces: Vec<TestNetns>,
    _there: Vec<Process>,
}

impl Targets {
    fn new(shared: &Shared, count: usize, has_namespace: bool) -> Result<Self> {
        let cgroups = (0..count)
            .map(|number| TestCgroup::new(shared, &format!("scale-{number}")))
            .collect::<Result<Vec<_>>>()?;
        let (mut namespaces, mut there) = (Vec::new(), Vec::new());
        for cgroup in cgroups.iter().filter(|_| has_namespace) {
            let namespace = TestNetns::new()?;
            let mut command = Command::new("sleep");
            command.arg("3600");
            there.push(Process::spawn(command, Place::here().cgroup(cgroup).netns(&namespace))?);
            namespaces.push(namespace);
        }
        Ok(Self { cgroups, namespaces, _there: there })
    }

    fn last(&self) -> Result<Place<'_>> {
        let cgroup = self.cgroups.last().context("no target")?;
        let place = Place::here().cgroup(cgroup);
        Ok(match self.namespaces.last() {
            Some(namespace) => place.netns(namespace),
            None => place,
        })
    }
}

fn round(agent: &Path, targets: &Targets, fault: &str) -> Result<Figures> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("agent.sock");
    let mut command = Command::new(agent);
    let most = targets.cgroups.len().to_string();
    command.args(["agent", "--standalone", "--most-targets", &most, "--socket"]).arg(&socket);
    command.env("CHAOS_LOG", "error");
    let agent = Process::spawn(command, Place::here())?;
    let mut control = Control::connect(&socket)?;
    // It answers when it has tried what the kernel can do.
    control.ask(&json!("list"))?;
    let began = Instant::now();
    for cgroup in &targets.cgroups {
        let path = cgroup.path().to_str().context("a test's cgroup has a UTF-8 path")?;
        let answer =
            control.ask(&json!({ "arm": { "target": { "cgroup": path }, "faults": fault } }))?;
        ensure!(answer["armed"]["id"].is_string(), "{answer}");
    }
    let mut figures = Figures { arm: milliseconds(began.elapsed()), ..Figures::default() };
    let pid = agent.pid();
    figures.resident = resident(pid)?;
    (figures.descriptors, figures.maps) = descriptors(pid)?;
    let before = processor_time(pid)?;
    sleep(IDLE);
    figures.idle = (processor_time(pid)? - before) / IDLE.as_secs_f64() * 100.0;
    figures.halt = halt(&mut control, targets, fault)?;
    Ok(figures)
}

/// From the order until the last target is left alone.
fn halt(control: &mut Control, targets: &Targets, fault: &str) -> Result<f64> {
    let program = std::env::current_exe().context("find this program")?;
    let mut command = Command::new(program);
    let what = fault.split(' ').next().unwrap_or_default();
    command.args(["prober", what]);
    let mut prober = Process::spawn(command, targets.last()?)?;
    ensure!(prober.line(PATIENCE)? == "ready", "the prober is not ready");
    prober.write(b"go\n")?;
    sleep(Duration::from_millis(50));
    let ordered = boottime_ns();
    control.ask(&json!("halt"))?;
    let healed: u64 = prober.line(PATIENCE)?.parse().context("when it was left alone")?;
    Ok(healed.saturating_sub(ordered) as f64 / 1e6)
}

/// The process whose packets or calls are touched: prints when (boot clock, ns) one was left alone for the first time.
pub fn probe(what: &str) -> Result<()> {
    let receiver = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    let sender = UdpSocket::bind("127.0.0.1:0").context("bind")?;
    let to = receiver.local_addr()?;
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).context("wait to begin")?;
    loop {
        let at = boottime_ns();
        let is_left_alone = match what {
            "drop" | "delay" => {
                // A frame that was held before does not count.
                receiver.set_nonblocking(true)?;
                while receiver.recv(&mut [0; 8]).is_ok_and(|_| true) {}
                receiver.set_nonblocking(false)?;
                receiver.set_read_timeout(Some(Duration::from_millis(2)))?;
                let mark = at.to_ne_bytes();
                sender.send_to(&mark, to).context("send")?;
                let mut bytes = [0; 8];
                receiver.recv(&mut bytes).is_ok() && bytes == mark
            }
            "fail" => {
                let refused = std::net::TcpStream::connect("127.0.0.1:1").err();
                refused.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
            }
            other => bail!("nobody has written how to probe {other}"),
        };
        if is_left_alone {
            println!("{at}");
            return Ok(());
        }
    }
}

/// A connection to the agent.
struct Control(BufReader<UnixStream>);

impl Control {
    fn connect(socket: &Path) -> Result<Self> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if let Ok(stream) = UnixStream::connect(socket) {
                stream.set_read_timeout(Some(PATIENCE))?;
                return Ok(Self(BufReader::new(stream)));
            }
            ensure!(Instant::now() < give_up, "the agent does not listen");
            sleep(Duration::from_millis(5));
        }
    }

    fn ask(&mut self, command: &Value) -> Result<Value> {
        let request = json!({ "version": 1, "command": command });
        writeln!(self.0.get_mut(), "{request}").context("ask the agent")?;
        let mut line = String::new();
        self.0.read_line(&mut line).context("wait for an answer")?;
        let reply: Value = serde_json::from_str(&line).context("read the answer")?;
        Ok(reply["answer"].clone())
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn of_process(pid: Pid, file: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}")).join(file)
}

/// MiB.
fn resident(pid: Pid) -> Result<f64> {
    let status = fs::read_to_string(of_process(pid, "status"))?;
    let kibibytes =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split(' ').rev().nth(1));
    Ok(kibibytes.context("VmRSS")?.parse::<f64>()? / 1024.0)
}

/// How many there are, and what those that are maps take of the kernel's memory, in MiB.
fn descriptors(pid: Pid) -> Result<(f64, f64)> {
    let (mut count, mut bytes) = (0.0, 0.0);
    for entry in fs::read_dir(of_process(pid, "fdinfo"))? {
        count += 1.0;
        let info = fs::read_to_string(entry?.path()).unwrap_or_default();
        let memory = info.lines().filter(|_| info.contains("map_id:"));
        let memory =
            memory.filter_map(|line| line.strip_prefix("memlock:")?.trim().parse::<f64>().ok());
        bytes += memory.sum::<f64>();
    }
    Ok((count, bytes / f64::from(1 << 20)))
}

/// Seconds that the process has run.
pub fn processor_time(pid: Pid) -> Result<f64> {
    let stat = fs::read_to_string(of_process(pid, "stat"))?;
    let (_, fields) = stat.rsplit_once(") ").context("a name in parentheses")?;
    let ticks: f64 =
        fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    // USER_HZ of every architecture that Debian has.
    Ok(ticks / 100.0)
}

/// Where cargo puts the agent: beside this program.
pub fn own_agent() -> Result<PathBuf> {
    Ok(std::env::current_exe().context("find this program")?.with_file_name("chaos-agent"))
}
