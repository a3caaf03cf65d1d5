//! The programs of a Kubernetes node and of the control plane that it registers at, built from Go
//! modules by `cargo xtask setup node`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{go_module::GoModule, kube_binaries::kube_module};

/// A Go module, the packages that are built from it and the environment of `go build`.
#[derive(Debug)]
pub struct Source {
    pub module: GoModule,
    pub packages: Vec<String>,
    pub environment: Vec<(&'static str, &'static str)>,
}

impl Source {
    /// Whether all of the programs are in the cache.
    ///
    /// # Errors
    /// When the machine has no cache directory.
    pub fn is_built(&self) -> Result<bool> {
        let dir = self.module.cache_dir()?;
        let name = |package: &String| package.rsplit('/').next().unwrap_or(package).to_owned();
        Ok(self.packages.iter().all(|package| dir.join(name(package)).is_file()))
    }
}

const STATIC: (&str, &str) = ("CGO_ENABLED", "0");

/// Everything that a node is built from, besides kube-apiserver, kubectl and etcd.
///
/// # Errors
/// When a module's files can't be read.
pub fn sources() -> Result<Vec<Source>> {
    Ok(vec![kubernetes()?, containerd()?, runc()?, plugins()?, coredns()?])
}

fn kubernetes() -> Result<Source> {
    let names = ["kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager"];
    let packages = names.map(|name| format!("k8s.io/kubernetes/cmd/{name}")).to_vec();
    Ok(Source { module: kube_module()?, packages, environment: vec![STATIC] })
}

fn containerd() -> Result<Source> {
    const MODULE: &str = "github.com/containerd/containerd/v2";
    let module = GoModule::load("tests/node/containerd", "containerd", MODULE, |version| {
        let ldflags = format!("-s -w -X {MODULE}/version.Version={version}");
        // Snapshotters that need libraries or devices which a node here has no use for.
        let tags = "netgo osusergo no_btrfs no_devmapper no_zfs";
        build_args(tags, &ldflags)
    })?;
    let names = ["containerd", "ctr", "containerd-shim-runc-v2"];
    let packages = names.map(|name| format!("{MODULE}/cmd/{name}")).to_vec();
    Ok(Source { module, packages, environment: vec![STATIC] })
}

fn runc() -> Result<Source> {
    const MODULE: &str = "github.com/opencontainers/runc";
    let module = GoModule::load("tests/node/runc", "runc", MODULE, |version| {
        let version = version.trim_start_matches('v');
        let link = "-linkmode external -extldflags -static";
        // Without seccomp no sandbox with the default profile can be started.
        build_args("netgo osusergo seccomp", &format!("-s -w -X main.version={version} {link}"))
    })?;
    Ok(Source {
        module,
        packages: vec![MODULE.to_owned()],
        environment: vec![("CGO_ENABLED", "1")],
    })
}

fn plugins() -> Result<Source> {
    const MODULE: &str = "github.com/containernetworking/plugins";
    let module = GoModule::load("tests/node/cni", "cni", MODULE, |_| build_args("netgo", "-s -w"))?;
    let names = ["main/bridge", "main/loopback", "ipam/host-local"];
    let packages = names.map(|name| format!("{MODULE}/plugins/{name}")).to_vec();
    Ok(Source { module, packages, environment: vec![STATIC] })
}

fn coredns() -> Result<Source> {
    const MODULE: &str = "github.com/coredns/coredns";
    // Without tags: what it shares with tests/kubernetes is compiled already, and without cgo it is static anyway.
    let args = |_: &str| build_args("", "-s -w");
    let module = GoModule::load("tests/node/coredns", "coredns", MODULE, args)?;
    // With the plugins that names of Services need, not all that CoreDNS has.
    let package = "chaos-agent.dev/tests/node/coredns".to_owned();
    Ok(Source { module, packages: vec![package], environment: vec![STATIC] })
}

fn build_args(tags: &str, ldflags: &str) -> Vec<String> {
    ["-mod=readonly", "-trimpath", "-tags", tags, "-ldflags", ldflags].map(str::to_owned).to_vec()
}

/// Directories with a node's programs.
#[derive(Debug, Clone)]
pub struct NodeBinaries {
    /// kubelet, kube-proxy, kube-scheduler, kube-controller-manager.
    pub kubernetes: PathBuf,
    /// containerd, its shim, ctr.
    pub containerd: PathBuf,
    pub runc: PathBuf,
    /// The CNI plugins.
    pub plugins: PathBuf,
    /// The name server, for the image that it runs in.
    pub coredns: PathBuf,
}

impl NodeBinaries {
    /// What `cargo xtask setup node` has built.
    ///
    /// # Errors
    /// Says what to run when a program is missing.
    pub fn find() -> Result<Self> {
        let mut dirs = Vec::new();
        for source in sources()? {
            let dir = source.module.cache_dir()?;
            if !source.is_built()? {
                bail!(
                    "not all programs of {} are in {}: run `cargo xtask setup node`",
                    source.module.dir().display(),
                    dir.display()
                );
            }
            dirs.push(dir);
        }
        let [kubernetes, containerd, runc, plugins, coredns] =
            <[PathBuf; 5]>::try_from(dirs).ok().context("there are five sources")?;
        Ok(Self { kubernetes, containerd, runc, plugins, coredns })
    }
}
