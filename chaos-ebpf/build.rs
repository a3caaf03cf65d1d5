//! Rebuilds the object when the linker changes, and asks it for the instruction set.

fn main() {
    // On a machine without the BPF toolchain the host side of this crate still builds.
    if let Ok(linker) = which::which("bpf-linker") {
        println!("cargo:rerun-if-changed={}", linker.display());
    }
}
