//! What the kernel holds of ours, whichever process loaded it: BPF programs and maps by their names, and the
//! links of those programs.

use std::{
    collections::BTreeSet,
    io, thread,
    time::{Duration, Instant},
};

use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};
use aya_obj::generated::bpf_cmd;
use chaos_ebpf_common::object::{FRAME_JUMP, FRAME_JUMPS, MAPS, PROGRAMS};

use super::{
    KernelError,
    bpf::{bpf, no_attr},
};

/// The kernel cuts names to so many bytes (`BPF_OBJ_NAME_LEN` with its zero).
const MOST_NAMED: usize = 15;

/// Between two looks whether maps are gone.
const PAUSE: Duration = Duration::from_millis(2);

/// The ids of all maps of the machine, of which none is opened. Needs CAP_SYS_ADMIN, or CAP_BPF (5.8).
///
/// # Errors
/// The call that failed.
pub fn map_ids() -> Result<BTreeSet<u32>, KernelError> {
    let mut ids = BTreeSet::new();
    while let Some(id) = next_map(ids.last().copied().unwrap_or(0))? {
        ids.insert(id);
    }
    Ok(ids)
}

/// Waits until there are no maps but those with these ids, for so long at most; whether that has come true.
///
/// Ask this before [`loaded`] when a process has ended that has, or had, programs at interfaces: a table of programs which
/// is opened, and closed again, while the kernel is about to empty it stays for ever, as the kernel then counts one
/// reference too many.
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/arraymap.c> `prog_array_map_clear`
///
/// # Errors
/// The call that failed.
pub fn wait_for_maps(but: &BTreeSet<u32>, at_most: Duration) -> Result<bool, KernelError> {
    let give_up = Instant::now() + at_most;
    while !map_ids()?.is_subset(but) {
        if Instant::now() >= give_up {
            return Ok(false);
        }
        thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Waits until the map with this id is freed, for so long at most.
pub(super) fn wait_for_map(id: u32, at_most: Duration) {
    let give_up = Instant::now() + at_most;
    let is_there = || next_map(id - 1).is_ok_and(|next| next == Some(id));
    while is_there() && Instant::now() < give_up {
        thread::sleep(PAUSE);
    }
}

/// The id of the map behind this one.
fn next_map(id: u32) -> Result<Option<u32>, KernelError> {
    let mut attr = no_attr();
    attr.__bindgen_anon_6.__bindgen_anon_1.start_id = id;
    match bpf(bpf_cmd::BPF_MAP_GET_NEXT_ID, &mut attr) {
        // SAFETY: the kernel has written this member, a number.
        Ok(_) => Ok(Some(unsafe { attr.__bindgen_anon_6.next_id })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KernelError::Call { call: "bpf(BPF_MAP_GET_NEXT_ID)", source }),
    }
}

/// Each as people call it: `program 17 skb_egress`. Needs CAP_SYS_ADMIN (before 5.8), or CAP_BPF.
///
/// # Errors
/// The call that failed.
pub fn loaded() -> Result<BTreeSet<String>, KernelError> {
    let mut found = BTreeSet::new();
    let mut programs = BTreeSet::new();
    for program in loaded_programs() {
        let Some(program) = still_there(program, "list BPF programs")? else { continue };
        if is_among(program.name(), PROGRAMS.iter().map(|(name, _)| *name).chain([FRAME_JUMP])) {
            let name = String::from_utf8_lossy(program.name());
            found.insert(format!("program {} {name}", program.id()));
            programs.insert(program.id());
        }
    }
    for map in loaded_maps() {
        let Some(map) = still_there(map, "list BPF maps")? else { continue };
        if is_among(map.name(), MAPS.into_iter().chain([FRAME_JUMPS])) {
            found.insert(format!("map {} {}", map.id(), String::from_utf8_lossy(map.name())));
        }
    }
    for link in loaded_links() {
        let Some(link) = still_there(link, "list BPF links")? else { continue };
        if programs.contains(&link.program_id()) {
            found.insert(format!("link {} of program {}", link.id(), link.program_id()));
        }
    }
    Ok(found)
}

fn is_among<'a>(name: &[u8], mut ours: impl Iterator<Item = &'a str>) -> bool {
    ours.any(|ours| name == ours.as_bytes().get(..MOST_NAMED).unwrap_or(ours.as_bytes()))
}

/// What is freed between finding its number and opening it is not there (`ENOENT`), nor is a link that is
/// being made (`EAGAIN`).
/// <https://github.com/torvalds/linux/blob/v6.12/kernel/bpf/syscall.c> `bpf_link_by_id`
fn still_there<T, E: std::error::Error + 'static>(
    object: Result<T, E>,
    call: &'static str,
) -> Result<Option<T>, KernelError> {
    let error = match object {
        Ok(object) => return Ok(Some(object)),
        Err(error) => error,
    };
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    let mut answer = None;
    while let Some(error) = cause {
        answer = error.downcast_ref::<io::Error>().or(answer);
        cause = error.source();
    }
    match answer.map(io::Error::kind) {
        Some(io::ErrorKind::NotFound | io::ErrorKind::WouldBlock) => Ok(None),
        _ => Err(KernelError::Call { call, source: io::Error::other(error.to_string()) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut() {
        assert!(is_among(b"call_guard_acce", ["call_guard_access"].into_iter()));
        assert!(is_among(b"skb_egress", ["skb_egress"].into_iter()));
        assert!(!is_among(b"sd_fw_egress", ["skb_egress"].into_iter()));
    }
}
