//! Makes a machine of the lab a Kubernetes node: lays out its network, starts containerd, imports
//! the images and starts kubelet and kube-proxy, which are found in `PATH`. Its one argument is a file with a
//! `NodeSetup`. It ends when one of the three daemons does, with the end of that one's log.

mod daemon;
mod system;
mod systemd;

use std::{convert::Infallible, env, fs, path::PathBuf, process::Command, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use chaos_guest::{CgroupDriver, NodeSetup};
use daemon::Daemon;
use nix::time::{ClockId, clock_gettime};

/// How often a daemon is asked whether it is there.
const POLL: Duration = Duration::from_millis(100);

/// How long containerd may take until it answers, under emulation on a busy machine.
const PATIENCE: u32 = 1200;

fn main() -> Result<Infallible> {
    let file = env::args_os().nth(1).map(PathBuf::from).context("usage: node SETUP")?;
    let setup = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let setup: NodeSetup =
        serde_json::from_slice(&setup).with_context(|| format!("parse {}", file.display()))?;
    // First, as mounts are not shared yet.
    let daemon: fn(&str) -> Command = match setup.cgroups {
        CgroupDriver::Cgroupfs => |program| Command::new(program),
        CgroupDriver::Systemd => {
            systemd::start()?;
            say("systemd is ready")?;
            systemd::scope
        }
    };
    system::prepare()?;
    system::profiles(&setup.profiles)?;
    system::network(&setup)?;

    let mut containerd = daemon("containerd");
    containerd.arg("--config").arg(&setup.containerd);
    let mut containerd = Daemon::start("containerd", containerd)?;
    let ctr = |arguments: &[&str]| {
        let mut ctr = Command::new("ctr");
        ctr.args(["--namespace", "k8s.io"]).args(arguments);
        ctr
    };
    let mut polls = 0;
    while !ctr(&["version"]).output().context("run ctr")?.status.success() {
        containerd.still_runs()?;
        polls += 1;
        if polls > PATIENCE {
            bail!("containerd does not answer\n{}", containerd.log());
        }
        thread::sleep(POLL);
    }
    say("containerd is ready")?;
    let mut import = ctr(&["images", "import", "--local"]);
    let import = import.arg(&setup.images).output().context("run ctr")?;
    if !import.status.success() {
        bail!("import of the images: {}", String::from_utf8_lossy(&import.stderr).trim_end());
    }
    say("the images are imported")?;
    let mut kubelet = daemon("kubelet");
    kubelet.args(&setup.kubelet);
    let mut kubelet = Daemon::start("kubelet", kubelet)?;
    let mut kube_proxy = daemon("kube-proxy");
    kube_proxy.args(&setup.kube_proxy);
    let mut kube_proxy = Daemon::start("kube-proxy", kube_proxy)?;
    say("kubelet and kube-proxy are started")?;
    loop {
        containerd.still_runs()?;
        kubelet.still_runs()?;
        kube_proxy.still_runs()?;
        thread::sleep(POLL);
    }
}

/// Prints how far it came, and how long after the machine's start.
fn say(what: &str) -> Result<()> {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).context("read the clock")?;
    println!("{:.1} s: {what}", Duration::from(now).as_secs_f64());
    Ok(())
}
