//! The kernel's BPF programs, maps and links.

use std::io;

use anyhow::{Context, Error, Result};
use aya::{
    maps::loaded_maps,
    programs::{loaded_links, loaded_programs},
};

use super::Inventory;

pub(super) fn inventory() -> Result<Inventory> {
    let mut found = Inventory::new();
    for program in loaded_programs() {
        if let Some(program) = still_there(program).context("list bpf programs")? {
            let name = String::from_utf8_lossy(program.name()).into_owned();
            let kind = program.program_type();
            found.insert(format!("bpf program {} {name} ({kind:?})", program.id()));
        }
    }
    for map in loaded_maps() {
        if let Some(map) = still_there(map).context("list bpf maps")? {
            let name = String::from_utf8_lossy(map.name()).into_owned();
            found.insert(format!("bpf map {} {name}", map.id()));
        }
    }
    for link in loaded_links() {
        if let Some(link) = still_there(link).context("list bpf links")? {
            let kind =
                link.link_type().map_or("unknown kind".to_owned(), |kind| format!("{kind:?}"));
            let program = link.program_id();
            found.insert(format!("bpf link {} ({kind}, program {program})", link.id()));
        }
    }
    Ok(found)
}

/// An object can be freed between finding its number and opening it, and a link can be in the making; then it is
/// not there.
fn still_there<T, E: Into<Error>>(object: Result<T, E>) -> Result<Option<T>> {
    let error = match object {
        Ok(object) => return Ok(Some(object)),
        Err(error) => error.into(),
    };
    let gone = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::WouldBlock));
    if gone { Ok(None) } else { Err(error) }
}
