//! What the command line, a request or a pod says of its target.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ContainerId, ContainerName, Malformed, PodUid, UnitName};

/// A target as somebody named it; whether it exists is not known yet.
///
/// In text: `/a/b` or `cgroup:/a/b`, `pid:42`, `unit:nginx.service`, `container:ID`,
/// `container:[NAMESPACE/]POD/CONTAINER`, `pod:UID`, `pod:UID/CONTAINER-ID`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetSpec {
    /// Path of a cgroup, in the file system or below the hierarchy's root.
    Cgroup(PathBuf),
    /// The whole cgroup of this process.
    Pid(i32),
    Unit(UnitName),
    Container(ContainerId),
    /// Whichever container runs under a name in a pod.
    #[serde(rename = "container_name")]
    ContainerName(ContainerName),
    /// A whole pod, or one container of it.
    Pod {
        uid: PodUid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        container: Option<ContainerId>,
    },
}

impl TargetSpec {
    /// A container, by its id or by its name in a pod.
    ///
    /// # Errors
    /// For what is neither.
    pub fn container(given: &str) -> Result<Self, Malformed> {
        // `containerd://` stands before an id.
        match given.contains('/') && !given.contains("://") {
            true => given.parse().map(Self::ContainerName),
            false => given.parse().map(Self::Container),
        }
    }
}

impl FromStr for TargetSpec {
    type Err = Malformed;

    fn from_str(given: &str) -> Result<Self, Malformed> {
        let malformed = || Malformed {
            given: given.to_owned(),
            expected: "a target: cgroup:PATH, pid:N, unit:NAME, container:ID, \
                       container:[NAMESPACE/]POD/CONTAINER or pod:UID[/CONTAINER-ID]",
        };
        if given.starts_with('/') {
            return Ok(Self::Cgroup(given.into()));
        }
        let (kind, name) = given.split_once(':').ok_or_else(malformed)?;
        match kind {
            "cgroup" if !name.is_empty() => Ok(Self::Cgroup(name.into())),
            "pid" => match name.parse() {
                Ok(pid) if pid > 0 => Ok(Self::Pid(pid)),
                _ => Err(Malformed {
                    given: name.to_owned(),
                    expected: "a process id: a number of 1 or more",
                }),
            },
            "unit" => name.parse().map(Self::Unit),
            "container" => Self::container(name),
            "pod" => {
                let (uid, container) = match name.split_once('/') {
                    Some((uid, container)) => (uid, Some(container.parse()?)),
                    None => (name, None),
                };
                Ok(Self::Pod { uid: uid.parse()?, container })
            }
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cgroup(path) => write!(f, "cgroup:{}", path.display()),
            Self::Pid(pid) => write!(f, "pid:{pid}"),
            Self::Unit(unit) => write!(f, "unit:{unit}"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::ContainerName(name) => write!(f, "container:{name}"),
            Self::Pod { uid, container: None } => write!(f, "pod:{uid}"),
            Self::Pod { uid, container: Some(id) } => write!(f, "pod:{uid}/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::FULL_LENGTH, *};

    fn id(digit: char) -> String {
        digit.to_string().repeat(FULL_LENGTH)
    }

    #[test]
    fn text_and_json_say_the_same() {
        let texts = [
            "cgroup:/a/b".to_owned(),
            "pid:42".to_owned(),
            "unit:nginx.service".to_owned(),
            format!("container:{}", id('a')),
            "container:shop/web-0/side-car".to_owned(),
            "container:web.0/main".to_owned(),
            "pod:0f-1".to_owned(),
            format!("pod:0f-1/{}", id('b')),
        ];
        for text in texts {
            let spec: TargetSpec = text.parse().unwrap();
            assert_eq!(spec.to_string(), text);
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<TargetSpec>(&json).unwrap(), spec, "{json}");
        }
        assert_eq!("/a/b".parse::<TargetSpec>().unwrap(), TargetSpec::Cgroup("/a/b".into()));
        assert_eq!(serde_json::to_string(&TargetSpec::Pid(1)).unwrap(), r#"{"pid":1}"#);
    }

    #[test]
    fn malformed() {
        for bad in [
            "",
            "nginx",
            "pid:",
            "pid:0",
            "pid:-1",
            "pid:x",
            "pid:99999999999",
            "unit:",
            "unit:a/b",
            "container:abc",
            "container:a/b/c/d",
            "container:Web/main",
            "container:/main",
            "pod:",
            "pod:a/b",
            "cgroup:",
            "host:1",
        ] {
            assert!(bad.parse::<TargetSpec>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<TargetSpec>(r#"{"container":"x"}"#).is_err());
    }
}
