//! Names a pod by its UID.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Malformed;

/// A pod's UID as its cgroup is named: of a static pod, that is the annotation
/// `kubernetes.io/config.hash`, not the UID of its mirror.
///
/// Any spelling will do: two UIDs are the same when they differ only in dashes, underscores and
/// case.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PodUid(String);

impl PodUid {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn significant(&self) -> impl Iterator<Item = u8> {
        self.0
            .bytes()
            .filter(|byte| !matches!(byte, b'-' | b'_'))
            .map(|byte| byte.to_ascii_lowercase())
    }
}

impl FromStr for PodUid {
    type Err = Malformed;

    fn from_str(given: &str) -> Result<Self, Malformed> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let uid = Self(given.to_owned());
        if given.len() > 128 || !given.bytes().all(allowed) || uid.significant().next().is_none() {
            return Err(Malformed {
                given: given.to_owned(),
                expected: "a pod's UID, such as 1b7a1c3e-0d5e-4b8e-9f51-6a1f0c9e2d34",
            });
        }
        Ok(uid)
    }
}

impl TryFrom<String> for PodUid {
    type Error = Malformed;

    fn try_from(given: String) -> Result<Self, Malformed> {
        given.parse()
    }
}

impl From<PodUid> for String {
    fn from(uid: PodUid) -> Self {
        uid.0
    }
}

impl PartialEq for PodUid {
    fn eq(&self, other: &Self) -> bool {
        self.significant().eq(other.significant())
    }
}

impl Eq for PodUid {}

impl std::hash::Hash for PodUid {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.significant().for_each(|byte| state.write_u8(byte));
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
