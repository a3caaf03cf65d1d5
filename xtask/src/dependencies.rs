//! `dependencies`: checks licences, sources and bans of everything that is compiled, by what cargo knows of it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{Metadata, MetadataCommand, Package};
use spdx::{Expression, LicenseReq};
use xtask::paths;

/// What may be linked into a program that is MIT OR Apache-2.0, with a notice at most.
const ALLOWED: [&str; 13] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// The one package that is also under another licence: the kernel asks that of programs that call GPL-only helpers.
const BPF_OBJECT: &str = "chaos-ebpf";

/// What must not come in, and why.
const BANNED: [(&str, &str); 4] = [
    ("openssl-sys", "the agent is static, and has rustls"),
    ("native-tls", "the agent is static, and has rustls"),
    ("libbpf-sys", "programs are loaded by aya, without C"),
    ("git2", "nothing here speaks git"),
];

pub fn run() -> Result<()> {
    let metadata = MetadataCommand::new()
        .current_dir(paths::workspace())
        .other_options(["--locked".to_owned()])
        .exec()
        .context("read the dependencies")?;
    let wrong = mistakes(&metadata);
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    eprintln!("{} packages: licences, sources and bans are in order", metadata.packages.len());
    Ok(())
}

fn mistakes(metadata: &Metadata) -> Vec<String> {
    let own: BTreeSet<_> = metadata.workspace_members.iter().collect();
    let others = metadata.packages.iter().filter(|package| package.name.as_str() != BPF_OBJECT);
    others.flat_map(|package| mistakes_of(package, own.contains(&package.id))).collect()
}

fn mistakes_of(package: &Package, is_own: bool) -> Vec<String> {
    let name = format!("{} {}", package.name, package.version);
    let mut wrong = Vec::new();
    match package.license.as_deref().map(is_allowed) {
        Some(Ok(true)) => {}
        Some(Ok(false)) => {
            let licence = package.license.as_deref().unwrap_or_default();
            wrong.push(format!(
                "{name}: licence {licence} is not allowed; use another crate, or add it to ALLOWED if it asks \
                 for no more than a notice"
            ));
        }
        Some(Err(error)) => wrong.push(format!("{name}: its licence cannot be read: {error}")),
        None => wrong.push(format!("{name} does not say its licence")),
    }
    let source = package.source.as_ref().map(|source| source.repr.as_str());
    let is_of_registry = source.is_some_and(|source| source.starts_with("registry+"));
    if !is_own && !is_of_registry {
        let from = source.unwrap_or("a path outside of the workspace");
        wrong.push(format!("{name} comes from {from}; take it from the registry"));
    }
    if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == package.name.as_str()) {
        wrong.push(format!("{name} is banned: {why}"));
    }
    wrong
}

/// Whether one of the ways to use it is allowed.
fn is_allowed(licence: &str) -> Result<bool> {
    let expression = Expression::parse_mode(licence, spdx::ParseMode::LAX)?;
    Ok(expression.evaluate(|asked: &LicenseReq| ALLOWED.contains(&asked.to_string().as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_way_to_use_it_is_enough_and_all_parts_must_be_allowed() {
        for allowed in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR Apache-2.0 OR LGPL-2.1-or-later",
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(is_allowed(allowed).unwrap(), "{allowed}");
        }
        for refused in ["GPL-3.0-only", "MIT AND GPL-2.0-only", "LGPL-2.1-or-later", "MPL-2.0"] {
            assert!(!is_allowed(refused).unwrap(), "{refused}");
        }
        assert!(is_allowed("whatever you like").is_err());
    }

    #[test]
    fn a_package_from_elsewhere_is_named_with_its_source() {
        let package = |source: &str, licence: &str| -> Package {
            let text = format!(
                r#"{{"name": "git2", "version": "1.0.0", "id": "a", "source": {source}, "license": {licence},
                    "dependencies": [], "targets": [], "features": {{}}, "manifest_path": "/a/Cargo.toml"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let wrong = mistakes_of(&package(r#""git+https://host.example/a""#, "null"), false);
        assert_eq!(
            wrong,
            [
                "git2 1.0.0 does not say its licence",
                "git2 1.0.0 comes from git+https://host.example/a; take it from the registry",
                "git2 1.0.0 is banned: nothing here speaks git",
            ]
        );
        assert_eq!(mistakes_of(&package("null", r#""MIT""#), true).len(), 1, "banned all the same");
    }
}
