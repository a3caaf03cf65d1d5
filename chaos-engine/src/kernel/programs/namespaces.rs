//! Hears from programs which targets use network namespaces that they did not use a while ago.
#![expect(deprecated, reason = "kernels before 6.2 have no other storage of cgroups")]

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsFd, OwnedFd},
};

use aya::{
    Ebpf,
    maps::{CgroupStorage, CgroupStorageKey, MapData, RingBuf},
};
use aya_obj::generated::{BPF_EXIST, bpf_attach_type};
use chaos_api::clock::boot_now;
use chaos_ebpf_common::tables::{NAMESPACE_NEWS_BYTES, NamespaceUser};

use super::Programs;
use crate::kernel::{
    KernelError,
    maps::{failed, map},
};

/// Numbers that are read at once: what the ring holds, each with a header of 8 bytes.
const MOST: usize = NAMESPACE_NEWS_BYTES / 16;

/// Of all targets.
pub(super) struct Namespaces {
    users: CgroupStorage<MapData, NamespaceUser>,
    news: RingBuf<MapData>,
}

impl Namespaces {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Ok(Self { users: map(ebpf, "CGROUP_FRAMES")?, news: map(ebpf, "NAMESPACE_NEWS")? })
    }

    /// Tells the program, which has been attached to the cgroup with this id, which target that is at interfaces.
    pub(super) fn tell(&mut self, cgroup: u64, number: u32) -> Result<(), KernelError> {
        let user = NamespaceUser { since: boot_now(), target: number, padding: 0 };
        let hook = bpf_attach_type::BPF_CGROUP_INET_SOCK_CREATE;
        let key = CgroupStorageKey::new(cgroup, hook as u32);
        self.users
            .insert(key, &user, u64::from(BPF_EXIST))
            .map_err(failed("update", "CGROUP_FRAMES"))
    }

    /// The numbers of targets that have used another namespace since the last call.
    fn read(&mut self) -> BTreeSet<u32> {
        let mut numbers = BTreeSet::new();
        for _ in 0..MOST {
            let Some(item) = self.news.next() else { break };
            numbers.extend(item.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)));
        }
        numbers
    }
}

impl Programs {
    /// Becomes readable when a target uses a network namespace that it has not used before.
    pub fn namespace_news(&self) -> io::Result<OwnedFd> {
        self.loaded().namespaces.news.as_fd().try_clone_to_owned()
    }

    /// The ids of the cgroups of such targets.
    pub fn take_namespace_news(&self) -> BTreeSet<u64> {
        let mut loaded = self.loaded();
        let numbers = loaded.namespaces.read();
        let is_meant = |number: &u32| numbers.contains(number);
        let rows = loaded.rows.iter().filter(|(_, row)| row.frames.iter().any(is_meant));
        rows.map(|(cgroup, _)| *cgroup).collect()
    }
}
