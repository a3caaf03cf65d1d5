//! What is attached to a function of the kernel, and what it has missed.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use aya_obj::generated::{bpf_cmd, bpf_prog_info};

use super::bpf::{bpf, no_attr};

/// One program, attached.
pub(super) struct Attached {
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub link: OwnedFd,
    pub program: OwnedFd,
}

impl Attached {
    pub(super) fn info(&self) -> io::Result<bpf_prog_info> {
        // SAFETY: the struct holds integers only.
        let mut info: bpf_prog_info = unsafe { std::mem::zeroed() };
        let mut attr = no_attr();
        // SAFETY: information about an object is the member of the union that the command reads.
        let asked = unsafe { &mut attr.info };
        asked.bpf_fd = self.program.as_raw_fd() as u32;
        asked.info_len = size_of::<bpf_prog_info>() as u32;
        asked.info = (&raw mut info) as u64;
        bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
        Ok(info)
    }
}

/// What is in front of a function. Dropping it detaches.
pub struct AtFunction {
    pub(super) decides: Attached,
    /// Where the one that decides may not ask for paths.
    pub(super) looks: Option<Attached>,
}

/// What programs at a function have missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Missed {
    /// Calls that were not decided about.
    pub calls: u64,
    /// Files whose path was not looked at.
    pub paths: u64,
}

impl AtFunction {
    /// How many calls the kernel has not asked the programs about, of all callers: it leaves a program out while another
    /// task, which was preempted in it, holds the processor. 0 before kernel 5.12, which does not tell.
    /// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/trampoline.c> `__bpf_prog_enter_recur`
    pub(super) fn missed(&self) -> io::Result<Missed> {
        let looks = self
            .looks
            .as_ref()
            .map_or(Ok(0), |looks| Ok::<_, io::Error>(looks.info()?.recursion_misses));
        Ok(Missed { calls: self.decides.info()?.recursion_misses, paths: looks? })
    }
}
