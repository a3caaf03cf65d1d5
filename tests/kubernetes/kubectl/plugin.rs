//! Runs the plugin as a user who has what `manifests/controller/roles.yaml` grants.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chaos_tests::{
    control_plane::ControlPlane,
    process::{Place, Process},
    program,
};
use serde_json::{Value, json};

use crate::experiments::scene::{SHOP, Scene};

/// Far longer than anything takes: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// Somebody who uses the plugin.
pub struct User {
    kubeconfig: PathBuf,
}

/// What the plugin has said.
pub struct Said {
    pub code: i32,
    pub output: String,
    pub errors: String,
}

impl User {
    /// Makes an account that has these roles: of the namespace of the pods, and of that of the agents.
    pub fn new(plane: &ControlPlane, name: &str, here: &[&str], agents: &[&str]) -> Result<Self> {
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": name, "namespace": SHOP } });
        plane.apply(&account.to_string())?;
        for role in here {
            Self::bind(plane, name, role)?;
        }
        for role in agents {
            plane.apply(&binding(name, "chaos-agent", "Role", role).to_string())?;
        }
        let kubeconfig = plane.kubeconfig_of(name, &plane.unbound_token(SHOP, name)?)?;
        Ok(Self { kubeconfig })
    }

    /// With which a client is this user.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Gives the user a ClusterRole in the namespace of the pods.
    pub fn bind(plane: &ControlPlane, name: &str, role: &str) -> Result<()> {
        plane.apply(&binding(name, SHOP, "ClusterRole", role).to_string())?;
        Ok(())
    }

    /// The plugin with these arguments, in the namespace of the pods.
    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(program::plugin()?);
        command.args(["--namespace", SHOP]).args(arguments).env("KUBECONFIG", &self.kubeconfig);
        Ok(command)
    }

    /// Runs the plugin to its end.
    pub fn says(&self, arguments: &[&str]) -> Result<Said> {
        let output = self.command(arguments)?.stdin(Stdio::null()).output()?;
        Said::of(output)
    }

    /// Asks for what may come next on a line, as kubectl does.
    pub fn completes(&self, words: &[&str]) -> Result<Said> {
        let mut command = Command::new(program::plugin()?);
        command.args(["__complete", "-n", SHOP]).args(words);
        Said::of(command.env("KUBECONFIG", &self.kubeconfig).output()?)
    }

    /// Runs the plugin, while agents answer.
    pub fn says_meanwhile(&self, scene: &Scene, arguments: &[&str]) -> Result<Said> {
        let mut command = self.command(arguments)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let give_up = Instant::now() + PATIENCE;
        while child.try_wait()?.is_none() {
            if Instant::now() > give_up {
                child.kill()?;
                break;
            }
            scene.answer()?;
            thread::sleep(Duration::from_millis(50));
        }
        Said::of(child.wait_with_output()?)
    }

    /// Begins something that goes on.
    pub fn begins(&self, arguments: &[&str]) -> Result<Process> {
        Process::spawn(self.command(arguments)?, Place::here())
    }

    /// The same, with what it says on standard error among its lines.
    pub fn begins_aloud(&self, arguments: &[&str]) -> Result<Process> {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" 2>&1"]).arg(program::plugin()?);
        shell.args(["--namespace", SHOP]).args(arguments).env("KUBECONFIG", &self.kubeconfig);
        Process::spawn(shell, Place::here())
    }
}

impl Said {
    fn of(output: Output) -> Result<Self> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("what the plugin prints");
        let code = output.status.code().context("the plugin was killed")?;
        Ok(Self { code, output: text(output.stdout)?, errors: text(output.stderr)? })
    }

    /// Checks the exit code and that each of these is somewhere in what was said.
    pub fn expect(self, code: i32, parts: &[&str]) -> Result<Self> {
        let whole = format!("exit code {}\n{}\n{}", self.code, self.output, self.errors);
        ensure!(self.code == code, "expected exit code {code}: {whole}");
        for part in parts {
            ensure!(whole.contains(part), "expected {part:?}: {whole}");
        }
        Ok(self)
    }
}

fn binding(user: &str, namespace: &str, kind: &str, role: &str) -> Value {
    json!({ "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": { "name": format!("{user}-{role}"), "namespace": namespace },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": user, "namespace": SHOP }] })
}
