//! A program in front of a function of the kernel that does nothing: what none can be cheaper than.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use anyhow::{Context, Result};
use aya_obj::{
    btf::{Btf, BtfKind},
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_type},
};
use nix::libc;

/// `r0 = 0; exit` (<https://docs.kernel.org/bpf/standardization/instruction-set.html>).
const PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// An empty `fmod_ret` program; dropping it detaches it.
pub struct Empty {
    _link: OwnedFd,
}

impl Empty {
    pub fn attach(function: &str) -> Result<Self> {
        let btf = Btf::from_sys_fs().context("read the kernel's type information")?;
        let id = btf.id_by_type_name_kind(function, BtfKind::Func).context(function.to_owned())?;
        let mut attr = no_attr();
        // SAFETY: the program's description is the member of the union that the command reads.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        load.prog_type = bpf_prog_type::BPF_PROG_TYPE_TRACING as u32;
        load.expected_attach_type = bpf_attach_type::BPF_MODIFY_RETURN as u32;
        load.attach_btf_id = id;
        load.insns = PROGRAM.as_ptr() as u64;
        load.insn_cnt = PROGRAM.len() as u32;
        load.license = c"GPL".as_ptr() as u64;
        let program = bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr).context("load an empty program")?;
        let mut attr = no_attr();
        attr.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
        let link = bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr);
        Ok(Self { _link: link.with_context(|| format!("attach to {function}"))? })
    }
}

fn no_attr() -> bpf_attr {
    // SAFETY: the union holds integers only, and the kernel asks for zeroes where nothing is said.
    unsafe { std::mem::zeroed() }
}

/// A command of bpf(2) that makes a file descriptor.
fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<OwnedFd> {
    // SAFETY: the callers fill the member that the command reads, with buffers that live.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, command as u32, &raw mut *attr, size_of::<bpf_attr>())
    };
    match i32::try_from(fd) {
        // SAFETY: the kernel has just made the descriptor for us alone.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}
