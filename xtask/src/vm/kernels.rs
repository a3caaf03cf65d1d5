//! The kernels of the lab.

use std::path::PathBuf;

use clap::builder::PossibleValue;

/// A kernel that Debian builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What `--kernel` takes.
    pub name: &'static str,
    /// The Debian release whose newest kernel it is.
    pub suite: &'static str,
    /// The package that depends on the newest kernel's own packages.
    pub package: &'static str,
    /// How the names of those packages begin; the version follows.
    pub parts: &'static [&'static str],
}

const IMAGE: &[&str] = &["linux-image-"];
/// Since 7.x the image's package is empty and depends on the kernel and on its modules.
const SPLIT_IMAGE: &[&str] = &["linux-binary-", "linux-modules-"];

pub const KERNELS: [Kernel; 4] = [
    Kernel { name: "debian-5.10", suite: "bullseye", package: "linux-image-amd64", parts: IMAGE },
    Kernel { name: "debian-6.1", suite: "bookworm", package: "linux-image-amd64", parts: IMAGE },
    Kernel { name: "debian-6.12", suite: "trixie", package: "linux-image-amd64", parts: IMAGE },
    Kernel { name: "debian-7", suite: "sid", package: "linux-image-amd64", parts: SPLIT_IMAGE },
];

/// What the initramfs loads where the kernel does not have it built in: first what the root
/// directory needs, then what tests and faults use. The guest's own `modprobe` would look for the
/// modules of the host's kernel, so nothing is loaded later.
pub const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_rng",
    "9pnet_virtio",
    "9p",
    "overlay",
    "veth",
    "dummy",
    "bridge",
    "ifb",
    "tun",
    "sch_ingress",
    "sch_fq",
    "sch_netem",
    "sch_prio",
    "sch_tbf",
    "cls_bpf",
    "cls_u32",
    "act_bpf",
    "act_gact",
    "act_mirred",
];

/// A kernel that is there to be booted.
#[derive(Debug)]
pub struct Installed {
    /// The compressed kernel.
    pub image: PathBuf,
    /// `lib/modules/RELEASE`, with its `modules.dep`.
    pub modules: PathBuf,
}

/// The kernel of this name, for clap.
#[derive(Clone, Copy, Debug)]
pub struct KernelArg(pub Kernel);

impl clap::ValueEnum for KernelArg {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: [KernelArg; KERNELS.len()] = {
            let mut all = [KernelArg(KERNELS[0]); KERNELS.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = KernelArg(KERNELS[at]);
                at += 1;
            }
            all
        };
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name))
    }
}
