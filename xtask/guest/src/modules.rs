//! Loading the kernel's modules from the initramfs.

use std::{fs, fs::File};

use anyhow::{Context as _, Result};
use chaos_guest::{MODULES_DIR, MODULES_ORDER};
use nix::{
    errno::Errno,
    kmod::{ModuleInitFlags, finit_module},
};

/// Loads every module in the order that the host has worked out.
pub fn load() -> Result<()> {
    let order = format!("/{MODULES_DIR}/{MODULES_ORDER}");
    let order = fs::read_to_string(&order).with_context(|| format!("read {order}"))?;
    for name in order.lines() {
        let path = format!("/{MODULES_DIR}/{name}");
        let file = File::open(&path).with_context(|| format!("open {path}"))?;
        match finit_module(&file, c"", ModuleInitFlags::empty()) {
            // Another module's loading asked for it.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).with_context(|| format!("load module {name}")),
        }
    }
    Ok(())
}
