//! Links of programs to interfaces (`tcx`, kernel 6.6), which tell whether they are still in force.
//!
//! aya makes such links and does not give their descriptors away, so this makes the calls itself.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya_obj::generated::{BPF_F_AFTER, BPF_F_BEFORE, bpf_attach_type, bpf_cmd, bpf_link_info};
use chaos_plan::Position;

use super::{
    bpf::{bpf, no_attr, own},
    clsact::Side,
};

/// A program at one side of an interface. Dropping it detaches the program, for which the kernel waits
/// for a grace period (10 ms).
pub(super) struct TcxLink(OwnedFd);

impl TcxLink {
    /// Attaches a program to an interface of the calling thread's network namespace, before or behind
    /// all that are there.
    pub(super) fn attach(
        interface: u32,
        side: Side,
        position: Position,
        program: BorrowedFd<'_>,
    ) -> io::Result<Self> {
        let attach_type = match side {
            Side::Egress => bpf_attach_type::BPF_TCX_EGRESS,
            Side::Ingress => bpf_attach_type::BPF_TCX_INGRESS,
        };
        let mut attr = no_attr();
        attr.link_create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
        attr.link_create.__bindgen_anon_2.target_ifindex = interface;
        attr.link_create.attach_type = attach_type as u32;
        // Before or after nothing in particular: all.
        attr.link_create.flags = match position {
            Position::First => BPF_F_BEFORE,
            Position::Last => BPF_F_AFTER,
        };
        bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(own).map(Self)
    }

    /// Whether it is still at its interface, which may be gone while another one has got its index.
    /// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/tcx.c> `tcx_link_fill_info`
    pub(super) fn is_attached(&self) -> io::Result<bool> {
        // SAFETY: integers only, and unions of them.
        let mut info: bpf_link_info = unsafe { std::mem::zeroed() };
        let mut attr = no_attr();
        attr.info.bpf_fd = self.0.as_fd().as_raw_fd() as u32;
        attr.info.info_len = size_of::<bpf_link_info>() as u32;
        attr.info.info = (&raw mut info) as u64;
        bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
        // SAFETY: the link is one of tcx, so this is the member that the kernel has written; every bit
        // pattern is valid.
        Ok(unsafe { info.__bindgen_anon_1.tcx.ifindex } != 0)
    }
}
