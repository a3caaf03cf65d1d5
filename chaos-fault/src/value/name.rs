//! Paths, container names and DNS names.

use super::duration;
use crate::{mistake::Mistake, model::PodRef};

/// An absolute path without `.`, `..`, doubled or trailing slashes; the last two are removed.
pub(crate) fn path(word: &str) -> Result<String, Mistake> {
    if !word.starts_with('/') {
        return Err(Mistake::new(format!("`{word}` is not an absolute path"))
            .help("as the target sees it, from the root: `/var/lib`"));
    }
    if word.contains(char::is_control) {
        return Err(Mistake::new("a path cannot have control characters in it"));
    }
    let parts: Vec<&str> = word.split('/').filter(|part| !part.is_empty()).collect();
    if parts.iter().any(|part| matches!(*part, "." | "..")) {
        return Err(Mistake::new(format!("`{word}` has `.` or `..` in it"))
            .help("write the path that it leads to"));
    }
    Ok(format!("/{}", parts.join("/")))
}

/// A pod by its namespace, an RFC 1123 label, and its name, an RFC 1123 subdomain.
pub(crate) fn pod(word: &str) -> Result<PodRef, Mistake> {
    let Some((namespace, name)) = word.split_once('/') else {
        return Err(Mistake::new(format!("`{word}` has no namespace"))
            .help(format!("write it with that of the pod: `pod shop/{word}`")));
    };
    let is_name = name.len() <= 253 && name.split('.').all(is_label);
    if is_label(namespace) && is_name {
        return Ok(PodRef { namespace: namespace.to_owned(), name: name.to_owned() });
    }
    Err(Mistake::new(format!("`{word}` is not the name of a pod"))
        .help("its namespace and its name: `pod payments/db-0`"))
}

/// The name that an experiment has for what is at the other end, behind its `@`.
pub(crate) fn of_peer(word: &str) -> Result<String, Mistake> {
    if is_label(word) {
        return Ok(word.to_owned());
    }
    Err(Mistake::new(format!("`@{word}` is not a name of an experiment"))
        .help("one of its peers or targets, such as `@db`: at most 63 of a-z, 0-9 and -"))
}

/// The name of a file, wherever it is read.
pub(crate) fn file(word: &str) -> Result<String, Mistake> {
    if word.is_empty() || word.contains(char::is_control) {
        return Err(Mistake::new("that is not the name of a file")
            .help("for example `from file latencies.txt`"));
    }
    Ok(word.to_owned())
}

/// A container's name as Kubernetes has them: an RFC 1123 label.
pub(crate) fn container(word: &str) -> Result<String, Mistake> {
    if is_label(word) {
        return Ok(word.to_owned());
    }
    Err(Mistake::new(format!("`{word}` is not the name of a container"))
        .help("at most 63 of a-z, 0-9 and -, such as `db`"))
}

/// The most parts that the name of a fault has.
const MOST_PARTS: usize = 3;

/// The name of a fault: one to three parts with `/` between, each as long as a label of Kubernetes.
pub fn of_fault(word: &str) -> Result<String, Mistake> {
    let is_part = |part: &str| part.len() <= 63 && part.split('.').all(is_label);
    if word.split('/').count() <= MOST_PARTS && word.split('/').all(is_part) {
        return Ok(word.to_owned());
    }
    Err(Mistake::new(format!("`{word}` is not a name for a fault")).help(
        "one to three parts with `/` between, each at most 63 of a-z, 0-9, - and ., such as \
         `slow-payments/slow`",
    ))
}

fn is_label(word: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&word.len())
        && word.chars().all(inside)
        && !word.starts_with('-')
        && !word.ends_with('-')
}

/// A DNS name, lower case, without the last dot; the first label may be `*`, and `*` alone is
/// every name.
pub(crate) fn dns(word: &str) -> Result<String, Mistake> {
    let name = word.strip_suffix('.').unwrap_or(word).to_ascii_lowercase();
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let labels = match name.strip_prefix("*.") {
        Some(rest) => rest,
        None if name == "*" => return Ok(name),
        None => name.as_str(),
    };
    if name.len() <= 253 && labels.split('.').all(label) && !duration::looks_like(&name) {
        return Ok(name);
    }
    let help = if word.is_ascii() {
        "for example `db.example.com`, `*.example.com`, or `*` for every name"
    } else {
        "write its ASCII form, which begins with `xn--`"
    };
    Err(Mistake::new(format!("`{word}` is not a DNS name")).help(help))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_plain_or_refused() {
        assert_eq!(path("/data//x/").unwrap(), "/data/x");
        assert_eq!(path("/").unwrap(), "/");
        for wrong in ["data", "", "/a/../b", "/a/./b", "/a\0b"] {
            assert!(path(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn container_names_are_labels() {
        assert_eq!(container("db-0").unwrap(), "db-0");
        for wrong in ["", "DB", "-db", "db-", "d_b", &"x".repeat(64)] {
            assert!(container(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_faults_have_up_to_three_parts() {
        for name in ["slow", "slow-payments-7k2/slow", "shop/slow-payments-7k2/slow", "v1.2/0"] {
            assert_eq!(of_fault(name).unwrap(), name);
        }
        let long = "x".repeat(64);
        for wrong in ["", "/", "a/", "/a", "a//b", "a/b/c/d", "Slow", "a_b", "-a", "a.", &long] {
            assert!(of_fault(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pods_have_a_namespace_and_a_name() {
        assert_eq!(pod("payments/db-0.eu").unwrap().to_string(), "payments/db-0.eu");
        assert!(pod("db").unwrap_err().remedy().unwrap().contains("`pod shop/db`"));
        for wrong in ["/db", "a/", "a/b/c", "A/b", "a.b/c", "a/b..c", "a/_"] {
            assert!(pod(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dns_names_may_begin_with_a_star() {
        assert_eq!(dns("*.Example.COM.").unwrap(), "*.example.com");
        assert_eq!(dns("*").unwrap(), "*");
        assert_eq!(dns("_sip._tcp.example").unwrap(), "_sip._tcp.example");
        for wrong in ["", ".", "a..b", "a.*.b", "*a.b", "5m", "bücher.example", "a b"] {
            assert!(dns(wrong).is_err(), "{wrong}");
        }
    }
}
