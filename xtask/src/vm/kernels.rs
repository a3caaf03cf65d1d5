//! The kernels of the lab.

use clap::builder::PossibleValue;

/// A kernel of the lab.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    /// What `--kernel` takes.
    pub name: &'static str,
    /// The Debian release that it comes from.
    pub suite: &'static str,
    pub origin: Origin,
}

/// How a kernel is got from a Debian release: the newest one that it has.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// Debian's own build.
    Packages {
        /// The package that depends on the newest kernel's own packages.
        package: &'static str,
        /// How the names of those packages begin; the version follows.
        parts: &'static [&'static str],
    },
    /// Built here.
    Source {
        /// The package with the sources.
        package: &'static str,
        /// What is set over `allnoconfig`.
        config: &'static str,
    },
}

const IMAGE: Origin = Origin::Packages { package: "linux-image-amd64", parts: &["linux-image-"] };
/// Since 7.x the image's package is empty and depends on the kernel, its modules and their lists.
const SPLIT_IMAGE: Origin = Origin::Packages {
    package: "linux-image-amd64",
    parts: &["linux-base-", "linux-binary-", "linux-modules-"],
};
const WITH_OVERRIDE: Origin =
    Origin::Source { package: "linux-source-6.12", config: include_str!("override-6.12.config") };

pub const KERNELS: [Kernel; 5] = [
    Kernel { name: "debian-5.10", suite: "bullseye", origin: IMAGE },
    Kernel { name: STOCK, suite: "bookworm", origin: IMAGE },
    Kernel { name: "debian-6.12", suite: "trixie", origin: IMAGE },
    Kernel { name: PREEMPTIBLE, suite: "sid", origin: SPLIT_IMAGE },
    // The only one with error injection.
    Kernel { name: OVERRIDE, suite: "trixie", origin: WITH_OVERRIDE },
];

/// Kernels that `cargo xtask test --lab` runs the native tests on: a stock one that is not new, and the one that
/// has what that lacks.
pub const STOCK: &str = "debian-6.1";
pub const OVERRIDE: &str = "override-6.12";

/// The kernel on which a task may be preempted inside of the kernel, at nearly any place: what depends on
/// that is tested there.
pub const PREEMPTIBLE: &str = "debian-7";

/// What the initramfs loads first of all, where the kernel has it as a module: an algorithm that conntrack
/// asks for by name (before 6.14), and counters of nftables (before 5.18).
pub const OPTIONAL_MODULES: &[&str] = &["crc32c_generic", "nft_counter"];

/// What a node loads besides, where the kernel has it as a module: what kube-proxy's rules use, of Services that have
/// several endpoints or none.
pub const NODE_MODULES: &[&str] = &["xt_statistic", "ipt_REJECT", "ip6t_REJECT"];

/// What the initramfs loads where the kernel does not have it built in: first what the root
/// directory needs, then what tests and faults use. The guest's own `modprobe` would look for the
/// modules of the host's kernel, so nothing is loaded later.
pub const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_rng",
    "virtio_net",
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
    // Machines that route: address translation, by either kind of iptables.
    "nf_conntrack",
    "nf_nat",
    "nf_tables",
    "nft_chain_nat",
    "nft_compat",
    "nft_ct",
    "nft_masq",
    "nft_nat",
    "nft_redir",
    "x_tables",
    "xt_MASQUERADE",
    "xt_addrtype",
    "xt_comment",
    "xt_conntrack",
    "xt_mark",
    "xt_nat",
    "xt_tcpudp",
    // Other interfaces, and file systems of processes.
    "8021q",
    "bonding",
    "macvlan",
    "vxlan",
    "fuse",
];

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
