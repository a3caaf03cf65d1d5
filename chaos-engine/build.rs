//! Compiles the BPF object, and packs it into `OUT_DIR/chaos.zlib`, which the agent embeds.
//!
//! `CHAOS_EBPF_OBJECT=FILE` takes a finished object instead, for machines without the BPF
//! toolchain.

use std::{
    env,
    error::Error,
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use aya_build::{Package, Toolchain};
use flate2::{Compression, write::ZlibEncoder};
use object::{
    build::elf::{Builder, SectionData},
    elf::SHT_STRTAB,
};

const OBJECT_VARIABLE: &str = "CHAOS_EBPF_OBJECT";

fn main() {
    // A panic would show its backtrace; this shows one line.
    if let Err(error) = build() {
        println!("cargo::error={error}");
    }
}

fn build() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed={OBJECT_VARIABLE}");
    if let Some(object) = env::var_os(OBJECT_VARIABLE) {
        let object = Path::new(&object);
        println!("cargo::rerun-if-changed={}", object.display());
        return pack(object);
    }
    let root = Path::new("../chaos-ebpf").canonicalize()?;
    let toolchain = fs::read_to_string(root.join("toolchain.txt"))?;
    let toolchain = toolchain.trim();
    put_own_linker_first(toolchain)?;
    if !(runs(toolchain, "rustc") && runs(toolchain, "bpf-linker")) {
        return Err("the BPF toolchain is missing: run `./x setup bpf`".into());
    }
    // Cargo's progress would come out of aya-build as warnings.
    // SAFETY: this program has one thread.
    unsafe { env::set_var("CARGO_TERM_QUIET", "true") };
    share_compiled()?;
    let root_dir = root.to_str().ok_or("the path of the checkout is not UTF-8")?;
    let package = Package { name: "chaos-ebpf", root_dir, ..Package::default() };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain))?;
    pack(&out_directory()?.join("chaos"))
}

/// Puts the bpf-linker that `./x setup bpf` has installed before others: `chaos_toolchain::paths` has the place.
fn put_own_linker_first(toolchain: &str) -> Result<(), Box<dyn Error>> {
    let cache = env::var_os("XDG_CACHE_HOME").filter(|cache| !cache.is_empty());
    let cache = cache.map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    let Some(cache) = cache else { return Ok(()) };
    let own = cache.join("chaos-agent/bpf-linker").join(toolchain).join("bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([own].into_iter().chain(env::split_paths(&path)))?;
    // SAFETY: this program has one thread.
    unsafe { env::set_var("PATH", path) };
    Ok(())
}

/// Makes all builds of the agent compile the object in one place for each architecture: aya-build has a directory below
/// `OUT_DIR` for it, and each profile and target of the agent has an `OUT_DIR` of its own, while the object is the same.
fn share_compiled() -> Result<(), Box<dyn Error>> {
    let out = out_directory()?;
    // Cargo marks its target directory, `TARGET[/TRIPLE]/PROFILE/build/PACKAGE/out`, and those of triples in there.
    let near = out.ancestors().take(6);
    let marked = near.filter(|directory| directory.join("CACHEDIR.TAG").is_file());
    let Some(target_directory) = marked.last() else { return Ok(()) };
    let shared = match env::var("CARGO_CFG_TARGET_ARCH")?.as_str() {
        "x86_64" => target_directory.join("ebpf"),
        other => target_directory.join(format!("ebpf-{other}")),
    };
    let link = out.join("aya-build/target/chaos-ebpf");
    if fs::read_link(&link).is_ok_and(|found| found == shared) {
        return Ok(());
    }
    if fs::symlink_metadata(&link).is_ok_and(|found| found.is_dir()) {
        fs::remove_dir_all(&link)?;
    } else if link.is_symlink() {
        fs::remove_file(&link)?;
    }
    fs::create_dir_all(&shared)?;
    fs::create_dir_all(link.parent().ok_or("a path without a parent")?)?;
    Ok(symlink(&shared, &link)?)
}

fn out_directory() -> Result<PathBuf, Box<dyn Error>> {
    Ok(PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?))
}

/// Writes the object without DWARF, and compressed: of 2.9 MB, 0.2 are left.
fn pack(object: &Path) -> Result<(), Box<dyn Error>> {
    let failed = |what, error: &dyn Error| format!("{what} {}: {error}", object.display());
    let bytes = fs::read(object).map_err(|error| failed("read", &error))?;
    let bytes = without_dwarf(&bytes).map_err(|error| failed("take DWARF out of", &error))?;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes)?;
    Ok(fs::write(out_directory()?.join("chaos.zlib"), encoder.finish()?)?)
}

/// An object without DWARF, which bpf-linker makes BTF from and leaves where it is.
fn without_dwarf(bytes: &[u8]) -> object::build::Result<Vec<u8>> {
    let mut builder = Builder::read(bytes)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        section.delete = name.starts_with(b".debug_") || name.starts_with(b".rel.debug_");
    }
    builder.delete_orphans();
    // LLVM writes the names of sections to the table with those of symbols; the builder needs a table for each.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = SHT_STRTAB;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}

/// Whether a program of the toolchain starts; bpf-linker needs the toolchain's LLVM for that.
fn runs(toolchain: &str, program: &str) -> bool {
    Command::new("rustup")
        .args(["run", toolchain, program, "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
