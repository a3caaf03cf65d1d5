//! How kubelets and runtimes name cgroups (pkg/kubelet/cm in the Kubernetes source).

use std::path::PathBuf;

/// Which of them manages cgroups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Driver {
    #[default]
    Systemd,
    Cgroupfs,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QualityOfService {
    Guaranteed,
    Burstable,
    #[default]
    BestEffort,
}

/// Where a pod's cgroups lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    pub driver: Driver,
    pub quality: QualityOfService,
}

impl Layout {
    /// Every combination.
    pub fn all() -> impl Iterator<Item = Self> {
        let qualities = [
            QualityOfService::Guaranteed,
            QualityOfService::Burstable,
            QualityOfService::BestEffort,
        ];
        [Driver::Systemd, Driver::Cgroupfs]
            .into_iter()
            .flat_map(move |driver| qualities.map(|quality| Self { driver, quality }))
    }

    /// The pod's cgroup below the kubelet's root.
    pub fn pod(self, uid: &str) -> PathBuf {
        let quality = match self.quality {
            QualityOfService::Guaranteed => None,
            QualityOfService::Burstable => Some("burstable"),
            QualityOfService::BestEffort => Some("besteffort"),
        };
        match (self.driver, quality) {
            (Driver::Cgroupfs, None) => format!("kubepods/pod{uid}").into(),
            (Driver::Cgroupfs, Some(quality)) => format!("kubepods/{quality}/pod{uid}").into(),
            (Driver::Systemd, quality) => {
                let uid = uid.replace('-', "_");
                let mut path = PathBuf::from("kubepods.slice");
                let above = match quality {
                    None => "kubepods".to_owned(),
                    Some(quality) => {
                        path.push(format!("kubepods-{quality}.slice"));
                        format!("kubepods-{quality}")
                    }
                };
                path.push(format!("{above}-pod{uid}.slice"));
                path
            }
        }
    }

    /// A container's cgroup below its pod's.
    pub fn container(self, id: &str) -> PathBuf {
        match self.driver {
            Driver::Systemd => format!("cri-containerd-{id}.scope").into(),
            Driver::Cgroupfs => id.into(),
        }
    }
}

/// 64 hexadecimal digits that no other container has.
pub fn container_id(uid: &str, number: usize) -> String {
    let uid: String = uid.chars().filter(char::is_ascii_hexdigit).collect();
    format!("{number:08x}{uid:0>56}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_as_kubelets_make_them() {
        let uid = "1b7a1c3e-0d5e-4b8e-9f51-6a1f0c9e2d34";
        let paths: Vec<String> =
            Layout::all().map(|layout| layout.pod(uid).display().to_string()).collect();
        let slice = uid.replace('-', "_");
        assert_eq!(paths[0], format!("kubepods.slice/kubepods-pod{slice}.slice"));
        assert_eq!(
            paths[1],
            format!("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice")
        );
        assert_eq!(paths[3], format!("kubepods/pod{uid}"));
        assert_eq!(paths[5], format!("kubepods/besteffort/pod{uid}"));
        assert_eq!(container_id(uid, 1).len(), 64);
        assert_ne!(container_id(uid, 1), container_id(uid, 2));
    }
}
