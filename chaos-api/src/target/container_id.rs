//! Names a container by its id.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Malformed;

/// Digits of a whole id.
pub const FULL_LENGTH: usize = 64;
const MIN_LENGTH: usize = 12;

/// The id of a container, whole (64 hexadecimal digits) or its first 12 or more digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this id, or the prefix that it is, names the container of that full id.
    pub fn matches(&self, full: &Self) -> bool {
        full.0.starts_with(&self.0)
    }

    /// The first 12 digits, as container tools print it.
    pub fn short(&self) -> &str {
        &self.0[..MIN_LENGTH]
    }
}

/// Accepts what `docker ps`, `crictl ps` and a pod's `containerID` field print: a bare id or
/// prefix, or one behind `containerd://`, `cri-o://`, `docker://` and the like.
impl FromStr for ContainerId {
    type Err = Malformed;

    fn from_str(given: &str) -> Result<Self, Malformed> {
        let id = given.split_once("://").map_or(given, |(_, id)| id);
        let well_formed = (MIN_LENGTH..=FULL_LENGTH).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !well_formed {
            return Err(Malformed {
                given: given.to_owned(),
                expected: "a container id: 12 to 64 hexadecimal digits, with or without a scheme such as containerd://",
            });
        }
        Ok(Self(id.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Malformed;

    fn try_from(given: String) -> Result<Self, Malformed> {
        given.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
