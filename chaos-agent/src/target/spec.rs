//! What the command line, a request or a pod says of its target.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{
    CgroupRoot, ContainerId, PodUid, Target, TargetError, TargetKind, UnitName, error,
    find_cgroup_of, find_container, find_pod, find_unit,
    protected::{pods_within, refuse_pods},
};

/// A target as somebody named it; whether it exists is not known yet.
///
/// In text: `/a/b` or `cgroup:/a/b`, `pid:42`, `unit:nginx.service`, `container:ID`,
/// `pod:UID`, `pod:UID/CONTAINER-ID`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetSpec {
    /// Path of a cgroup, in the file system or below the hierarchy's root.
    Cgroup(PathBuf),
    /// The whole cgroup of this process.
    Pid(i32),
    Unit(UnitName),
    Container(ContainerId),
    /// A whole pod, or one container of it.
    Pod {
        uid: PodUid,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        container: Option<ContainerId>,
    },
}

impl TargetSpec {
    /// Finds the cgroup. Refuses what is never a target ([`super::refuse_protected`]), and what holds
    /// pods and is none.
    pub fn resolve(&self, root: &CgroupRoot) -> Result<Target, TargetError> {
        let target = self.resolve_any(root)?;
        refuse_pods(&target.cgroup)?;
        Ok(target)
    }

    /// As [`TargetSpec::resolve`], where whoever asks means all the pods that the cgroup holds, too.
    pub fn resolve_with_pods(&self, root: &CgroupRoot) -> Result<Target, TargetError> {
        let mut target = self.resolve_any(root)?;
        match pods_within(&target.cgroup)? {
            0 => {}
            pods => target.notes.push(format!("it holds {}", error::count(&pods))),
        }
        Ok(target)
    }

    fn resolve_any(&self, root: &CgroupRoot) -> Result<Target, TargetError> {
        let mut notes = Vec::new();
        let (kind, cgroup) = match self {
            Self::Cgroup(path) => (TargetKind::Cgroup, root.open(path)?),
            Self::Pid(pid) => {
                let (cgroup, others) = find_cgroup_of(root, *pid)?;
                match others {
                    0 => {}
                    1 => notes.push(format!("1 other process shares the cgroup of process {pid}")),
                    _ => notes.push(format!(
                        "{others} other processes share the cgroup of process {pid}"
                    )),
                }
                (TargetKind::Pid(*pid), cgroup)
            }
            Self::Unit(unit) => (TargetKind::Unit(unit.clone()), find_unit(root, unit)?),
            Self::Container(id) => (TargetKind::Container(id.clone()), find_container(root, id)?),
            Self::Pod { uid, container } => {
                let pod = find_pod(root, uid)?;
                let kind = TargetKind::Pod { uid: uid.clone(), container: container.clone() };
                match container {
                    Some(id) => (kind, pod.container(id)?.cgroup),
                    None => (kind, pod.cgroup),
                }
            }
        };
        Target::new(root, self.to_string(), kind, cgroup, notes)
    }
}

impl FromStr for TargetSpec {
    type Err = TargetError;

    fn from_str(given: &str) -> Result<Self, TargetError> {
        let malformed = || TargetError::Malformed {
            given: given.to_owned(),
            expected: "a target: cgroup:PATH, pid:N, unit:NAME, container:ID or pod:UID[/CONTAINER-ID]",
        };
        if given.starts_with('/') {
            return Ok(Self::Cgroup(given.into()));
        }
        let (kind, name) = given.split_once(':').ok_or_else(malformed)?;
        match kind {
            "cgroup" if !name.is_empty() => Ok(Self::Cgroup(name.into())),
            "pid" => match name.parse() {
                Ok(pid) if pid > 0 => Ok(Self::Pid(pid)),
                _ => Err(TargetError::Malformed {
                    given: name.to_owned(),
                    expected: "a process id: a number of 1 or more",
                }),
            },
            "unit" => name.parse().map(Self::Unit),
            "container" => name.parse().map(Self::Container),
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
            Self::Pod { uid, container: None } => write!(f, "pod:{uid}"),
            Self::Pod { uid, container: Some(id) } => write!(f, "pod:{uid}/{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::fake::{FakeTree, id};

    #[test]
    fn text_and_json_say_the_same() {
        let texts = [
            "cgroup:/a/b".to_owned(),
            "pid:42".to_owned(),
            "unit:nginx.service".to_owned(),
            format!("container:{}", id('a')),
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
            "pod:",
            "pod:a/b",
            "cgroup:",
            "host:1",
        ] {
            assert!(
                matches!(bad.parse::<TargetSpec>(), Err(TargetError::Malformed { .. })),
                "{bad}"
            );
        }
        assert!(serde_json::from_str::<TargetSpec>(r#"{"container":"x"}"#).is_err());
    }

    #[test]
    fn resolves_with_notes_and_refusals() {
        let tree = FakeTree::new();
        tree.process(70, "server", "a.slice/b.scope");
        tree.process(71, "other", "a.slice/b.scope");
        tree.process(72, "pause", &format!("kubepods/pod0f/{}", id('a')));
        tree.process(73, "server", &format!("kubepods/pod0f/{}", id('b')));
        let root = tree.root();
        let resolve = |text: &str| text.parse::<TargetSpec>().unwrap().resolve(&root);

        let target = resolve("pid:70").unwrap();
        assert_eq!(target.notes, ["1 other process shares the cgroup of process 70"]);
        assert_eq!(target.cgroup.path().to_str(), Some("/a.slice/b.scope"));
        assert_eq!(target.name, "pid:70");

        assert_eq!(resolve("pod:0f").unwrap().cgroup.level(), 2);
        assert_eq!(resolve(&format!("pod:0f/{}", id('b'))).unwrap().cgroup.level(), 3);
        for pause in [format!("pod:0f/{}", id('a')), format!("container:{}", id('a'))] {
            assert!(matches!(resolve(&pause), Err(TargetError::Protected { .. })), "{pause}");
        }
        assert!(matches!(resolve("/kubepods"), Err(TargetError::HoldsPods { pods: 1, .. })));
        let forced = "/kubepods".parse::<TargetSpec>().unwrap().resolve_with_pods(&root).unwrap();
        assert_eq!(forced.notes, ["it holds 1 pod"]);
        assert!(matches!(resolve("/"), Err(TargetError::RootCgroup { .. })));
        assert!(matches!(resolve("/none"), Err(TargetError::NoSuchCgroup { .. })));
        assert!(matches!(resolve("cgroup:../x"), Err(TargetError::BadPath { .. })));
    }
}
