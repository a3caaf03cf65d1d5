//! Names a systemd unit.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::Malformed;

/// Kinds of unit that have a cgroup.
const KINDS: [&str; 6] = ["service", "scope", "slice", "socket", "mount", "swap"];

/// The name of a systemd unit as `systemctl` prints it, its escapes (`\x2d`) included; a name
/// without a suffix is a service's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UnitName {
    type Err = Malformed;

    fn from_str(given: &str) -> Result<Self, Malformed> {
        let suffix = given.rsplit_once('.').map(|(_, suffix)| suffix);
        let name = match suffix {
            Some(suffix) if KINDS.contains(&suffix) => given.to_owned(),
            _ => format!("{given}.service"),
        };
        // systemd.unit(5): at most 255 bytes of these characters.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || br":-_.\@".contains(&byte);
        if given.is_empty()
            || given.starts_with('.')
            || name.len() > 255
            || !given.bytes().all(allowed)
        {
            return Err(Malformed {
                given: given.to_owned(),
                expected: "the name of a systemd unit, such as nginx.service",
            });
        }
        Ok(Self(name))
    }
}

impl TryFrom<String> for UnitName {
    type Error = Malformed;

    fn try_from(given: String) -> Result<Self, Malformed> {
        given.parse()
    }
}

impl From<UnitName> for String {
    fn from(name: UnitName) -> Self {
        name.0
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
