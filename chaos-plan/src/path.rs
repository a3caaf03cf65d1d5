//! `under PATH` as prefixes of what the kernel calls a file.

use std::collections::BTreeMap;

use chaos_ebpf_common::tables::PATH_BYTES;

use super::{
    PlannedRule,
    keys::{Entry, entry},
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
    let most = PATH_BYTES - 1;
    if !fits(path.as_bytes()) {
        return Err(Objection::new(format!("`under {path}` is longer than {most} bytes"))
            .remedy("name a directory above it"));
    }
    Ok(())
}

/// Whether there is room for the path in a key.
pub(super) fn fits(path: &[u8]) -> bool {
    // One more for what comes behind it.
    path.len() < PATH_BYTES
}

/// The part of a path before its first pattern, and the rest: what symbolic links can be looked for
/// in.
pub fn plain_part(path: &str) -> (&str, &str) {
    match path.find(['*', '?']) {
        None => (path, ""),
        Some(pattern) => path.split_at(path[..pattern].rfind('/').unwrap_or(0)),
    }
}

/// The table of a rule set: bits of the key, the key, and the rules whose path it is at or below.
pub(super) fn table(rules: &[PlannedRule], set: u32) -> Vec<Entry> {
    let mut own: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    // A supervisor reads paths from the rules themselves.
    let in_kernel = rules.iter().enumerate().filter(|(_, rule)| !rule.is_by_seccomp());
    for (position, rule) in in_kernel {
        let written = rule.fault.under.iter().map(|path| path.as_bytes());
        let places = written.chain(rule.leads_to.iter().map(Vec::as_slice));
        for prefix in places.flat_map(prefixes) {
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
fn prefixes(path: &[u8]) -> Vec<Vec<u8>> {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let itself = &path[..end];
    let below = [itself, b"/"].concat();
    if itself.is_empty() { vec![below] } else { vec![[itself, b"\0"].concat(), below] }
}

#[cfg(test)]
mod tests {
    use chaos_ebpf_common::tables::MAX_LEADS;
    use chaos_fault::Fault;

    use super::*;
    use crate::{KernelFeatures, Terms, keys::met, plan};

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
    fn a_path_is_met_where_it_leads_too() {
        let faults: Vec<Fault> =
            ["fail read with EIO under /link", "fail read with EIO under /data"]
                .map(|text| text.parse().unwrap())
                .into();
        let features = KernelFeatures::everything("6.12.0");
        let mut rules = plan(&faults, &features, &Terms::default()).rules;
        let long = vec![b'/'; PATH_BYTES];
        let leads = [b"/data/a".to_vec(), b"/other".to_vec(), long];
        assert!(rules[0].lead(&leads) && !rules[0].lead(&leads));
        let table = table(&rules, 1);
        for (path, rules) in [
            ("/link/x", 0b01),
            ("/data/a/x", 0b11),
            ("/data/b", 0b10),
            ("/other", 0b01),
            ("/others", 0),
        ] {
            assert_eq!(met(&table, path.as_bytes()), rules, "{path}");
        }
        let many: Vec<Vec<u8>> = (0..100).map(|number| format!("/{number}").into_bytes()).collect();
        assert!(rules[0].lead(&many));
        assert_eq!(rules[0].leads_to.len(), MAX_LEADS);
    }

    #[test]
    fn a_pattern_begins_behind_a_slash() {
        for (path, parts) in [
            ("/data", ("/data", "")),
            ("/data/*.db", ("/data", "/*.db")),
            ("/data/a?/b/*", ("/data", "/a?/b/*")),
            ("/*", ("", "/*")),
            ("/", ("/", "")),
        ] {
            assert_eq!(plain_part(path), parts);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(check("/var/lib/postgresql").is_ok());
        assert!(check(&format!("/{}", "x".repeat(PATH_BYTES - 2))).is_ok());
        assert!(check(&format!("/{}", "x".repeat(PATH_BYTES - 1))).is_err());
        assert!(check("/data/*.wal").is_err());
    }
}
