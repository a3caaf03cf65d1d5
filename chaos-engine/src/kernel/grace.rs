//! Waits until every program has ended that may have read what was in the maps before.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::generated::{bpf_cmd, bpf_map_type};

use super::{
    KernelError,
    bpf::{bpf, no_attr, own, set_element},
};

/// Programs run inside RCU read sections, and MEMBARRIER_CMD_GLOBAL is `synchronize_rcu()` (kernel 4.3,
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/sched/membarrier.c>). Kernels with `nohz_full` processors do not
/// offer it.
pub(crate) fn wait_for_running_programs() -> Result<(), KernelError> {
    // SAFETY: the call takes three integers and touches no memory of ours.
    let answer = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if answer == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(libc::EINVAL) {
        return wait_by_map()
            .map_err(|source| KernelError::Call { call: "bpf(2), to wait", source });
    }
    Err(KernelError::Call { call: "membarrier", source: error })
}

/// A change of a map of maps waits for the programs that may be at the map before.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/syscall.c> `maybe_wait_bpf_programs`
fn wait_by_map() -> io::Result<()> {
    let inner = make(bpf_map_type::BPF_MAP_TYPE_ARRAY, None)?;
    let outer = make(bpf_map_type::BPF_MAP_TYPE_ARRAY_OF_MAPS, Some(inner.as_fd()))?;
    let inner = inner.as_raw_fd();
    set_element(outer.as_fd(), 0, (&raw const inner).cast())
}

fn make(kind: bpf_map_type, inner: Option<BorrowedFd<'_>>) -> io::Result<OwnedFd> {
    let mut attr = no_attr();
    // SAFETY: the description of a map is the member of the union that the command reads.
    let map = unsafe { &mut attr.__bindgen_anon_1 };
    map.map_type = kind as u32;
    map.key_size = 4;
    map.value_size = 4;
    map.max_entries = 1;
    map.inner_map_fd = inner.map_or(0, |inner| inner.as_raw_fd() as u32);
    bpf(bpf_cmd::BPF_MAP_CREATE, &mut attr).map(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Either way, where this may make maps at all.
    #[test]
    fn waiting_ends() {
        let may = |error: &io::Error| error.kind() != io::ErrorKind::PermissionDenied;
        if let Err(error) = wait_by_map() {
            assert!(!may(&error), "{error}");
            eprintln!("skipped: no right to make BPF maps: {error}");
            return;
        }
        wait_for_running_programs().unwrap();
    }
}
