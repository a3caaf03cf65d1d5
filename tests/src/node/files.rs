//! What the node's daemons are configured with. The machine sees the host's files, so they are
//! written where the kit says, before it boots.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use chaos_guest::{CgroupDriver, NodeSetup};
use serde_json::json;
use xtask::{node::NodeKit, node_binaries::NodeBinaries};

use super::network::{PODS, PREFIX};
use crate::control_plane::{ControlPlane, HOST, Identity, NODE, NODE_ADDRESS, Pki};

pub fn write(kit: &NodeKit, plane: &ControlPlane) -> Result<()> {
    let path = |name: &str| kit.dir.join(name);
    let write = |name: &str, contents: &str| {
        fs::write(path(name), contents).with_context(|| format!("write {}", path(name).display()))
    };
    let binaries = NodeBinaries::find()?;
    let cni = path("cni");
    fs::create_dir_all(&cni).with_context(|| format!("create {}", cni.display()))?;
    write("cni/10-pods.conflist", &network())?;
    write("containerd.toml", &containerd(&binaries, &cni, kit.cgroups))?;
    // YAML includes JSON.
    write("kubelet.yaml", &kubelet(plane.pki(), kit.cgroups)?)?;
    write("kube-proxy.yaml", &kube_proxy(plane.kubeconfig(Identity::KubeProxy)))?;
    let argument = |flag: &str, value: &Path| format!("{flag}={}", value.display());
    let setup = NodeSetup {
        address: format!("{NODE_ADDRESS}/{PREFIX}"),
        gateway: HOST.to_owned(),
        cgroups: kit.cgroups,
        containerd: path("containerd.toml"),
        profiles: xtask::paths::workspace().join("manifests/seccomp"),
        images: kit.images.clone(),
        kubelet: vec![
            argument("--config", &path("kubelet.yaml")),
            argument("--kubeconfig", plane.kubeconfig(Identity::Kubelet)),
            format!("--hostname-override={NODE}"),
            format!("--node-ip={NODE_ADDRESS}"),
            // What each cgroup uses is looked at by nobody, and takes an eighth of the kubelet's time.
            "--housekeeping-interval=1m".to_owned(),
        ],
        kube_proxy: vec![argument("--config", &path("kube-proxy.yaml"))],
    };
    write(NodeKit::SETUP, &serde_json::to_string(&setup).context("write the node's setup")?)
}

/// A bridge with the pods' addresses; its leases lie in memory.
fn network() -> String {
    let network = json!({
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [[{ "subnet": PODS }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
                "dataDir": "/run/cni",
            },
        }],
    });
    network.to_string()
}

fn containerd(binaries: &NodeBinaries, cni: &Path, cgroups: CgroupDriver) -> String {
    let NodeBinaries { runc, plugins, .. } = binaries;
    let (runc, plugins) = (runc.join("runc"), plugins.display());
    let (runc, cni) = (runc.display(), cni.display());
    let pause = NodeKit::PAUSE_IMAGE;
    let is_systemd = cgroups == CgroupDriver::Systemd;
    format!(
        r#"version = 3
disabled_plugins = ["io.containerd.nri.v1.nri", "io.containerd.snapshotter.v1.erofs", "io.containerd.differ.v1.erofs", "io.containerd.snapshotter.v1.blockfile", "io.containerd.tracing.processor.v1.otlp"]
[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "docker.io/library/{pause}"
[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{plugins}"]
  conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{runc}"
  SystemdCgroup = {is_systemd}
"#
    )
}

fn kubelet(pki: &Pki, cgroups: CgroupDriver) -> Result<String> {
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": cgroups,
        // Its network has no one but the control plane and the pods of a test.
        "authentication": { "anonymous": { "enabled": true }, "webhook": { "enabled": false } },
        "authorization": { "mode": "AlwaysAllow" },
        "tlsCertFile": pki.kubelet_certificate,
        "tlsPrivateKeyFile": pki.kubelet_key,
        // There is none; without an address the kubelet writes an event for each pod a minute.
        "clusterDNS": ["10.96.0.10"],
        "failSwapOn": false,
        "makeIPTablesUtilChains": false,
        // The disk is the machine's memory: nothing is collected or evicted for want of it.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {
            "memory.available": "20Mi",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
        },
        "logging": { "verbosity": 2 },
    });
    serde_json::to_string(&configuration).context("write the kubelet's configuration")
}

fn kube_proxy(kubeconfig: &Path) -> String {
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": { "kubeconfig": kubeconfig },
        "hostnameOverride": NODE,
        "mode": "iptables",
        "clusterCIDR": PODS,
        "iptables": {
            // A pod would answer another one over the bridge, where no rule translates the answer back.
            "masqueradeAll": true,
            "localhostNodePorts": false,
            // Nobody else changes the rules.
            "syncPeriod": "1h",
        },
        "conntrack": { "maxPerCore": 0 },
        "logging": { "verbosity": 2 },
    });
    configuration.to_string()
}
