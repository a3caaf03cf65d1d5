//! Tells programs that are attached to a cgroup which target it is.
//!
//! Programs find the number in the storage that the kernel keeps for each cgroup and hook (kernel 4.19,
//! <https://docs.kernel.org/bpf/map_cgroup_storage.html>), so they look nothing up.
#![expect(deprecated, reason = "kernels before 6.2 have no other storage of cgroups")]

use aya::{
    Ebpf,
    maps::{CgroupStorage, CgroupStorageKey, MapData},
};
use aya_obj::generated::{BPF_EXIST, bpf_attach_type};

use crate::kernel::{
    KernelError,
    maps::{failed, is_absent, map},
};

/// The number of nobody.
const NOBODY: u32 = 0;

pub(super) struct NumbersByHook(CgroupStorage<MapData, u32>);

impl NumbersByHook {
    /// Takes the map out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self(map(ebpf, "CGROUP_TARGET")?))
    }

    /// Tells the program of a hook, which has been attached to the cgroup with this id.
    pub(super) fn tell(
        &mut self,
        cgroup: u64,
        hook: bpf_attach_type,
        number: u32,
    ) -> Result<(), KernelError> {
        let key = CgroupStorageKey::new(cgroup, hook as u32);
        self.0.insert(key, &number, u64::from(BPF_EXIST)).map_err(failed("update", "CGROUP_TARGET"))
    }

    /// Tells it that the cgroup is nobody any more, if that is still there.
    pub(super) fn forget(&mut self, cgroup: u64, hook: bpf_attach_type) -> Result<(), KernelError> {
        let key = CgroupStorageKey::new(cgroup, hook as u32);
        match self.0.insert(key, &NOBODY, u64::from(BPF_EXIST)) {
            Err(error) if !is_absent(&error) => Err(failed("update", "CGROUP_TARGET")(error)),
            _ => Ok(()),
        }
    }
}
