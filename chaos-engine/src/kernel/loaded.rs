//! What the kernel holds of ours, whichever process loaded it: BPF programs and maps by their names, and the
//! links of those programs.

use std::{collections::BTreeSet, io};

use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};
use chaos_ebpf_common::object::{MAPS, PROGRAMS};

use super::KernelError;

/// The kernel cuts names to so many bytes (`BPF_OBJ_NAME_LEN` with its zero).
const MOST_NAMED: usize = 15;

/// Each as people call it: `program 17 skb_egress`. Needs CAP_SYS_ADMIN (before 5.8), or CAP_BPF.
///
/// # Errors
/// The call that failed.
pub fn loaded() -> Result<BTreeSet<String>, KernelError> {
    let mut found = BTreeSet::new();
    let mut programs = BTreeSet::new();
    for program in loaded_programs() {
        let Some(program) = still_there(program, "list BPF programs")? else { continue };
        if is_among(program.name(), PROGRAMS.iter().map(|(name, _)| *name)) {
            let name = String::from_utf8_lossy(program.name());
            found.insert(format!("program {} {name}", program.id()));
            programs.insert(program.id());
        }
    }
    for map in loaded_maps() {
        let Some(map) = still_there(map, "list BPF maps")? else { continue };
        if is_among(map.name(), MAPS.into_iter()) {
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
