//! Rebuilds the object when the linker changes, and says for which machines there are programs.

fn main() {
    // Set by whoever builds the object: the architecture of the machine that runs it.
    println!("cargo:rustc-check-cfg=cfg(bpf_target_arch, values(\"x86_64\", \"aarch64\"))");
    // On a machine without the BPF toolchain the host side of this crate still builds.
    if let Ok(linker) = which::which("bpf-linker") {
        println!("cargo:rerun-if-changed={}", linker.display());
    }
}
