//! `fail dns` and `delay dns … for NAME` as prefixes of what the kernel makes of a question's name.

use std::collections::BTreeSet;

use chaos_ebpf_common::{dns::NAME, tables::PATH_BYTES};
use chaos_fault::{Fault, PortRange, Protocol, Side};

use super::{
    PlannedRule,
    keys::{Entry, entry},
    refusal::Objection,
};

/// Where queries go.
const DOMAIN: u16 = 53;

/// The ports that a fault adds to those that it names: queries go to port 53, unless it says
/// otherwise.
pub(super) fn ports(fault: &Fault) -> Option<PortRange> {
    let peer = fault.peer.as_ref();
    let says = peer.is_some_and(|peer| peer.side != Side::From && !peer.ports.is_empty());
    let asks = fault.verb.dns_name().is_some() && !says;
    asks.then_some(PortRange { first: DOMAIN, last: DOMAIN })
}

/// The names that a rule is for, by their labels from the last on, each with its length before it.
enum Pattern {
    All,
    /// The name itself, with the 0 behind it.
    Itself(Vec<u8>),
    /// Every name below it.
    Below(Vec<u8>),
}

impl Pattern {
    fn of(name: &str) -> Self {
        match name.strip_prefix("*.") {
            None if name == "*" => Self::All,
            None => Self::Itself([key(name), vec![0]].concat()),
            Some(base) => Self::Below(key(base)),
        }
    }

    /// The keys at which the answer for a name changes.
    fn keys(&self) -> Vec<Vec<u8>> {
        match self {
            Self::All => vec![vec![NAME]],
            Self::Itself(name) => vec![name.clone()],
            Self::Below(base) => vec![base.clone(), [base.as_slice(), b"\0"].concat()],
        }
    }

    /// Whether every name whose longest key this is, is one of the pattern's.
    fn covers(&self, key: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Itself(name) => key == name,
            Self::Below(base) => {
                key.strip_prefix(base.as_slice()).is_some_and(|rest| rest.first() != Some(&0))
            }
        }
    }
}

fn key(name: &str) -> Vec<u8> {
    let mut key = vec![NAME];
    for label in name.rsplit('.') {
        // A label has at most 63 bytes.
        key.push(label.len() as u8);
        key.extend(label.as_bytes());
    }
    key
}

/// Whether questions are seen, and the kernel's table can tell names by this one.
pub(super) fn check(fault: &Fault, name: &str) -> Result<(), Objection> {
    if fault.protocol == Some(Protocol::Tcp) {
        let word = fault.verb.word();
        return Err(Objection::new(format!("`{word} dns` sees questions over udp, not over tcp"))
            .remedy("`drop egress tcp to port 53` lets those over tcp time out"));
    }
    let longest = Pattern::of(name).keys().into_iter().map(|key| key.len()).max();
    if longest.is_some_and(|longest| longest > PATH_BYTES) {
        let most = PATH_BYTES - 3;
        return Err(Objection::new(format!("`for {name}` is longer than {most} bytes"))
            .remedy("name a domain above it: `*.example.com`"));
    }
    Ok(())
}

/// The table of a rule set: bits of the key, the key, and the rules that are for its names.
pub(super) fn table(rules: &[PlannedRule], set: u32) -> Vec<Entry> {
    let patterns: Vec<(usize, Pattern)> = rules
        .iter()
        .enumerate()
        .filter_map(|(position, rule)| Some((position, Pattern::of(rule.fault.verb.dns_name()?))))
        .collect();
    let keys: BTreeSet<Vec<u8>> = patterns.iter().flat_map(|(_, pattern)| pattern.keys()).collect();
    keys.iter()
        .map(|key| {
            let covering = patterns.iter().filter(|(_, pattern)| pattern.covers(key));
            let rules = covering.fold(0, |all, (position, _)| all | 1 << position);
            entry(set, key, rules)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{KernelFeatures, Terms, keys::met, plan};

    #[test]
    fn wildcards_stand_for_whole_labels() {
        let faults: Vec<Fault> = [
            "fail dns with NXDOMAIN for *.example.com",
            "fail dns with REFUSED for example.com",
            "fail dns with SERVFAIL for *.db.example.com",
            "delay dns by 1s for a.db.example.com",
            "drop",
        ]
        .map(|text| text.parse().unwrap())
        .into();
        let plan = plan(&faults, &KernelFeatures::everything("6.12.0"), &Terms::default());
        assert_eq!(plan.refused, []);
        let without = table(&plan.rules, 1);
        for (name, rules) in [
            ("example.com", 0b0010),
            ("www.example.com", 0b0001),
            ("a.b.example.com", 0b0001),
            ("db.example.com", 0b0001),
            ("x.db.example.com", 0b0101),
            ("a.db.example.com", 0b1101),
            ("b.a.db.example.com", 0b0101),
            ("notexample.com", 0),
            ("example.com.org", 0),
            ("com", 0),
        ] {
            assert_eq!(met(&without, &key(name)), rules, "{name}");
        }
        let every: Fault = "fail dns with REFUSED for * to 10.96.0.10".parse().unwrap();
        let plan = crate::plan(
            &[faults[0].clone(), every],
            &KernelFeatures::everything("6.12.0"),
            &Terms::default(),
        );
        let with = table(&plan.rules, 1);
        for (name, rules) in [("com", 0b10), ("example.com", 0b10), ("a.example.com", 0b11)] {
            assert_eq!(met(&with, &key(name)), rules, "{name}");
        }
    }

    #[test]
    fn queries_go_to_port_53_unless_it_is_said() {
        let found = |clauses: &str| {
            let fault: Fault = format!("fail dns with REFUSED for * {clauses}").parse().unwrap();
            ports(&fault).map(|range| range.first)
        };
        assert_eq!((found(""), found("to 10.96.0.10")), (Some(53), Some(53)));
        assert_eq!((found("to port 5353"), found("port 5353")), (None, None));
        assert_eq!(found("from port 5353"), Some(53), "that is the port that is asked from");
        assert_eq!(ports(&"drop".parse().unwrap()), None);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let found = |labels: usize| {
            let name = vec!["abcdefghi"; labels].join(".");
            let fault: Fault = format!("delay dns by 1s for {name}").parse().unwrap();
            check(&fault, &name)
        };
        assert!(found(24).is_ok());
        assert!(found(25).is_err());
    }
}
