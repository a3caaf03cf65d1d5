//! Clients from Debian meet faults of the network: what they report stands in `docs/faults.md`.
//!
//! The tables there are read here, row by row: arm the fault, start the client as the table's head
//! says, compare. A row that is not true fails, with the line as it would be.

mod curl;
mod postgres;
mod redis;
mod resolvers;
mod table;

use std::{
    fs::{self, File},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use chaos_tests::{process::Process, require};
use table::{Row, Says, Table, matches};
use tempfile::TempDir;

use crate::{
    agent::{Agent, has_frames, has_line},
    name_server::NameServer,
    pair::Pair,
};

/// For anything that a client or a server does.
const PATIENCE: Duration = Duration::from_secs(60);

/// What servers serve: a text of 1,040,000 bytes, which takes many segments.
const LINE: &str = "All is well.\n";
const LINES: usize = 80_000;

/// Two hosts; the first one's programs ask the second one for addresses.
struct Scene {
    pair: Pair,
    directory: TempDir,
    _names: NameServer,
}

/// What a client said, and how it ended.
struct Said {
    output: Vec<u8>,
    errors: String,
    exit_code: i32,
    took: Duration,
}

/// Enters the client's mount namespace, which `unshare` has made, and becomes the client.
const CLIENT: &str =
    r#"mount --bind "$0/resolv.conf" /etc/resolv.conf && PATH="$0:$PATH" exec sh -c "exec $1""#;

impl Scene {
    fn new() -> Result<Self> {
        let pair = Pair::new()?;
        let directory = TempDir::new()?;
        let server = pair.server_end.v4;
        let names = NameServer::start(&pair.server_netns, server.into(), server)?;
        let settings = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        fs::write(directory.path().join("resolv.conf"), settings)?;
        // Of a SYN that nobody answers: three seconds until ETIMEDOUT instead of two minutes.
        let mut less = pair.client_netns.command("sh");
        less.args(["-c", "echo 1 >/proc/sys/net/ipv4/tcp_syn_retries"]);
        ensure!(less.status()?.success(), "the number of SYNs cannot be set");
        Ok(Self { pair, directory, _names: names })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Starts a server; it serves when the client can connect to all of the ports.
    fn serve(&self, mut command: Command, ports: &[u16]) -> Result<Process> {
        command.stderr(File::create(self.path().join("server.log"))?);
        let server = Process::spawn(command, self.pair.server())?;
        let give_up = Instant::now() + PATIENCE;
        for port in ports {
            let address = self.pair.server_end.socket_v4(*port);
            while self.pair.client_netns.run(|| std::net::TcpStream::connect(address))?.is_err() {
                let log = || fs::read_to_string(self.path().join("server.log"));
                ensure!(Instant::now() < give_up, "nobody listens on {port}: {:?}", log());
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        Ok(server)
    }

    /// Runs a client as the target.
    fn run(&self, command: &str) -> Result<Said> {
        let mut shell = Command::new("unshare");
        let into = |name: &str| self.path().join(name);
        let [output, errors] = ["output", "errors"].map(into);
        let redirected = format!("{command} >{} 2>{}", output.display(), errors.display());
        shell.args(["--mount", "sh", "-c", CLIENT]).arg(self.path()).arg(redirected);
        shell.env("LC_ALL", "C");
        let began = Instant::now();
        let mut client = Process::spawn(shell, self.pair.client())?;
        let status = client.wait(PATIENCE).with_context(|| command.to_owned())?;
        let took = began.elapsed();
        let exit_code = status.code().with_context(|| format!("{command}: {status}"))?;
        let errors = fs::read_to_string(errors)?;
        Ok(Said { output: fs::read(output)?, errors, exit_code, took })
    }

    /// Compares each row of the table below a heading with what the client reports.
    fn compare(&self, heading: &str) -> Result<()> {
        let Table { command, rows } = Table::below(heading)?;
        let well = self.run(&command)?;
        ensure!((well.exit_code, &*well.errors) == (0, ""), "without a fault: {}", well.errors);
        let mut untrue = Vec::new();
        for row in &rows {
            let agent = Agent::armed(&self.pair.claim, &self.pair.client_cgroup, &row.fault)?;
            let said = self.run(&command).with_context(|| row.fault.clone())?;
            let counts = agent.counts(&self.pair.client_cgroup, 0)?;
            ensure!(counts.injected > 0, "{}: {counts:?}", row.fault);
            let says = said.compared_with(&well);
            let line = Row::line(&row.fault, &says, said.exit_code, &format!("{:?}", said.took));
            println!("{line} {} injected", counts.injected);
            let is_said = match (&row.says, &says) {
                (Says::Text(pattern), Says::Text(text)) => matches(pattern, text),
                (expected, found) => expected == found,
            };
            if !is_said || !row.exit_codes.contains(&said.exit_code) || said.took < row.after {
                untrue.push(line);
            }
        }
        ensure!(untrue.is_empty(), "not so on the page:\n{}", untrue.join("\n"));
        let again = self.run(&command)?.compared_with(&well);
        ensure!(again == Says::Answer, "after the faults: {again:?}");
        Ok(())
    }
}

/// Compares the table below a heading with what its client reports while there is what `serve` starts
/// or makes for it.
fn compare<S>(heading: &str, serve: impl FnOnce(&Scene) -> Result<S>) -> Result<()> {
    let scene = Scene::new()?;
    require!("frames", since 4, 5; has_frames(&scene.pair.claim));
    require!("a delay line", since 5, 8; has_line(&scene.pair.claim));
    let _served = serve(&scene)?;
    scene.compare(heading)
}

impl Said {
    /// Beside what is said without a fault.
    fn compared_with(&self, well: &Self) -> Says {
        let is_silent = self.errors.is_empty();
        if !is_silent || self.output.len() != well.output.len() {
            let said = String::from_utf8_lossy(&self.output);
            let text = if is_silent { &said } else { &*self.errors };
            let words: Vec<_> = text.split_whitespace().collect();
            Says::Text(words.join(" "))
        } else if self.output == well.output {
            Says::Answer
        } else {
            Says::OtherBytes
        }
    }
}

/// Whether a program can be started.
fn is_installed(program: &str) -> Result<(), String> {
    let output = Command::new(program).arg("--version").output();
    output.map(drop).map_err(|error| format!("{program}: {error}"))
}
