//! `cargo xtask vm --kernel NAME node`: boots the node, puts the agent on it and runs a command
//! where kubectl reaches it, a shell if none is named.

use std::{env, process::ExitCode, time::Instant};

use anyhow::{Context, Result};
use chaos_tests::{control_plane::Identity, node::Node};
use xtask::node::NodeKit;

fn main() -> Result<ExitCode> {
    let kit = NodeKit::from_environment()?;
    let start = Instant::now();
    eprintln!("booting {} and its control plane ...", kit.kernel);
    let node = Node::start(&kit)?;
    eprintln!("the node is ready after {:.1} s", start.elapsed().as_secs_f64());
    node.deploy_agent()?;
    eprintln!("the agent is ready after {:.1} s", start.elapsed().as_secs_f64());

    let mut words = env::args_os().skip(1);
    let program = words.next().or_else(|| env::var_os("SHELL")).unwrap_or_else(|| "sh".into());
    let plane = node.plane();
    let mut command = plane.command(&program);
    command.args(words).env("KUBECONFIG", plane.kubeconfig(Identity::Admin));
    let kubectl = plane.kubectl_path().parent().context("kubectl is in a directory")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = [kubectl.to_owned()].into_iter().chain(env::split_paths(&path));
    command.env("PATH", env::join_paths(path).context("extend PATH")?);
    let status = command.status().with_context(|| format!("run {}", program.display()))?;
    // A signal has no exit code.
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    Ok(code.into())
}
