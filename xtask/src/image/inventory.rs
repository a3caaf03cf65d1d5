//! Lists what the shipped program is made of: the crates that cargo links into it, the BPF object and its crates, and
//! what the compilers bring.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use chaos_toolchain::paths::bpf_toolchain;
use xtask::paths;

use super::licences;
use crate::{
    command::{capture, cargo},
    integration::AGENT,
    setup::build::MUSL_TARGET,
};

/// The crate of the BPF object, which the engine embeds.
const BPF_OBJECT: &str = "chaos-ebpf";
const BPF_TARGET: &str = "bpfel-unknown-none";
const ENGINE: &str = "chaos-engine";

/// The C library that comes with Rust's target; [`check_musl`] looks whether it still does.
const MUSL_VERSION: &str = "1.2.5";

/// Something that a program is linked from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    pub name: String,
    pub version: String,
    /// An SPDX expression.
    pub licence: String,
    /// Who has written it, where its licence's text does not say so.
    pub authors: Vec<String>,
    /// Whether it is a crate of a registry, so that its package URL leads somewhere.
    pub is_of_registry: bool,
    /// SHA-256 of the crate's archive.
    pub checksum: Option<String>,
    /// Where it is developed.
    pub repository: Option<String>,
    /// The texts of its licence that come with it.
    pub texts: Vec<String>,
    /// The parts that it needs, by their [references](Part::reference).
    pub needs: BTreeSet<String>,
}

impl Part {
    /// What other parts and the bill of materials call it.
    pub fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }
}

fn reference(name: &str, version: &str) -> String {
    format!("{name}@{version}")
}

/// All parts of a program, by their references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// The reference of the program itself.
    pub root: String,
    pub parts: BTreeMap<String, Part>,
}

/// What the agent is made of.
pub fn of_agent() -> Result<Inventory> {
    let metadata = MetadataCommand::new()
        .current_dir(paths::workspace())
        .other_options(["--locked".to_owned()])
        .exec()
        .context("read the workspace")?;
    let checksums = checksums()?;
    let mut parts = BTreeMap::new();
    let program = tree(AGENT, MUSL_TARGET)?;
    let object = tree(BPF_OBJECT, BPF_TARGET)?;
    for (key, needs) in program.crates.iter().chain(&object.crates) {
        let part = part(&metadata, &checksums, key)?;
        let known = parts.entry(part.reference()).or_insert(part);
        known.needs.extend(needs.iter().map(|(name, version)| reference(name, version)));
    }
    let brought = [(&program.root, standard_libraries()?), (&object.root, core_of_object()?)];
    for ((name, version), libraries) in brought {
        for library in libraries {
            let user = parts.get_mut(&reference(name, version)).context("the tree has no root")?;
            user.needs.insert(library.reference());
            parts.insert(library.reference(), library);
        }
    }
    let engine = parts.values_mut().find(|part| part.name == ENGINE);
    let engine = engine.with_context(|| format!("{AGENT} is not linked with {ENGINE}"))?;
    engine.needs.insert(reference(&object.root.0, &object.root.1));
    Ok(Inventory { root: reference(&program.root.0, &program.root.1), parts })
}

/// A crate by its name and version.
type Key = (String, String);

/// The crates that a package is linked with, each with those that it needs itself.
struct Tree {
    root: Key,
    crates: BTreeMap<Key, BTreeSet<Key>>,
}

/// Asks cargo, with the features that the package is built with: what other members of the workspace want of a crate
/// is not in it, and neither is what runs while it is compiled.
fn tree(package: &str, target: &str) -> Result<Tree> {
    let mut command = cargo();
    command.args(["tree", "--locked", "--package", package, "--target", target]);
    command.args(["--edges", "normal,no-proc-macro", "--prefix", "depth", "--format", "{p}"]);
    parse_tree(&capture(&mut command)?)
        .with_context(|| format!("what `cargo tree` says of {package}"))
}

/// Reads lines such as `2aya-obj v0.6.0 (*)`: the depth, the name, the version.
fn parse_tree(text: &str) -> Result<Tree> {
    let mut crates: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    // The crates that the line is below.
    let mut above: Vec<Key> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let name_at = line.find(|c: char| !c.is_ascii_digit()).unwrap_or(line.len());
        let (depth, package) = line.split_at(name_at);
        let depth: usize = depth.parse().with_context(|| format!("no depth in {line:?}"))?;
        let mut words = package.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            bail!("no name and version in {line:?}");
        };
        let version = version.strip_prefix('v').unwrap_or(version);
        let key = (name.to_owned(), version.to_owned());
        if depth > above.len() {
            bail!("{line:?} is below nothing");
        }
        above.truncate(depth);
        if let Some(user) = above.last() {
            crates.entry(user.clone()).or_default().insert(key.clone());
        }
        crates.entry(key.clone()).or_default();
        above.push(key);
    }
    let root = above.into_iter().next().context("it is empty")?;
    Ok(Tree { root, crates })
}

fn part(metadata: &Metadata, checksums: &BTreeMap<Key, String>, key: &Key) -> Result<Part> {
    let (name, version) = key;
    let is_it = |package: &&Package| {
        package.name.as_str() == name && package.version.to_string() == *version
    };
    let package = metadata.packages.iter().find(is_it);
    let package = package.with_context(|| format!("cargo's metadata has no {name} {version}"))?;
    let licence = package.license.as_deref();
    let licence = licence.with_context(|| format!("{name} {version} does not say its licence"))?;
    let manifest = package.manifest_path.as_std_path();
    let mut directory = manifest.parent().context("a manifest without a directory")?;
    let is_of_registry = package.source.is_some();
    if !is_of_registry {
        // Own crates share the files of the workspace.
        directory = paths::workspace();
    }
    Ok(Part {
        name: name.clone(),
        version: version.clone(),
        licence: licences::canonical(licence)
            .with_context(|| format!("the licence of {name} {version}"))?,
        authors: package.authors.clone(),
        is_of_registry,
        checksum: checksums.get(key).cloned(),
        repository: package.repository.clone(),
        texts: licences::files(directory, is_of_registry)?,
        needs: BTreeSet::new(),
    })
}

/// What `Cargo.lock` says of the archives of crates.
fn checksums() -> Result<BTreeMap<Key, String>> {
    let path = paths::workspace().join("Cargo.lock");
    let lock = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    Ok(parse_lock(&lock))
}

fn parse_lock(lock: &str) -> BTreeMap<Key, String> {
    let packages = lock.split("[[package]]").skip(1);
    let known = packages.filter_map(|package| {
        let field = |name: &str| {
            let value =
                package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            value.map(|value| value.trim_matches('"').to_owned())
        };
        Some(((field("name")?, field("version")?), field("checksum")?))
    });
    known.collect()
}

/// What rustc links each program of the target with.
fn standard_libraries() -> Result<Vec<Part>> {
    let rustc = |argument: &str| -> Result<String> {
        let mut rustc = Command::new("rustc");
        capture(rustc.current_dir(paths::workspace()).args(argument.split(' ')))
    };
    let about = rustc("--version --verbose")?;
    let field = |name: &str| {
        let value = about.lines().find_map(|line| line.strip_prefix(name));
        value.map(|value| value.trim().to_owned()).with_context(|| format!("rustc tells no {name}"))
    };
    check_musl(&PathBuf::from(rustc("--print sysroot")?.trim()))?;
    Ok(vec![
        // The Unicode tables of `core` have their own.
        brought("rust-std", &field("release:")?, "(MIT OR Apache-2.0) AND Unicode-3.0", RUST),
        brought("musl", MUSL_VERSION, "MIT", "Rich Felker, et al."),
        brought("llvm-libunwind", &field("LLVM version:")?, "Apache-2.0 WITH LLVM-exception", LLVM),
    ])
}

const RUST: &str = "The Rust Project Developers";
const LLVM: &str = "LLVM contributors";

/// What the BPF object is linked with besides crates.
fn core_of_object() -> Result<Vec<Part>> {
    Ok(vec![brought("rust-core", &bpf_toolchain()?, "MIT OR Apache-2.0", RUST)])
}

fn brought(name: &str, version: &str, licence: &str, author: &str) -> Part {
    Part {
        name: name.to_owned(),
        version: version.to_owned(),
        licence: licence.to_owned(),
        authors: vec![author.to_owned()],
        ..Part::default()
    }
}

/// musl's archive has its version as a string.
fn check_musl(sysroot: &std::path::Path) -> Result<()> {
    let path = sysroot.join("lib/rustlib").join(MUSL_TARGET).join("lib/self-contained/libc.a");
    let library = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let version = [MUSL_VERSION.as_bytes(), b"\0"].concat();
    if !library.windows(version.len()).any(|bytes| bytes == version) {
        bail!(
            "{} is not musl {MUSL_VERSION}: change MUSL_VERSION to the toolchain's",
            path.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_needed_by_what_it_is_below() {
        let text = "0agent v0.1.0 (/w/agent)\n1a v1.0.0\n2c v3.0.0+x\n1b v2.0.0\n2a v1.0.0 (*)\n\n";
        let Tree { root, crates } = parse_tree(text).unwrap();
        let key = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(root, key("agent", "0.1.0"));
        let needs = |name: &str, version: &str| crates[&key(name, version)].iter().cloned();
        assert!(needs("agent", "0.1.0").eq([key("a", "1.0.0"), key("b", "2.0.0")]));
        assert!(needs("a", "1.0.0").eq([key("c", "3.0.0+x")]));
        assert!(needs("b", "2.0.0").eq([key("a", "1.0.0")]));
        assert!(parse_tree("0a v1\n2b v1\n").is_err());
        assert!(parse_tree("").is_err());
    }

    #[test]
    fn checksums_are_those_of_the_lock() {
        let lock = "version = 4\n\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\n[[package]]\n\
                    name = \"a\"\nversion = \"1.0.0\"\nchecksum = \"abc\"\ndependencies = [\n \"own\",\n]\n";
        let known = parse_lock(lock);
        assert_eq!(
            known,
            BTreeMap::from([(("a".to_owned(), "1.0.0".to_owned()), "abc".to_owned())])
        );
    }

    /// Of the program as it is: what is known to be in it, and what only compiles it is not.
    #[test]
    fn the_agent_is_linked_from_these() {
        let Inventory { root, parts } = of_agent().unwrap();
        assert_eq!(parts[&root].name, AGENT);
        let names: BTreeSet<&str> = parts.values().map(|part| part.name.as_str()).collect();
        for name in ["ring", "kube", "tokio", ENGINE, BPF_OBJECT, "aya-ebpf", "rust-std", "musl"] {
            assert!(names.contains(name), "{name}");
        }
        for name in ["serde_derive", "syn", "cc", "aya-build", "proptest", "xtask"] {
            assert!(!names.contains(name), "{name}");
        }
        for part in parts.values() {
            assert!(part.needs.iter().all(|needed| parts.contains_key(needed)), "{part:?}");
            assert_eq!(part.checksum.is_some(), part.is_of_registry, "{part:?}");
        }
        let reached = |mut seen: BTreeSet<String>| {
            let mut open: Vec<String> = seen.iter().cloned().collect();
            while let Some(part) = open.pop() {
                open.extend(
                    parts[&part].needs.iter().filter(|one| seen.insert((*one).clone())).cloned(),
                );
            }
            seen
        };
        let all: BTreeSet<String> = parts.keys().cloned().collect();
        assert_eq!(reached(BTreeSet::from([root.clone()])), all, "nothing is there for nobody");
    }
}
