//! Issues the bpf(2) calls for programs that aya cannot load.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use aya::maps::MapData;
use aya_obj::{
    Object,
    generated::{bpf_attach_type, bpf_cmd, bpf_prog_type, bpf_stats_type},
};

use super::{CONSTANTS, Kind, Linked};
use crate::kernel::{
    KernelError,
    bpf::{bpf, no_attr, own, set_element},
    error::last_words,
    released_first::move_up,
};

/// Room for the verifier's complaint.
const LOG_BYTES: usize = 1 << 20;

/// A frozen map with the constants, which the verifier then takes for known.
pub(super) fn constants(object: &Object) -> Result<OwnedFd, KernelError> {
    let failed = |call| move |source| KernelError::Call { call, source };
    let section = object
        .maps
        .get(CONSTANTS)
        .ok_or(KernelError::Lacks { what: "section", name: CONSTANTS })?;
    let map = MapData::create(section.clone(), CONSTANTS, None)
        .map_err(|source| KernelError::Map { call: "create", map: CONSTANTS, source })?;
    let fd = map.fd().as_fd();
    set_element(fd, 0, section.data().as_ptr()).map_err(failed("bpf(BPF_MAP_UPDATE_ELEM)"))?;
    let mut attr = no_attr();
    attr.__bindgen_anon_2.map_fd = fd.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_MAP_FREEZE, &mut attr).map_err(failed("bpf(BPF_MAP_FREEZE)"))?;
    fd.try_clone_to_owned().map_err(failed("dup"))
}

/// Loads a program for the function with this BTF id. An error comes with the verifier's last
/// words.
pub(super) fn load(
    Linked { name, function: program, license, .. }: &Linked,
    kind: Kind,
    function: u32,
    btf: BorrowedFd<'_>,
) -> Result<OwnedFd, (io::Error, String)> {
    let infos = program.func_info.func_info_bytes();
    let attempt = |log: &mut [u8]| {
        let mut attr = no_attr();
        // SAFETY: the program's description is the member of the union that the command reads.
        let load = unsafe { &mut attr.__bindgen_anon_3 };
        let (program_type, attach_type) = match kind {
            Kind::ModifyReturn => {
                (bpf_prog_type::BPF_PROG_TYPE_TRACING, bpf_attach_type::BPF_MODIFY_RETURN)
            }
            Kind::Module => (bpf_prog_type::BPF_PROG_TYPE_LSM, bpf_attach_type::BPF_LSM_MAC),
        };
        load.prog_type = program_type as u32;
        load.expected_attach_type = attach_type as u32;
        load.attach_btf_id = function;
        // What bpftool lists it as, cut to what the kernel has room for with a zero behind it.
        let room = load.prog_name.len() - 1;
        for (to, from) in load.prog_name[..room].iter_mut().zip(name.bytes()) {
            *to = from as _;
        }
        load.insns = program.instructions.as_ptr() as u64;
        load.insn_cnt = program.instructions.len() as u32;
        load.license = license.as_ptr() as u64;
        load.prog_btf_fd = btf.as_raw_fd() as u32;
        load.func_info_rec_size = program.func_info_rec_size as u32;
        load.func_info = infos.as_ptr() as u64;
        load.func_info_cnt = program.func_info.func_info.len() as u32;
        if !log.is_empty() {
            load.log_level = 1;
            load.log_buf = log.as_mut_ptr() as u64;
            load.log_size = log.len() as u32;
        }
        bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr)
    };
    // With a log the verifier is slow and may fail for want of room: ask for it afterwards.
    attempt(&mut []).map(own).map_err(|error| {
        let mut log = vec![0; LOG_BYTES];
        drop(attempt(&mut log).map(own));
        (error, complaint(&log))
    })
}

/// What the verifier's log says last.
fn complaint(log: &[u8]) -> String {
    let text = log.split(|byte| *byte == 0).next().unwrap_or_default();
    last_words(&String::from_utf8_lossy(text)).unwrap_or_default().to_owned()
}

pub(super) fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = no_attr();
    // SAFETY: the BTF blob is the member of the union that the command reads.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = btf.as_ptr() as u64;
    load.btf_size = btf.len() as u32;
    bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr).map(own)
}

/// Attaches a tracing program to what it was loaded for.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/syscall.c> `bpf_raw_tp_link_attach`
pub(super) fn open_link(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = no_attr();
    attr.raw_tracepoint.prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(own).map(move_up)
}

/// Opens a map by its id.
pub(super) fn open_map(id: u32) -> io::Result<OwnedFd> {
    let mut attr = no_attr();
    attr.__bindgen_anon_6.__bindgen_anon_1.map_id = id;
    bpf(bpf_cmd::BPF_MAP_GET_FD_BY_ID, &mut attr).map(own)
}

/// Has the kernel count how often programs are run (kernel 5.8).
pub(super) fn count_runs() -> io::Result<OwnedFd> {
    let mut attr = no_attr();
    attr.enable_stats.type_ = bpf_stats_type::BPF_STATS_RUN_TIME as u32;
    bpf(bpf_cmd::BPF_ENABLE_STATS, &mut attr).map(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_with_the_first_zero() {
        let log = b"0: R1=ctx()\n__x64_sys_read() is not modifiable\nprocessed 0 insns\n\0old\0";
        assert_eq!(complaint(log), "__x64_sys_read() is not modifiable");
        assert_eq!(complaint(b"\0"), "");
    }
}
