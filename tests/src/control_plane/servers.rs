//! The two server processes.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::Pid;

use super::identity::Pki;
use crate::process::{Place, Process};

/// How long the servers may take; three seconds are usual, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lines of a server's log that an error shows.
const LOG_TAIL: usize = 15;

/// etcd and kube-apiserver, owned by a thread of their own: the kernel kills a process when the
/// *thread* that started it ends, and a test may hand its control plane to another thread.
#[derive(Debug)]
pub struct Servers {
    url: String,
    pids: [Pid; 2],
    logs: [PathBuf; 2],
    /// Says that a server ended.
    ended: Receiver<String>,
    /// Closed to end the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Servers {
    /// Starts both, without waiting until they are ready.
    pub fn start(dir: &Path, etcd: PathBuf, apiserver: PathBuf, pki: &Pki) -> Result<Self> {
        let [client, peer, secure] = free_ports()?;
        let logs = ["etcd", "kube-apiserver"].map(|name| dir.join(format!("{name}.log")));
        let etcd = etcd_command(&etcd, dir, client, peer, &logs[0])?;
        let apiserver = apiserver_command(&apiserver, dir, pki, client, secure, &logs[1])?;

        let (started, starting) = mpsc::channel();
        let (end, ended) = mpsc::channel();
        let (stop, stopped) = mpsc::channel::<()>();
        let own = move || {
            let start = || -> Result<[Process; 2]> {
                let etcd = Process::spawn(etcd, Place::here())?;
                Ok([etcd, Process::spawn(apiserver, Place::here())?])
            };
            match start() {
                Ok(mut servers) => {
                    let pids = [servers[0].pid(), servers[1].pid()];
                    // The receivers are gone only if the guard is, and then this ends as well.
                    let _ = started.send(Ok(pids));
                    watch(&mut servers, &stopped, &end);
                }
                Err(error) => {
                    let _ = started.send(Err(error));
                }
            }
        };
        let thread = thread::Builder::new().name("control-plane".to_owned()).spawn(own)?;
        let pids = starting.recv().map_err(|_| anyhow!("the control plane's thread ended"))??;
        let url = format!("https://127.0.0.1:{secure}");
        Ok(Self { url, pids, logs, ended, stop: Some(stop), thread: Some(thread) })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pids(&self) -> [Pid; 2] {
        self.pids
    }

    /// Polls `is_ready`. Fails when a server ends.
    pub fn wait_until_ready(&self, is_ready: impl Fn() -> bool) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            if is_ready() {
                return Ok(());
            }
            if let Ok(what) = self.ended.recv_timeout(Duration::from_millis(100)) {
                bail!("{what}{}", self.log_tails());
            }
            if Instant::now() > give_up {
                bail!("the control plane is not ready after {PATIENCE:?}{}", self.log_tails());
            }
        }
    }

    fn log_tails(&self) -> String {
        let tail = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let last = lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n");
            format!("\n{}:\n{last}", path.display())
        };
        self.logs.iter().map(tail).collect()
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread has been printed; unwinding it has killed the servers.
            let _ = thread.join();
        }
    }
}

/// Holds the servers until the guard is gone; they are killed when this returns.
fn watch(servers: &mut [Process; 2], stopped: &Receiver<()>, end: &Sender<String>) {
    use mpsc::RecvTimeoutError::Timeout;
    let mut reported = false;
    while stopped.recv_timeout(Duration::from_millis(100)) == Err(Timeout) {
        for (server, name) in servers.iter_mut().zip(["etcd", "kube-apiserver"]) {
            if let Ok(status) = server.wait(Duration::ZERO)
                && !reported
            {
                reported = true;
                let _ = end.send(format!("{name} ended: {status}"));
            }
        }
    }
}

fn etcd_command(program: &Path, dir: &Path, client: u16, peer: u16, log: &Path) -> Result<Command> {
    let data = dir.join("etcd");
    fs::create_dir(&data).with_context(|| format!("create {}", data.display()))?;
    let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
    let mut command = Command::new(program);
    command
        .arg("--data-dir")
        .arg(data.join("data"))
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("default={peer}")])
        .args(["--logger=zap", "--log-level=warn"])
        .stderr(log_file(log)?);
    on_private_tmpfs(&mut command, &data)?;
    Ok(command)
}

fn apiserver_command(
    program: &Path,
    dir: &Path,
    pki: &Pki,
    etcd: u16,
    secure: u16,
    log: &Path,
) -> Result<Command> {
    let Pki { certificate, key, token_file, .. } = pki;
    let mut command = Command::new(program);
    let mut file = |flag: &str, path: &Path| {
        command.arg(flag).arg(path);
    };
    file("--cert-dir", dir);
    file("--tls-cert-file", certificate);
    file("--tls-private-key-file", key);
    file("--service-account-key-file", &pki.service_account_public_key);
    file("--service-account-signing-key-file", &pki.service_account_key);
    file("--token-auth-file", token_file);
    command
        .arg(format!("--etcd-servers=http://127.0.0.1:{etcd}"))
        .arg(format!("--secure-port={secure}"))
        // Nothing reaches it through the Service `kubernetes`, whose endpoint can't be loopback.
        .args(["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"])
        .args(["--advertise-address=192.0.2.1", "--service-cluster-ip-range=10.96.0.0/16"])
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"])
        .arg("--disable-admission-plugins=ServiceAccount")
        .stderr(log_file(log)?);
    Ok(command)
}

fn log_file(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("create {}", path.display()))
}

/// Makes `command` see a tmpfs of its own at `dir`: writes need no disk, and the data is gone with
/// the process, however it ends.
fn on_private_tmpfs(command: &mut Command, dir: &Path) -> Result<()> {
    let dir = CString::new(dir.as_os_str().as_bytes()).context("a path has no NUL")?;
    let isolate = move || {
        let none = None::<&CStr>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        // Otherwise the mount would appear in the test's namespace too.
        mount(none, c"/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some(c"tmpfs"), dir.as_c_str(), Some(c"tmpfs"), MsFlags::empty(), none)?;
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes system calls only and allocates nothing.
    unsafe { command.pre_exec(isolate) };
    Ok(())
}

/// Ports that nothing listens on now. Another process could take one before a server does, which
/// then ends with a message.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut ports = [0; N];
    let mut listeners = Vec::new();
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("bind a port")?;
        *port = listener.local_addr().context("bind a port")?.port();
        // All are held until the last is found, so that they differ.
        listeners.push(listener);
    }
    Ok(ports)
}
