//! `image`: the agent's container image, a static program from scratch, without Docker.

pub mod archive;
mod bill;
mod inventory;
mod licences;
pub mod linked;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail};
use archive::{Document, Image, Packing, Program};
use xtask::{node::NodeKit, paths};

use crate::{
    command::{capture, cargo, run as run_command, target_directory},
    integration::AGENT,
    setup::{self, Part, build::MUSL_TARGET},
};

#[derive(clap::Args)]
pub struct Args {
    /// The name and the tag of the image
    #[arg(long, default_value = NodeKit::AGENT_IMAGE)]
    reference: String,
    /// The file to write, an OCI archive; by default target/image/chaos-agent.tar
    #[arg(long)]
    output: Option<PathBuf>,
    /// Where the sources are, for the label `org.opencontainers.image.source`
    #[arg(long, value_name = "URL")]
    source: Option<String>,
}

/// At most so many bytes may be shipped: the image, packed, is pulled onto every node, and the program is in memory there.
const MOST_OF_PROGRAM: usize = 16_600_000;
const MOST_OF_IMAGE: usize = 7_700_000;

/// The profile of what users get.
const SHIPPED: &str = "shipped";

/// Where the image has what is said about it.
const BILL: &str = "usr/share/doc/chaos-agent/bom.cdx.json";
const LICENCES: &str = "usr/share/doc/chaos-agent/licenses.txt";

pub fn run(args: &Args) -> Result<ExitCode> {
    setup::ensure(&[Part::Build, Part::Image])?;
    let program = build_shipped()?;
    let contents = stripped(&program)?;
    let inventory = inventory::of_agent().context("list what the program is made of")?;
    let (bill, licences) = (bill::write(&inventory)?, licences::page(&inventory)?);
    let mut image = agent(&args.reference, &contents);
    image.packing = Packing::Gzip;
    image.documents = vec![
        Document { path: BILL, contents: &bill },
        Document { path: LICENCES, contents: licences.as_bytes() },
    ];
    image.labels = labels(args.source.as_deref());
    let unpacked = image.size();
    let (bytes, digests) = archive::write(&[image])?;
    let output = match &args.output {
        Some(output) => output.clone(),
        None => target_directory()?.join("image/chaos-agent.tar"),
    };
    if let Some(dir) = output.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    }
    fs::write(&output, &bytes).with_context(|| format!("write {}", output.display()))?;
    println!("{} {} in {}", args.reference, digests[0], output.display());
    println!(
        "the program has {} bytes, the image {}, and {unpacked} where it is unpacked",
        contents.len(),
        bytes.len()
    );
    check_size("the program", contents.len(), MOST_OF_PROGRAM)?;
    check_size("the image", bytes.len(), MOST_OF_IMAGE)?;
    Ok(ExitCode::SUCCESS)
}

/// A program without its symbols.
pub fn stripped(program: &Path) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new().context("make a temporary file")?;
    run_command(Command::new("strip").arg("-o").arg(file.path()).arg(program))?;
    fs::read(file.path()).with_context(|| format!("read the stripped {}", program.display()))
}

fn check_size(what: &str, bytes: usize, most: usize) -> Result<()> {
    if bytes > most {
        bail!(
            "{what} has {bytes} bytes, and {most} are allowed: docs/decisions/0060-what-is-shipped.md says how to find \
             out what weighs"
        );
    }
    Ok(())
}

/// What the image says of itself; of which commit it is only where the sources are a checkout of git.
fn labels(source: Option<&str>) -> BTreeMap<String, String> {
    let mut git = Command::new("git");
    let commit = capture(git.current_dir(paths::workspace()).args(["rev-parse", "HEAD"])).ok();
    let licences = "(MIT OR Apache-2.0) AND GPL-2.0-only";
    let said = [
        ("title", Some(AGENT)),
        ("version", Some(env!("CARGO_PKG_VERSION"))),
        ("licenses", Some(licences)),
        ("revision", commit.as_deref().map(str::trim)),
        ("source", source),
    ];
    let said = said.into_iter().filter_map(|(name, value)| Some((name, value?)));
    said.map(|(name, value)| (format!("org.opencontainers.image.{name}"), value.to_owned()))
        .collect()
}

/// The agent's image, with the agent's program and nothing about it, not packed.
pub fn agent<'a>(reference: &'a str, program: &'a [u8]) -> Image<'a> {
    let programs = vec![Program { path: "chaos-agent", contents: program }];
    Image {
        reference,
        entrypoint: &["/chaos-agent"],
        programs,
        documents: Vec::new(),
        packing: Packing::Plain,
        labels: BTreeMap::new(),
    }
}

/// Builds programs that need nothing of the machine they run on, as tests are built; the directory with them. Built
/// together, they share what they depend on.
pub fn build_static(packages: &[&str], programs: &[&str]) -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["build", "--target", MUSL_TARGET]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    run_command(cargo.args(programs.iter().flat_map(|program| ["--bin", program])))?;
    Ok(target_directory()?.join(MUSL_TARGET).join("debug"))
}

/// Builds the agent as users get it, which is slow to compile.
fn build_shipped() -> Result<PathBuf> {
    let mut cargo = cargo();
    cargo.args(["rustc", "--target", MUSL_TARGET, "--profile", SHIPPED]);
    cargo.args(["--package", AGENT, "--bin", AGENT, "--"]);
    for argument in linking()? {
        cargo.args(["-C", &format!("link-arg={argument}")]);
    }
    run_command(&mut cargo)?;
    Ok(target_directory()?.join(MUSL_TARGET).join(SHIPPED).join(AGENT))
}

/// What makes the program smaller when it is linked: the toolchain's own linker, lld, keeps one of functions with equal
/// instructions, and packs what is relocated at the start of a program that may lie anywhere in memory ([RELR], which
/// musl reads since 1.2.4).
///
/// [RELR]: https://maskray.me/blog/2021-10-31-relative-relocations-and-relr
fn linking() -> Result<[String; 4]> {
    let libraries = capture(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let libraries = Path::new(libraries.trim());
    let linkers = libraries.with_file_name("bin").join("gcc-ld");
    if !linkers.join("ld.lld").is_file() {
        bail!(
            "the Rust toolchain has no {}/ld.lld: install that of rust-toolchain.toml by rustup",
            linkers.display()
        );
    }
    Ok([
        "-fuse-ld=lld".to_owned(),
        format!("-B{}", linkers.display()),
        "-Wl,--icf=all".to_owned(),
        "-Wl,-z,pack-relative-relocs".to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_grown_is_refused_with_both_numbers() {
        check_size("the image", 5, 5).unwrap();
        let error = check_size("the image", 6, 5).unwrap_err().to_string();
        assert!(error.starts_with("the image has 6 bytes, and 5 are allowed"), "{error}");
        let (_, page) = error.split_once(": ").unwrap();
        let page = page.split_once(' ').unwrap().0;
        assert!(paths::workspace().join(page).is_file(), "{page}");
    }

    #[test]
    fn labels_say_version_licences_and_where_the_sources_are() {
        let labels = labels(Some("https://host.example/a"));
        let said = |name: &str| labels.get(&format!("org.opencontainers.image.{name}")).cloned();
        assert_eq!(said("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        assert_eq!(said("source").as_deref(), Some("https://host.example/a"));
        let licences = said("licenses").unwrap();
        assert_eq!(licences::canonical(&licences).unwrap(), licences);
        assert_eq!(super::labels(None).get("org.opencontainers.image.source"), None);
    }

    #[test]
    fn the_manifests_name_this_image() {
        for name in ["base/daemonset.yaml", "controller/deployment.yaml"] {
            let path = paths::workspace().join("manifests").join(name);
            let manifest = fs::read_to_string(path).unwrap();
            let image = manifest.lines().find_map(|line| line.trim().strip_prefix("image: "));
            assert_eq!(image, Some(NodeKit::AGENT_IMAGE), "{name}");
        }
    }
}
