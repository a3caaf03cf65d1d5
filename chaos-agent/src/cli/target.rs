//! The options that name a target.

use std::path::PathBuf;

use chaos_api::{TargetSpec, UnitName};
use chaos_engine::cgroup::{CgroupRoot, Target, resolve, resolve_with_pods};

use super::failure::Failure;

/// Where things go wrong
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct TargetArgs {
    /// A cgroup v2: its path in the file system, or below the root of the hierarchy
    #[arg(long, value_name = "PATH", help_heading = "Target")]
    cgroup: Option<PathBuf>,
    /// The whole cgroup of this process
    #[arg(
        long,
        value_name = "N",
        help_heading = "Target",
        value_parser = clap::value_parser!(i32).range(1..)
    )]
    pid: Option<i32>,
    /// A systemd unit that runs, such as nginx.service
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    unit: Option<UnitName>,
    /// A container of containerd, CRI-O, Docker or Podman, by its ID (or the first 12 digits), or that of a pod, as
    /// POD/CONTAINER or NAMESPACE/POD/CONTAINER
    #[arg(
        long,
        value_name = "ID|POD/CONTAINER",
        help_heading = "Target",
        value_parser = TargetSpec::container
    )]
    container: Option<TargetSpec>,
}

impl TargetArgs {
    /// The target that was named, if any.
    pub fn spec(&self) -> Option<TargetSpec> {
        let Self { cgroup, pid, unit, container } = self;
        cgroup
            .clone()
            .map(TargetSpec::Cgroup)
            .or(pid.map(TargetSpec::Pid))
            .or(unit.clone().map(TargetSpec::Unit))
            .or(container.clone())
    }
}

/// For targets that are more than they seem
#[derive(Debug, clap::Args)]
pub struct PodsArg {
    /// Also where the cgroup holds pods, all of which would be hit
    #[arg(long, help_heading = "Target")]
    pub force: bool,
}

impl PodsArg {
    /// Finds the target.
    pub fn resolve(&self, spec: &TargetSpec, root: &CgroupRoot) -> Result<Target, Failure> {
        let found = if self.force { resolve_with_pods(spec, root) } else { resolve(spec, root) };
        found.map_err(Failure::of_target)
    }
}
