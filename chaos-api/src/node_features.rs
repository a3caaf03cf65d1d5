//! What an agent says of its node, so that others can plan for it: its version, what the kernel can do, what is allowed.

use std::{collections::BTreeSet, time::Duration};

use chaos_plan::KernelFeatures;
use serde::{Deserialize, Serialize};

use crate::{AllowedVerbs, Policy};

/// No more bytes than this are said: annotations of a pod share 256 KiB.
const LONGEST: usize = 48 << 10;

/// Bytes of a reason or a remedy.
const LONGEST_TEXT: usize = 300;

/// The value of the annotation that an agent writes on its own pod, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeFeatures {
    /// Of the agent.
    pub version: String,
    /// Of its processor, as `uname -m` has it.
    pub architecture: String,
    pub limits: Limits,
    pub kernel: KernelFeatures,
}

/// What the node allows, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// For faults without `for`.
    pub default_seconds: u64,
    /// A fault that wants longer is refused.
    pub longest_seconds: u64,
    /// Armed at the same time.
    pub most_targets: usize,
    /// Of these namespaces no pod is broken.
    #[serde(default)]
    pub protected_namespaces: BTreeSet<String>,
    /// What may be used, where the namespace of the pod allows it, too.
    pub verbs: AllowedVerbs,
}

impl NodeFeatures {
    /// Those of a node with such an agent.
    pub fn new(version: &str, policy: &Policy, kernel: KernelFeatures) -> Self {
        let seconds = |duration: Duration| duration.as_secs();
        Self {
            version: version.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            limits: Limits {
                default_seconds: seconds(policy.default_duration()),
                longest_seconds: seconds(policy.longest()),
                most_targets: policy.most_targets_at_once(),
                protected_namespaces: policy.protected().clone(),
                verbs: policy.verbs().clone(),
            },
            kernel,
        }
    }

    /// As compact JSON of at most 48 KiB. Where all has no room, the functions of the kernel are left out: then fewer
    /// faults can be planned, and none that the kernel cannot do.
    pub fn to_annotation(&self) -> serde_json::Result<String> {
        let mut features = self.clone();
        features.kernel = features.kernel.shortened(LONGEST_TEXT);
        let whole = serde_json::to_string(&features)?;
        if whole.len() <= LONGEST {
            return Ok(whole);
        }
        features.kernel = features.kernel.with_functions([]);
        serde_json::to_string(&features)
    }

    /// Reads what an agent wrote; `None` when it is something else.
    pub fn read(annotation: &str) -> Option<Self> {
        serde_json::from_str(annotation).ok()
    }
}

#[cfg(test)]
mod tests {
    use chaos_plan::{Capability, Support};

    use super::*;

    fn features(kernel: KernelFeatures) -> NodeFeatures {
        NodeFeatures::new("0.1.0", &Policy::default(), kernel)
    }

    #[test]
    fn json_and_back() {
        let features = features(KernelFeatures::everything("6.12.0"));
        let json = features.to_annotation().unwrap();
        assert!(json.starts_with(r#"{"version":"0.1.0","architecture":""#), "{json}");
        assert!(json.contains(
            r#""limits":{"defaultSeconds":300,"longestSeconds":3600,"mostTargets":256,"protectedNamespaces":["kube-system"],"verbs":"corrupt, "#
        ));
        assert_eq!(NodeFeatures::read(&json), Some(features));
        for other in ["", "{}", "[]", "null", r#"{"version":1}"#, &"[".repeat(100_000)] {
            assert_eq!(NodeFeatures::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_kernel_of_the_lab_has_room() {
        let recorded = include_str!("../../chaos-plan/tests/features/override-6.12.json");
        let features = features(serde_json::from_str(recorded).unwrap());
        let json = features.to_annotation().unwrap();
        assert!(json.len() < LONGEST * 3 / 4, "{}", json.len());
        assert_eq!(NodeFeatures::read(&json), Some(features));
    }

    #[test]
    fn however_much_there_is_to_be_said_it_is_bounded() {
        let missing = Support::Missing { reason: "ü".repeat(9_000), remedy: "x".repeat(9_000) };
        let mut kernel = KernelFeatures::everything("6.12.0")
            .with_functions((0..9_000).map(|number| format!("__x64_sys_{number}")));
        for capability in Capability::all() {
            kernel = kernel.with(capability, missing.clone());
        }
        let json = features(kernel).to_annotation().unwrap();
        assert!(json.len() <= LONGEST, "{}", json.len());
        let read = NodeFeatures::read(&json).expect("it is whole");
        assert!(!read.kernel.has_function("__x64_sys_1"));
    }
}
