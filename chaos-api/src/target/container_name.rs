//! Names a container by its pod, which it has in common with what is started after it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Malformed;

/// `POD/CONTAINER`, or `NAMESPACE/POD/CONTAINER`: whichever container runs under that name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerName {
    /// `None`: that of the only pod with this name on the node.
    pub namespace: Option<String>,
    pub pod: String,
    pub container: String,
}

impl FromStr for ContainerName {
    type Err = Malformed;

    fn from_str(given: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed {
            given: given.to_owned(),
            expected: "a container of a pod: POD/CONTAINER or NAMESPACE/POD/CONTAINER",
        };
        // Names of pods are DNS subdomains, the others DNS labels (RFC 1123).
        let is_label = |part: &&str| {
            !part.is_empty()
                && part.len() <= 253
                && part.bytes().all(|byte| {
                    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte)
                })
        };
        let parts: Vec<&str> = given.split('/').collect();
        if !parts.iter().all(is_label) {
            return Err(malformed());
        }
        let (namespace, pod, container) = match parts[..] {
            [pod, container] => (None, pod, container),
            [namespace, pod, container] => (Some(namespace.to_owned()), pod, container),
            _ => return Err(malformed()),
        };
        Ok(Self { namespace, pod: pod.to_owned(), container: container.to_owned() })
    }
}

impl TryFrom<String> for ContainerName {
    type Error = Malformed;

    fn try_from(given: String) -> Result<Self, Malformed> {
        given.parse()
    }
}

impl From<ContainerName> for String {
    fn from(name: ContainerName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}/{}", self.pod, self.container)
    }
}
