//! `vm --kernel NAME node`: a machine that becomes a Kubernetes node.
//!
//! This makes everything that is needed to boot one: programs, images, the initramfs. What boots it
//! beside a control plane is the integration crate (`chaos_tests::node`), which tests and the demo
//! share.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use chaos_guest::{CgroupDriver, Job};
use tempfile::TempDir;
use xtask::{
    node::{KIT_VARIABLE, NodeKit},
    node_binaries::NodeBinaries,
};

use super::{
    build_guest, installed,
    kernels::{KERNELS, Kernel, NODE_MODULES},
    lab::{Lab, Settings},
    machine::Machine,
};
use crate::{
    command::target_directory,
    image::{
        self,
        archive::{self, Image, Packing, Program},
        build_static,
        linked::LinkedProgram,
        stripped,
    },
    integration::{self, AGENT, PACKAGE as INTEGRATION},
    setup::{self, Part, build::MUSL_TARGET},
    test::Extent,
};

/// The program of the integration crate that runs in the pods.
const VICTIM: &str = "victim";

/// The least that a node can do with, in MiB: its files are in memory too, images, twice, and logs.
const MEMORY: u32 = 1536;

/// A node that is ready to be booted, in a directory that goes with this.
pub struct Prepared {
    dir: TempDir,
}

impl Prepared {
    /// The environment variable by which a program finds it.
    pub fn variable(&self) -> (&'static str, PathBuf) {
        (KIT_VARIABLE, self.dir.path().join("kit.json"))
    }
}

/// What `cargo xtask test --node` boots: a kernel with tcx, and with `--all` one without it, too, and the
/// other way to lay out cgroups.
const TESTED: [(&str, CgroupDriver); 2] =
    [("debian-6.12", CgroupDriver::Systemd), ("debian-6.1", CgroupDriver::Cgroupfs)];

/// The nodes that tests run on, by kernel.
pub fn tested(extent: Extent) -> impl Iterator<Item = (Kernel, CgroupDriver)> {
    let count = match extent {
        Extent::EveryChange => 1,
        Extent::All => TESTED.len(),
    };
    TESTED.into_iter().take(count).flat_map(|(name, cgroups)| {
        let kernel = KERNELS.into_iter().find(move |kernel| kernel.name == name);
        kernel.map(|kernel| (kernel, cgroups))
    })
}

/// The arguments of `cargo xtask` that build what those tests need.
pub fn build_command(extent: Extent) -> Vec<String> {
    let kernels: Vec<&str> = tested(extent).map(|(kernel, _)| kernel.name).collect();
    let words = ["vm", "--kernel", &kernels.join(","), "node", "--build-only"];
    words.map(str::to_owned).to_vec()
}

/// Programs, archives and binaries that are the same for every kernel.
pub struct Parts {
    lab: Lab,
    images: Vec<u8>,
    binaries: NodeBinaries,
}

impl Parts {
    /// Sets up and builds everything.
    pub fn build(settings: Settings) -> Result<Self> {
        integration::needs_root("a node needs a network namespace and a bridge")?;
        let needed = [Part::Build, Part::System, Part::Kube, Part::Image, Part::Lab, Part::Node];
        setup::ensure(&needed)?;
        let lab = Lab { settings, guest: build_guest()? };
        let programs = build_static(&[AGENT, INTEGRATION], &[AGENT, VICTIM])?;
        // On a node all files are in memory, and images twice.
        let agent = stripped(&programs.join(AGENT))?;
        let victim = stripped(&programs.join(VICTIM))?;
        let pause = stripped(&guest_program("pause")?)?;
        let binaries = NodeBinaries::find()?;
        let coredns = binaries.coredns.join("coredns");
        let coredns = fs::read(&coredns).with_context(|| format!("read {}", coredns.display()))?;
        let redis = LinkedProgram::find("redis-server")?;
        let (images, _) = archive::write(&[
            image::agent(NodeKit::AGENT_IMAGE, &agent),
            image(NodeKit::VICTIM_IMAGE, VICTIM, &["/victim"], &victim),
            image(NodeKit::DNS_IMAGE, "coredns", &["/coredns"], &coredns),
            // Packed as what `image` writes: each pod of the node shows that containerd takes that.
            Image {
                packing: Packing::Gzip,
                ..image(NodeKit::PAUSE_IMAGE, "pause", &["/pause"], &pause)
            },
            Image {
                reference: NodeKit::REDIS_IMAGE,
                entrypoint: &["/redis-server"],
                programs: redis.programs(),
                documents: Vec::new(),
                packing: Packing::Plain,
                labels: BTreeMap::new(),
            },
        ])?;
        Ok(Self { lab, images, binaries })
    }

    /// Makes a node with this kernel ready.
    pub fn prepare(&self, kernel: &Kernel, cgroups: CgroupDriver) -> Result<Prepared> {
        let installed =
            installed::ensure(kernel).with_context(|| format!("get {}", kernel.name))?;
        let dir = tempfile::Builder::new().prefix("chaos-node-").tempdir();
        let dir = dir.context("make a directory for the node")?;
        let path = |name: &str| dir.path().join(name);
        let write = |name: &str, contents: &[u8]| {
            fs::write(path(name), contents)
                .with_context(|| format!("write {}", path(name).display()))
        };
        let NodeBinaries { kubernetes, containerd, runc, plugins: _, coredns: _ } = &self.binaries;
        let system = env::var_os("PATH").unwrap_or_default();
        let search = [kubernetes, containerd, runc].into_iter().cloned();
        let search = env::join_paths(search.chain(env::split_paths(&system)));
        let job = Job {
            command: [guest_program("node")?, path(NodeKit::SETUP)]
                .map(utf8)
                .into_iter()
                .collect::<Result<_>>()?,
            environment: vec![("PATH".to_owned(), utf8(search.context("extend PATH")?.into())?)],
            directory: "/".to_owned(),
            terminal: None,
        };
        write("initramfs", &self.lab.initramfs(&installed, &job, NODE_MODULES)?)?;
        write("images.tar", &self.images)?;
        let logs = target_directory()?.join("vm");
        fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
        let log = logs.join(format!("{}-node.log", kernel.name));
        let machine = Machine {
            kernel: &installed,
            initramfs: &path("initramfs"),
            cpus: self.lab.settings.cpus,
            memory: self.lab.settings.memory.max(MEMORY),
            // It runs until it is no longer wanted.
            timeout: None,
            input: false,
            log: log.clone(),
        };
        let command = machine.command();
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let kit = NodeKit {
            kernel: kernel.name.to_owned(),
            cgroups,
            qemu: words.map(|word| utf8(word.into())).collect::<Result<_>>()?,
            log,
            dir: dir.path().to_owned(),
            images: path("images.tar"),
        };
        kit.write(&path("kit.json"))?;
        Ok(Prepared { dir })
    }
}

/// Boots a node and runs `command` beside it, a shell if there is none; its exit code.
pub fn visit(
    parts: &Parts,
    kernel: &Kernel,
    cgroups: CgroupDriver,
    command: &[String],
) -> Result<u8> {
    let node = parts.prepare(kernel, cgroups)?;
    let program = integration::build_program("node-shell")?;
    let (variable, kit) = node.variable();
    let status = Command::new(&program)
        .args(command)
        .env(variable, kit)
        .status()
        .with_context(|| format!("run {}", program.display()))?;
    // A signal has no exit code; a shell would report 128 and more.
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}

fn image<'a>(
    reference: &'a str,
    path: &'a str,
    entrypoint: &'a [&'a str],
    contents: &'a [u8],
) -> Image<'a> {
    let programs = vec![Program { path, contents }];
    Image {
        reference,
        entrypoint,
        programs,
        documents: Vec::new(),
        packing: Packing::Plain,
        labels: BTreeMap::new(),
    }
}

/// A program of the guest's crate, which `build_guest` builds.
fn guest_program(name: &str) -> Result<PathBuf> {
    Ok(target_directory()?.join(MUSL_TARGET).join("release").join(name))
}

fn utf8(path: PathBuf) -> Result<String> {
    match path.into_os_string().into_string() {
        Ok(text) => Ok(text),
        Err(path) => bail!("{} is not UTF-8", Path::new(&path).display()),
    }
}
