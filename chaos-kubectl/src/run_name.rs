//! Reads which Run an argument names: `NAME`, `run/NAME` or `NAMESPACE/NAME`.

use crate::{cluster::Cluster, failure::Failure};

/// What names the kind, as kubectl takes it and as `-o name` prints it.
const KINDS: [&str; 5] = ["run", "runs", "cxr", "run.chaos-agent.dev", "runs.chaos-agent.dev"];

/// One Run of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunName {
    pub namespace: String,
    pub name: String,
}

impl RunName {
    /// The Run that an argument names. Without a namespace it is one of the command's.
    pub fn of(text: &str, cluster: &Cluster) -> Result<Self, Failure> {
        read(text, cluster.asked_namespace.as_deref(), &cluster.namespace).map_err(Failure::Usage)
    }
}

/// `asked` is what `-n` says, `otherwise` the namespace where nothing else says one.
fn read(text: &str, asked: Option<&str>, otherwise: &str) -> Result<RunName, String> {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let is_whole = !name.is_empty() && !name.contains('/') && prefix != Some("");
    if !is_whole {
        return Err(format!("`{text}` names no Run; write NAME, run/NAME or NAMESPACE/NAME"));
    }
    let namespace = match prefix.filter(|prefix| !KINDS.contains(prefix)) {
        None => otherwise,
        Some(written) => match asked.filter(|asked| *asked != written) {
            None => written,
            Some(asked) => {
                return Err(format!(
                    "`{text}` is in namespace {written}, and -n says {asked}; leave one out"
                ));
            }
        },
    };
    Ok(RunName { namespace: namespace.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_the_kind_or_the_namespace() {
        for (text, asked, place) in [
            ("slow-7k2", None, "till"),
            ("run/slow-7k2", None, "till"),
            ("runs/slow-7k2", None, "till"),
            ("cxr/slow-7k2", None, "till"),
            ("run.chaos-agent.dev/slow-7k2", None, "till"),
            ("runs.chaos-agent.dev/slow-7k2", Some("till"), "till"),
            ("shop/slow-7k2", None, "shop"),
            ("shop/slow-7k2", Some("shop"), "shop"),
        ] {
            let read = read(text, asked, "till").unwrap();
            assert_eq!(
                (read.namespace.as_str(), read.name.as_str()),
                (place, "slow-7k2"),
                "{text}"
            );
        }
    }

    #[test]
    fn what_names_two_namespaces_or_no_run_is_refused() {
        assert_eq!(
            read("shop/slow", Some("till"), "till").unwrap_err(),
            "`shop/slow` is in namespace shop, and -n says till; leave one out"
        );
        for text in ["", "/slow", "shop/", "run/", "shop/run/slow"] {
            let error = read(text, None, "till").unwrap_err();
            assert!(error.ends_with("write NAME, run/NAME or NAMESPACE/NAME"), "{text}: {error}");
        }
    }
}
