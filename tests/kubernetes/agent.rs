//! The agent of a node: the real program, with a kubeconfig file.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, ensure};
use chaos_tests::{
    cgroup::TestCgroup,
    process::{Place, Process},
    program,
};
use kube::{
    Client,
    config::{Config, KubeConfigOptions, Kubeconfig},
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::container;

/// For disarming and for telling the API server.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running agent. Dropping it kills it.
pub struct Agent {
    process: Process,
    _socket: TempDir,
    // After the process, which lives in it.
    _cgroup: TestCgroup,
}

impl Agent {
    /// Starts the agent of `node` as whoever the kubeconfig file says.
    /// `adapt` changes how.
    pub fn start(
        kubeconfig: &Path,
        node: &str,
        grace: Duration,
        cgroup: TestCgroup,
        adapt: impl FnOnce(&mut Command),
    ) -> Result<Self> {
        let socket = tempfile::tempdir().context("make a directory for the socket")?;
        let mut command = Command::new(program::agent()?);
        command
            .args(["agent", "--node-name", node, "--node-ip", "192.0.2.7"])
            .arg(format!("--grace={}s", grace.as_secs()))
            .arg("--socket")
            .arg(socket.path().join("agent.sock"))
            .env("KUBECONFIG", kubeconfig)
            // That of its token.
            .env("POD_NAME", format!("chaos-agent-{node}"))
            .env("CHAOS_LOG", "warn");
        container::isolate(&mut command, &cgroup)?;
        adapt(&mut command);
        let process = Process::spawn(command, Place::here())?;
        Ok(Self { process, _socket: socket, _cgroup: cgroup })
    }

    /// Ends it by SIGTERM.
    pub fn stop(mut self) -> Result<()> {
        self.process.signal(Signal::SIGTERM)?;
        let status = self.process.wait(PATIENCE)?;
        ensure!(status.success(), "the agent ended with {status}");
        Ok(())
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) -> Result<()> {
        self.process.signal(Signal::SIGKILL)?;
        self.process.wait(PATIENCE)?;
        Ok(())
    }
}

/// A client of the API server.
pub async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig).context("read the kubeconfig file")?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("make a client")
}
