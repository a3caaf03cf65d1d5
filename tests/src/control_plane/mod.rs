//! A real control plane: etcd and kube-apiserver on free ports of the loopback interface; with a
//! scheduler and controllers in a network of its own for a [real node](crate::node).
//!
//! Without a node there is no kubelet, scheduler or controller: a test plays them. It creates nodes,
//! binds pods by `spec.nodeName` and writes their status itself. Two things follow: a deleted pod
//! that is bound to a node stays until its deletion is forced (`--grace-period=0 --force`), and a
//! deleted namespace stays in phase `Terminating`. The admission plugin that gives pods a service
//! account's token is off, as nothing would create the account `default`.

mod account;
mod identity;
mod programs;
pub(crate) mod servers;

use std::{
    ffi::OsStr,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use identity::Credentials;
pub(crate) use identity::Pki;
pub use identity::{AGENT_NAMESPACE, AGENT_SERVICE_ACCOUNT, Identity, NODE};
use nix::unistd::Pid;
use servers::Servers;
use tempfile::TempDir;
use xtask::{kube_binaries::KubeBinaries, node_binaries::NodeBinaries};

use crate::netns::TestNetns;

/// The control plane's address in its network with a node.
pub const HOST: &str = "10.0.2.2";
/// The node's.
pub const NODE_ADDRESS: &str = "10.0.2.15";
/// The Service `kubernetes`, by which pods reach the API server: the first address of the range.
pub const SERVICE: &str = "10.96.0.1";

/// How long the servers may take; three seconds are usual, more on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// How much of a control plane there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// An API server on the loopback interface.
    ApiServer,
    /// Everything that a real node needs, in a network with it.
    Node,
}

/// A running control plane. Dropping it kills its servers and removes all that they wrote. When
/// the test is killed, the kernel kills them and frees their data; a small directory of logs and
/// certificates remains.
#[derive(Debug)]
pub struct ControlPlane {
    // Before the directory, so that it is removed after its users are gone.
    servers: Servers,
    /// Scheduler and controllers, where there is a node.
    controllers: Option<Servers>,
    url: String,
    pki: Pki,
    credentials: Credentials,
    kubectl: PathBuf,
    netns: Option<TestNetns>,
    dir: TempDir,
}

impl ControlPlane {
    /// Starts the servers and waits until they are ready, which takes about three seconds.
    ///
    /// # Errors
    /// When the programs are missing, with the command that provides them, or when a server ends
    /// or is not ready after three minutes, with the last lines of its log.
    pub fn start() -> Result<Self> {
        let plane = Self::launch(Extent::ApiServer, None)?;
        plane.wait_until_ready()?;
        Ok(plane)
    }

    /// Starts etcd and kube-apiserver in a network that has the addresses [`HOST`] and
    /// [`SERVICE`], without waiting for them. [`ControlPlane::control`] completes it.
    pub(crate) fn launch_for_node(netns: TestNetns) -> Result<Self> {
        Self::launch(Extent::Node, Some(netns))
    }

    /// Waits for the API server and starts what makes and binds pods.
    pub(crate) fn control(&mut self) -> Result<()> {
        self.wait_until_ready()?;
        let programs = NodeBinaries::find()?.kubernetes;
        let (dir, admin) = (self.dir.path(), self.kubeconfig(Identity::Admin));
        let servers = vec![
            programs::controllers(&programs.join("kube-controller-manager"), dir, &self.pki, admin),
            programs::scheduler(&programs.join("kube-scheduler"), dir, admin),
        ];
        self.controllers = Some(Servers::start(servers, self.netns.as_ref())?);
        Ok(())
    }

    fn launch(extent: Extent, netns: Option<TestNetns>) -> Result<Self> {
        let KubeBinaries { etcd, apiserver, kubectl } = KubeBinaries::find()?;
        let dir = tempfile::Builder::new().prefix("chaos-control-plane-").tempdir()?;
        let pki = Pki::create(dir.path()).context("create certificates")?;
        let [client, peer, port] = programs::free_ports()?;
        let (host, port) = match extent {
            Extent::ApiServer => ("127.0.0.1", port),
            // That of the Service, to which nothing translates.
            Extent::Node => (HOST, 443),
        };
        let url = format!("https://{host}:{port}");
        let servers = vec![
            programs::etcd(&etcd, dir.path(), client, peer)?,
            programs::apiserver(&apiserver, dir.path(), &pki, client, port, extent),
        ];
        let servers = Servers::start(servers, netns.as_ref())?;
        let credentials = Credentials::create(dir.path(), &url, &pki)?;
        Ok(Self { servers, controllers: None, url, pki, credentials, kubectl, netns, dir })
    }

    fn wait_until_ready(&self) -> Result<()> {
        let is_ready = || self.kubectl(&["get", "--raw=/readyz"]).is_ok();
        self.servers.wait_until_ready(PATIENCE, is_ready).context("the control plane")
    }

    /// `https://ADDRESS:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The certificate, in PEM, that the server's certificate is verified with.
    pub fn ca_certificate(&self) -> &Path {
        self.credentials.ca_certificate()
    }

    /// The bearer token of an identity.
    pub fn token(&self, identity: Identity) -> &str {
        self.credentials.token(identity)
    }

    /// A kubeconfig file with which a client is this identity.
    pub fn kubeconfig(&self, identity: Identity) -> &Path {
        self.credentials.kubeconfig(identity)
    }

    /// Runs kubectl as administrator and returns its standard output.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_as(Identity::Admin, args, "")
    }

    /// The reasons of all events in a namespace, with blanks between.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn event_reasons(&self, namespace: &str) -> Result<String> {
        let output = "--output=jsonpath={.items[*].reason}";
        self.kubectl(&["get", "events.events.k8s.io", "--namespace", namespace, output])
    }

    /// Runs `kubectl apply` on a manifest, YAML or JSON, as administrator.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_as(Identity::Admin, &["apply", "--filename=-"], manifest)
    }

    /// Waits until the server serves what these definitions define, each named as `crd/PLURAL.GROUP`.
    ///
    /// # Errors
    /// When it does not within a few minutes, or kubectl fails otherwise, with its standard error.
    pub fn await_kinds(&self, definitions: &[&str]) -> Result<()> {
        let give_up = Instant::now() + PATIENCE;
        let wait = [&["wait", "--for=condition=Established"][..], definitions].concat();
        loop {
            match self.kubectl(&wait) {
                Ok(_) => return Ok(()),
                // kubectl fails on a definition that has no conditions at all yet.
                Err(error)
                    if error.to_string().contains("accessor error") && Instant::now() < give_up =>
                {
                    thread::sleep(Duration::from_millis(50));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs kubectl as `identity` with `input` as its standard input and returns its standard
    /// output.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn kubectl_as(&self, identity: Identity, args: &[&str], input: &str) -> Result<String> {
        self.kubectl_with(self.kubeconfig(identity), args, input)
    }

    /// Runs kubectl with this kubeconfig file and with `input` as its standard input, and returns
    /// its standard output.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn kubectl_with(&self, kubeconfig: &Path, args: &[&str], input: &str) -> Result<String> {
        let mut child = self
            .kubectl_command(kubeconfig)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {}", self.kubectl.display()))?;
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        stdin.write_all(input.as_bytes()).context("write to kubectl")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {} failed: {}", args.join(" "), message.trim_end());
        }
        String::from_utf8(output.stdout).context("kubectl's output")
    }

    /// kubectl with a kubeconfig file, where it reaches the API server, for arguments to be added.
    pub fn kubectl_command(&self, kubeconfig: &Path) -> Command {
        let mut command = self.command(&self.kubectl);
        command.arg("--kubeconfig").arg(kubeconfig);
        // By default it fills a directory under the user's home.
        command.arg("--cache-dir").arg(self.dir.path().join("cache"));
        command
    }

    /// A command that runs where the API server is reached.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match &self.netns {
            Some(netns) => netns.command(program),
            None => Command::new(program),
        }
    }

    /// The program kubectl.
    pub fn kubectl_path(&self) -> &Path {
        &self.kubectl
    }

    pub(crate) fn pki(&self) -> &Pki {
        &self.pki
    }

    /// The process ids of etcd and kube-apiserver.
    pub fn pids(&self) -> [Pid; 2] {
        self.servers.pids().try_into().expect("both were started")
    }
}
