//! Writes the bill of materials, as [CycloneDX] has it.
//!
//! It has no date and no serial number: the same parts make the same bytes.
//!
//! [CycloneDX]: https://cyclonedx.org/docs/1.6/json/

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::inventory::{Inventory, Part};

/// The document.
pub fn write(Inventory { root, parts }: &Inventory) -> Result<Vec<u8>> {
    let program = parts.get(root).with_context(|| format!("{root} is not among its own parts"))?;
    let others = parts.values().filter(|part| part.reference() != *root);
    let dependencies =
        parts.iter().map(|(reference, part)| json!({ "ref": reference, "dependsOn": part.needs }));
    let bill = json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": { "component": component("application", program) },
        "components": others.map(|part| component("library", part)).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    });
    // serde_json's maps are sorted.
    let mut bytes = serde_json::to_vec_pretty(&bill).context("write the bill of materials")?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn component(kind: &str, part: &Part) -> Value {
    let mut component = json!({
        "type": kind,
        "bom-ref": part.reference(),
        "name": part.name,
        "version": part.version,
        "licenses": [{ "expression": part.licence }],
    });
    if part.is_of_registry {
        // `+` of a version's build metadata stands for itself in a package URL only if it is escaped.
        let version = part.version.replace('+', "%2B");
        component["purl"] = json!(format!("pkg:cargo/{}@{version}", part.name));
    }
    if let Some(checksum) = &part.checksum {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &part.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::image::{inventory, licences};

    fn strings<'v>(values: &'v Value, field: &str) -> Vec<&'v str> {
        values.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap()).collect()
    }

    /// The one that is shipped, and the texts beside it.
    #[test]
    fn every_reference_leads_to_a_component_and_every_component_has_its_texts() {
        let inventory = inventory::of_agent().unwrap();
        let bytes = write(&inventory).unwrap();
        assert_eq!(bytes, write(&inventory::of_agent().unwrap()).unwrap(), "the same bytes again");
        let bill: Value = serde_json::from_slice(&bytes).unwrap();
        let root = bill["metadata"]["component"]["bom-ref"].as_str().unwrap();
        let listed = strings(&bill["components"], "bom-ref");
        let known: BTreeSet<&str> = listed.iter().copied().chain([root]).collect();
        assert_eq!(known.len(), listed.len() + 1, "no reference is there twice");
        let dependencies = bill["dependencies"].as_array().unwrap();
        assert!(strings(&bill["dependencies"], "ref").into_iter().eq(known.iter().copied()));
        for dependency in dependencies {
            for needed in dependency["dependsOn"].as_array().unwrap() {
                assert!(known.contains(needed.as_str().unwrap()), "{needed}");
            }
        }
        let page = licences::page(&inventory).unwrap();
        let (list, texts) = page.split_once("\n======== 1 ========\n").unwrap();
        let texts = texts.matches("\n======== ").count() + 1;
        for (reference, part) in &inventory.parts {
            let line = list.lines().find_map(|line| line.strip_prefix(&format!("{reference}: ")));
            let numbers = line.and_then(|line| line.rsplit_once(" [")).unwrap().1;
            for number in numbers.trim_end_matches(']').split(", ") {
                let number: usize =
                    number.parse().unwrap_or_else(|_| panic!("{reference}: no text"));
                assert!((1..=texts).contains(&number), "{reference}");
            }
            assert!(spdx::Expression::parse(&part.licence).is_ok(), "{}", part.licence);
        }
        let home = std::env::home_dir().unwrap();
        let home = home.to_str().unwrap();
        for text in [&page, std::str::from_utf8(&bytes).unwrap()] {
            assert!(!text.contains(&format!("{home}/.cargo")), "a path of this machine is in it");
        }
    }
}
