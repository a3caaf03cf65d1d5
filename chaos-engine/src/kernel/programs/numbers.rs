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

pub(super) struct NumbersByHook {
    map: CgroupStorage<MapData, u32>,
    name: &'static str,
}

impl NumbersByHook {
    /// Takes the map out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, KernelError> {
        Ok(Self { map: map(ebpf, name)?, name })
    }

    /// Tells the program of a hook, which has been attached to the cgroup with this id.
    pub(super) fn tell(
        &mut self,
        cgroup: u64,
        hook: bpf_attach_type,
        number: u32,
    ) -> Result<(), KernelError> {
        let key = CgroupStorageKey::new(cgroup, hook as u32);
        self.map.insert(key, &number, u64::from(BPF_EXIST)).map_err(failed("update", self.name))
    }

    /// Tells it that the cgroup is nobody any more, if that is still there.
    pub(super) fn forget(&mut self, cgroup: u64, hook: bpf_attach_type) -> Result<(), KernelError> {
        let key = CgroupStorageKey::new(cgroup, hook as u32);
        match self.map.insert(key, &NOBODY, u64::from(BPF_EXIST)) {
            Err(error) if !is_absent(&error) => Err(failed("update", self.name)(error)),
            _ => Ok(()),
        }
    }
}
