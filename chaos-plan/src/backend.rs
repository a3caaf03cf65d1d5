//! By what means a system call is answered where no cgroup hook sees it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Support;

/// One way to answer system calls, in the order in which the planner prefers them. The socket
/// calls that cgroup hooks see ([`super::Hook`]) come before all of them: these are the cheapest,
/// and every kernel has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Backend {
    /// `fmod_ret` on the entry of the call (`__x64_sys_*`); any call, any errno. Kernel 5.7 with
    /// CONFIG_FUNCTION_ERROR_INJECTION.
    #[serde(rename = "fmod_ret/sys")]
    Entry,
    /// `fmod_ret` on the security function that the call passes (`security_*`); calls that pass
    /// one. Kernel 5.7 with CONFIG_SECURITY, whatever security modules are active.
    #[serde(rename = "fmod_ret/security")]
    Security,
    /// User notification of a seccomp filter that the target was started with; any call. Kernel
    /// 5.9.
    #[serde(rename = "seccomp")]
    Seccomp,
}

impl Backend {
    /// Every backend, the preferred ones first.
    pub const ALL: [Self; 3] = [Self::Entry, Self::Security, Self::Seccomp];

    /// The architecture whose calls and registers they know, as `std::env::consts::ARCH` has it.
    const ARCHITECTURE: &str = "x86_64";

    /// Why none of them is there on a machine of this architecture, whatever its kernel can do; `None` on x86-64.
    pub fn lack_on(architecture: &str) -> Option<Support> {
        (architecture != Self::ARCHITECTURE).then(|| Support::Missing {
            reason: format!("knows the calls of x86-64, not of {architecture}"),
            remedy: "an x86-64 node; what does without are the verbs on packets, and `fail` of connect, bind, \
                     sendto, socket, setsockopt and getsockopt"
                .to_owned(),
        })
    }

    /// As screens and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entry => "fmod_ret/sys",
            Self::Security => "fmod_ret/security",
            Self::Seccomp => "seccomp",
        }
    }

    /// Whether the decision is taken in the kernel; otherwise in a process of the agent's. One
    /// fault is never split between the two: its ordinals and budgets would be kept twice.
    pub fn is_in_kernel(self) -> bool {
        self != Self::Seccomp
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_x86_64_has_them() {
        assert_eq!(Backend::lack_on("x86_64"), None);
        for architecture in ["aarch64", "x86", "riscv64"] {
            let Some(Support::Missing { reason, remedy }) = Backend::lack_on(architecture) else {
                panic!("{architecture} has them");
            };
            assert!(reason.ends_with(&format!("not of {architecture}")), "{reason}");
            assert!(remedy.starts_with("an x86-64 node"), "{remedy}");
        }
    }

    #[test]
    fn serde_prints_and_reads_the_name_and_all_is_all() {
        assert!(Backend::ALL.is_sorted_by(|a, b| a < b));
        for backend in Backend::ALL {
            let json = serde_json::to_value(backend).unwrap();
            assert_eq!(json, backend.name());
            assert_eq!(serde_json::from_value::<Backend>(json).unwrap(), backend);
        }
    }
}
