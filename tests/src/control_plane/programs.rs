//! The servers' command lines.

use std::{
    ffi::{CStr, CString},
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use super::{Extent, HOST, identity::Pki, servers::Server};

/// etcd with its data in memory.
pub fn etcd(program: &Path, dir: &Path, client: u16, peer: u16) -> Result<Server> {
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
        .args(["--logger=zap", "--log-level=warn"]);
    on_private_tmpfs(&mut command, &data)?;
    Ok(server("etcd", command, dir))
}

/// kube-apiserver, as far-reaching as `extent` says.
pub fn apiserver(
    program: &Path,
    dir: &Path,
    pki: &Pki,
    etcd: u16,
    secure: u16,
    extent: Extent,
) -> Server {
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
        .arg("--service-cluster-ip-range=10.96.0.0/16")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args(["--authorization-mode=Node,RBAC", "--allow-privileged=true"]);
    match extent {
        Extent::ApiServer => command
            // Nothing reaches it through the Service `kubernetes`, whose endpoint can't be loopback.
            .args(["--bind-address=127.0.0.1", "--endpoint-reconciler-type=none"])
            .arg("--advertise-address=192.0.2.1")
            .arg("--disable-admission-plugins=ServiceAccount"),
        Extent::Node => command
            .args(["--bind-address=0.0.0.0", "--kubelet-preferred-address-types=InternalIP"])
            .arg(format!("--advertise-address={HOST}")),
    };
    server("kube-apiserver", command, dir)
}

/// What makes pods of Deployments and DaemonSets, service accounts and the like.
pub fn controllers(program: &Path, dir: &Path, pki: &Pki, kubeconfig: &Path) -> Server {
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig);
    command.arg("--service-account-private-key-file").arg(&pki.service_account_key);
    command.arg("--root-ca-file").arg(&pki.ca_certificate);
    command
        .args(["--use-service-account-credentials", "--leader-elect=false", "--secure-port=0"])
        // Those of clouds, and of address ranges, which the node's plugin gives out.
        .arg("--controllers=*,-nodeipam,-cloud-node-lifecycle,-service-lb-controller,-node-route-controller");
    server("kube-controller-manager", command, dir)
}

/// What binds pods to the node.
pub fn scheduler(program: &Path, dir: &Path, kubeconfig: &Path) -> Server {
    let mut command = Command::new(program);
    command.arg("--kubeconfig").arg(kubeconfig).args(["--leader-elect=false", "--secure-port=0"]);
    server("kube-scheduler", command, dir)
}

fn server(name: &'static str, command: Command, dir: &Path) -> Server {
    Server { name, command, log: dir.join(format!("{name}.log")) }
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
pub fn free_ports<const N: usize>() -> Result<[u16; N]> {
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
