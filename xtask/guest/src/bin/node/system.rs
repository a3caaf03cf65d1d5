//! What a node needs of its machine.

use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use anyhow::{Context as _, Result, bail};
use chaos_guest::NodeSetup;
use nix::mount::{MsFlags, mount};

/// The machine's one interface to its host.
const INTERFACE: &str = "eth0";

/// Settings that the kubelet would make itself (`protectKernelDefaults`), and those of a router
/// between pods and the rest.
const SETTINGS: [(&str, &str); 9] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    // A pod that asks a Service would be told to ask the pod behind it, by the address of the Service.
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    // The node has no IPv6 address. Without this, kube-proxy takes twice as long.
    ("net/ipv6/conf/all/disable_ipv6", "1"),
    ("vm/overcommit_memory", "1"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("fs/inotify/max_user_instances", "1024"),
];

/// File systems and settings.
pub fn prepare() -> Result<()> {
    // An overlay's layers can't lie on an overlay, which the root directory is.
    for directory in ["/var/lib/containerd", "/var/lib/kubelet"] {
        fs::create_dir_all(directory).with_context(|| format!("create {directory}"))?;
        mount(Some("node"), directory, Some("tmpfs"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount a tmpfs on {directory}"))?;
    }
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    // Volumes of pods may ask for propagation.
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("share all mounts")?;
    for (setting, value) in SETTINGS {
        let path = format!("/proc/sys/{setting}");
        fs::write(&path, value).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// Has the kubelet find the seccomp profiles in this directory.
pub fn profiles(directory: &Path) -> Result<()> {
    let link = "/var/lib/kubelet/seccomp";
    symlink(directory, link).with_context(|| format!("link {link}"))
}

/// The node's address and its way to everything else.
pub fn network(setup: &NodeSetup) -> Result<()> {
    let NodeSetup { address, gateway, .. } = setup;
    ip(&["address", "add", address, "dev", INTERFACE])?;
    ip(&["link", "set", INTERFACE, "up"])?;
    ip(&["route", "add", "default", "via", gateway])
}

fn ip(arguments: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(arguments).output().context("run ip")?;
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", arguments.join(" "), message.trim_end());
    }
    Ok(())
}
