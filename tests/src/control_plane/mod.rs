//! A real control plane: etcd and kube-apiserver on free ports of the loopback interface.
//!
//! There is no kubelet, scheduler or controller: a test plays them. It creates nodes, binds pods
//! by `spec.nodeName` and writes their status itself. Two things follow: a deleted pod that is
//! bound to a node stays until its deletion is forced (`--grace-period=0 --force`), and a deleted
//! namespace stays in phase `Terminating`. The admission plugin that gives pods a service
//! account's token is off, as nothing would create the account `default`.

mod identity;
mod servers;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
pub use identity::{AGENT_NAMESPACE, AGENT_SERVICE_ACCOUNT, Identity};
use identity::{Credentials, Pki};
use nix::unistd::Pid;
use servers::Servers;
use tempfile::TempDir;
use xtask::kube_binaries::KubeBinaries;

/// A running control plane. Dropping it kills its servers and removes all that they wrote. When
/// the test is killed, the kernel kills them and frees their data; a small directory of logs and
/// certificates remains.
#[derive(Debug)]
pub struct ControlPlane {
    // Before the directory, so that it is removed after its users are gone.
    servers: Servers,
    credentials: Credentials,
    kubectl: PathBuf,
    dir: TempDir,
}

impl ControlPlane {
    /// Starts the servers and waits until they are ready, which takes about three seconds.
    ///
    /// # Errors
    /// When the programs are missing, with the command that provides them, or when a server ends
    /// or is not ready after a minute, with the last lines of its log.
    pub fn start() -> Result<Self> {
        let KubeBinaries { etcd, apiserver, kubectl } = KubeBinaries::find()?;
        let dir = tempfile::Builder::new().prefix("chaos-control-plane-").tempdir()?;
        let pki = Pki::create(dir.path()).context("create certificates")?;
        let servers = Servers::start(dir.path(), etcd, apiserver, &pki)?;
        let credentials = Credentials::create(dir.path(), servers.url(), &pki)?;
        let plane = Self { servers, credentials, kubectl, dir };
        plane.servers.wait_until_ready(|| plane.kubectl(&["get", "--raw=/readyz"]).is_ok())?;
        Ok(plane)
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        self.servers.url()
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

    /// Runs `kubectl apply` on a manifest, YAML or JSON, as administrator.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        self.kubectl_as(Identity::Admin, &["apply", "--filename=-"], manifest)
    }

    /// Runs kubectl as `identity` with `input` as its standard input and returns its standard
    /// output.
    ///
    /// # Errors
    /// When kubectl fails, with its standard error.
    pub fn kubectl_as(&self, identity: Identity, args: &[&str], input: &str) -> Result<String> {
        let mut child = Command::new(&self.kubectl)
            .arg("--kubeconfig")
            .arg(self.kubeconfig(identity))
            // By default it fills a directory under the user's home.
            .arg("--cache-dir")
            .arg(self.dir.path().join("cache"))
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

    /// The process ids of etcd and kube-apiserver.
    pub fn pids(&self) -> [Pid; 2] {
        self.servers.pids()
    }
}
