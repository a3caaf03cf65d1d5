//! Says to which Run of the cluster a fault belongs, by the fault's name.

use std::{collections::BTreeSet, fmt, str::FromStr};

use chaos_fault::{Fault, parse_name};
use thiserror::Error;

/// A Run by its namespace and its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunName {
    pub namespace: String,
    pub name: String,
}

/// That is not a Run.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not a Run; write NAMESPACE/RUN")]
pub struct NoRun(String);

impl RunName {
    /// The Run of a fault of a pod in `namespace`. The name `RUN/STEP` is of a Run in that namespace,
    /// `NAMESPACE/RUN/STEP` of one in another. Any other name, and none, is of no Run.
    pub fn of(fault: &Fault, namespace: &str) -> Option<Self> {
        let parts: Vec<&str> = fault.name.as_deref()?.split('/').collect();
        let (namespace, name) = match parts[..] {
            [run, _] => (namespace, run),
            [namespace, run, _] => (namespace, run),
            _ => return None,
        };
        Some(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// Those of a list with commas between; what is not one is left out.
    pub fn read_list(text: &str) -> BTreeSet<Self> {
        text.split(',').filter_map(|one| one.trim().parse().ok()).collect()
    }
}

impl FromStr for RunName {
    type Err = NoRun;

    fn from_str(text: &str) -> Result<Self, NoRun> {
        match text.split_once('/') {
            Some((namespace, name)) if !name.contains('/') && parse_name(text).is_ok() => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(NoRun(text.to_owned())),
        }
    }
}

impl fmt::Display for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_fault_says_its_run() {
        for (name, run) in [
            ("slow-payments-7k2/slow", Some("shop/slow-payments-7k2")),
            ("chaos-agent/slow-payments-7k2/slow", Some("chaos-agent/slow-payments-7k2")),
            ("slow", None),
        ] {
            let fault: Fault = format!("drop as {name}").parse().unwrap();
            assert_eq!(RunName::of(&fault, "shop").map(|run| run.to_string()).as_deref(), run);
        }
        assert_eq!(RunName::of(&"drop".parse().unwrap(), "shop"), None);
    }

    #[test]
    fn of_a_list_what_is_a_run_is_read() {
        let read = |text: &str| -> Vec<String> {
            RunName::read_list(text).iter().map(ToString::to_string).collect()
        };
        assert_eq!(read("shop/b, shop/a,shop/a"), ["shop/a", "shop/b"]);
        assert_eq!(read(""), Vec::<String>::new());
        assert_eq!(read("shop,shop/a/b,/,shop/,A/b,shop/x y,\u{0},shop/ok"), ["shop/ok"]);
        assert_eq!(read(&"a/".repeat(100_000)), Vec::<String>::new());
    }
}
