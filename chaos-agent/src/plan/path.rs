//! `under PATH` as prefixes of what the kernel calls a file.

use std::collections::BTreeMap;

use chaos_ebpf_common::tables::PATH_BYTES;

use super::{
    PlannedRule,
    octets::{Entry, entry},
    refusal::Objection,
};

/// Whether the kernel's table can tell files by the path.
pub(super) fn check(path: &str) -> Result<(), Objection> {
    if path.contains(['*', '?']) {
        return Err(Objection::new(format!(
            "`under {path}`: programs in the kernel go by plain paths, not by patterns"
        ))
        .remedy("name the directory, or the file"));
    }
    // One more for what comes behind it.
    let most = PATH_BYTES - 1;
    if path.len() > most {
        return Err(Objection::new(format!("`under {path}` is longer than {most} bytes"))
            .remedy("name a directory above it"));
    }
    Ok(())
}

/// The table of a rule set: bits of the key, the key, and the rules whose path it is at or below.
pub(super) fn table(rules: &[PlannedRule], set: u32) -> Vec<Entry> {
    let mut own: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    // A warden reads paths from the rules themselves.
    let in_kernel = rules.iter().enumerate().filter(|(_, rule)| !rule.is_by_seccomp());
    for (position, rule) in in_kernel {
        for prefix in rule.fault.under.iter().flat_map(|path| prefixes(path)) {
            *own.entry(prefix).or_default() |= 1 << position;
        }
    }
    own.keys()
        .map(|prefix| {
            // The trie returns the longest prefix alone, so it has the rules of the shorter ones.
            let rules = own
                .iter()
                .filter(|(shorter, _)| prefix.starts_with(shorter))
                .fold(0, |all, (_, rules)| all | rules);
            entry(set, prefix, rules)
        })
        .collect()
}

/// The path itself, with the 0 behind it, and everything below.
fn prefixes(path: &str) -> Vec<Vec<u8>> {
    let itself = path.trim_end_matches('/').as_bytes();
    let below = [itself, b"/"].concat();
    if itself.is_empty() { vec![below] } else { vec![[itself, b"\0"].concat(), below] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fault::Fault,
        plan::{KernelFeatures, Terms, octets::met, plan},
    };

    #[test]
    fn a_path_is_met_at_and_below_it() {
        let faults: Vec<Fault> = [
            "fail read with EIO under /data",
            "fail read with EIO under /data/a",
            "fail read with EIO under /",
            "fail read with EIO",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let plan = plan(&faults, &KernelFeatures::everything("6.12.0"), &Terms::default());
        assert_eq!(plan.refused, []);
        let table = table(&plan.rules, 1);
        for (path, rules) in [
            ("/data", 0b101),
            ("/data/", 0b101),
            ("/data/b", 0b101),
            ("/data/a", 0b111),
            ("/data/a/b", 0b111),
            ("/data/ab", 0b101),
            ("/database", 0b100),
            ("/", 0b100),
            ("pipe:[5]", 0),
        ] {
            assert_eq!(met(&table, path.as_bytes()), rules, "{path}");
        }
        assert!(table.iter().all(|(_, key, _)| key.set == 1));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(check("/var/lib/postgresql").is_ok());
        assert!(check(&format!("/{}", "x".repeat(PATH_BYTES - 2))).is_ok());
        assert!(check(&format!("/{}", "x".repeat(PATH_BYTES - 1))).is_err());
        assert!(check("/data/*.wal").is_err());
    }
}
