//! What the agent finds each kernel can do, kept in files: plans for kernels that one does not have
//! are tested on them, and docs/kernels.md is made from them.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use xtask::paths;

use super::{
    kernels::Kernel,
    lab::{Lab, host_job},
};

/// Writes the kernel's file.
pub fn record(lab: &Lab, kernel: &Kernel) -> Result<()> {
    let mut text = serde_json::to_string_pretty(&find(lab, kernel)?).context("print")?;
    text.push('\n');
    let path = path(kernel);
    fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    eprintln!("  recorded {}", path.display());
    Ok(())
}

/// Fails when the kernel can do something else than its file says.
pub fn compare(lab: &Lab, kernel: &Kernel) -> Result<()> {
    let path = path(kernel);
    let recorded = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let recorded: Value =
        serde_json::from_slice(&recorded).with_context(|| format!("parse {}", path.display()))?;
    let differences = differences(&recorded, &find(lab, kernel)?);
    if !differences.is_empty() {
        bail!(
            "{} is out of date: {}; run `cargo xtask vm --kernel {} record`",
            path.display(),
            differences.join(", "),
            kernel.name
        );
    }
    Ok(())
}

/// Where the tests of the agent have it.
fn path(kernel: &Kernel) -> PathBuf {
    paths::workspace().join("chaos-plan/tests/features").join(format!("{}.json", kernel.name))
}

/// Asks the agent on that kernel.
fn find(lab: &Lab, kernel: &Kernel) -> Result<Value> {
    let command = ["chaos-agent", "doctor", "--output", "json"].map(str::to_owned);
    let mut printed = Vec::new();
    let job = host_job(command.into())?;
    lab.boot(kernel, &job, |piece| printed.extend(piece))?;
    serde_json::from_slice(&printed).with_context(|| {
        format!("the agent's answer is not JSON:\n{}", String::from_utf8_lossy(&printed))
    })
}

/// What works on one side only, by its path in the document. Releases and reasons may differ.
fn differences(recorded: &Value, found: &Value) -> Vec<String> {
    let (recorded, found) = (working(recorded), working(found));
    let differ = recorded.iter().filter(|name| !found.contains(name));
    let mut differ: Vec<String> = differ.map(|name| format!("{name} does not work")).collect();
    differ.extend(
        found.iter().filter(|name| !recorded.contains(name)).map(|name| format!("{name} works")),
    );
    differ
}

/// Everything that is said to work.
fn working(features: &Value) -> Vec<String> {
    let maps = features.as_object().into_iter().flatten();
    maps.flat_map(|(map, entries)| {
        let entries = entries.as_object().into_iter().flatten();
        let works = entries.filter(|(_, support)| *support == "works");
        works.map(move |(name, _)| format!("{map} {name}"))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_works_counts_and_reasons_do_not() {
        let recorded = json!({
            "release": "6.1.1",
            "hooks": {"a": "works", "b": {"missing": {"reason": "EINVAL"}}},
            "backends": {"c": "works"},
        });
        let mut found = json!({
            "release": "6.1.2",
            "hooks": {"a": "works", "b": {"missing": {"reason": "EPERM"}}},
            "backends": {"c": "works"},
        });
        assert_eq!(differences(&recorded, &found), Vec::<String>::new());
        found["hooks"]["b"] = json!("works");
        found["backends"]["c"] = json!({"missing": {"reason": "EINVAL"}});
        assert_eq!(differences(&recorded, &found), ["backends c does not work", "hooks b works"]);
    }
}
