//! What the kernel can really do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{
        IntoDeserializer,
        value::{self, StringDeserializer},
    },
};

use super::{Backend, DelayLine, Hook};

/// What this kernel can do, capability by capability. Found by trying, never by its version; here it is only data, so
/// that plans can be made for kernels that one does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Recorded", into = "Recorded")]
pub struct KernelFeatures {
    /// As `uname -r` prints it.
    pub release: String,
    found: BTreeMap<Capability, Support>,
    /// Kernel functions that programs may be attached to: entries of system calls, and
    /// `security_*`. `None`: all that one might ask for.
    functions: Option<BTreeSet<String>>,
}

/// Something that a kernel can do or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    Hook(Hook),
    Backend(Backend),
    Line(DelayLine),
}

impl Capability {
    /// Every one that there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let hooks = Hook::ALL.into_iter().map(Self::Hook);
        let backends = Backend::ALL.into_iter().map(Self::Backend);
        hooks.chain(backends).chain(DelayLine::ALL.into_iter().map(Self::Line))
    }
}

impl From<Hook> for Capability {
    fn from(hook: Hook) -> Self {
        Self::Hook(hook)
    }
}

impl From<Backend> for Capability {
    fn from(backend: Backend) -> Self {
        Self::Backend(backend)
    }
}

impl From<DelayLine> for Capability {
    fn from(line: DelayLine) -> Self {
        Self::Line(line)
    }
}

/// As JSON has it: `doctor` prints it, and what was found on other kernels is kept so.
#[derive(Serialize, Deserialize)]
struct Recorded {
    release: String,
    #[serde(deserialize_with = "known")]
    hooks: BTreeMap<Hook, Support>,
    #[serde(default, deserialize_with = "known")]
    backends: BTreeMap<Backend, Support>,
    #[serde(default, deserialize_with = "known")]
    lines: BTreeMap<DelayLine, Support>,
    #[serde(default = "no_functions")]
    functions: Option<BTreeSet<String>>,
}

/// What is known here of what was recorded: a later version may have found more.
fn known<'de, K, D>(deserializer: D) -> Result<BTreeMap<K, Support>, D::Error>
where
    K: Deserialize<'de> + Ord,
    D: Deserializer<'de>,
{
    let recorded = BTreeMap::<String, Support>::deserialize(deserializer)?;
    let known = recorded.into_iter().filter_map(|(name, support)| {
        let name: StringDeserializer<value::Error> = name.into_deserializer();
        Some((K::deserialize(name).ok()?, support))
    });
    Ok(known.collect())
}

fn no_functions() -> Option<BTreeSet<String>> {
    Some(BTreeSet::new())
}

impl From<Recorded> for KernelFeatures {
    fn from(Recorded { release, hooks, backends, lines, functions }: Recorded) -> Self {
        let hooks = hooks.into_iter().map(|(hook, support)| (hook.into(), support));
        let backends = backends.into_iter().map(|(backend, support)| (backend.into(), support));
        let lines = lines.into_iter().map(|(line, support)| (line.into(), support));
        Self { release, found: hooks.chain(backends).chain(lines).collect(), functions }
    }
}

impl From<KernelFeatures> for Recorded {
    fn from(KernelFeatures { release, found, functions }: KernelFeatures) -> Self {
        let (mut hooks, mut backends, mut lines) =
            (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (capability, support) in found {
            match capability {
                Capability::Hook(hook) => drop(hooks.insert(hook, support)),
                Capability::Backend(backend) => drop(backends.insert(backend, support)),
                Capability::Line(line) => drop(lines.insert(line, support)),
            }
        }
        Self { release, hooks, backends, lines, functions }
    }
}

/// Whether a capability can be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Support {
    Works,
    Missing {
        /// What was tried and what the kernel answered.
        reason: String,
        /// What would make it work.
        remedy: String,
    },
}

impl KernelFeatures {
    /// A kernel on which nothing has been found to work yet.
    pub fn nothing(release: impl Into<String>) -> Self {
        Self { release: release.into(), found: BTreeMap::new(), functions: no_functions() }
    }

    /// A kernel that has every hook, every backend and every delay line.
    pub fn everything(release: impl Into<String>) -> Self {
        let found = Capability::all().map(|one| (one, Support::Works)).collect();
        Self { release: release.into(), found, functions: None }
    }

    /// The same kernel, with this said of one hook, backend or delay line.
    #[must_use]
    pub fn with(mut self, capability: impl Into<Capability>, support: Support) -> Self {
        self.found.insert(capability.into(), support);
        self
    }

    /// The same kernel, with these functions to attach to and no others.
    #[must_use]
    pub fn with_functions(mut self, functions: impl IntoIterator<Item = String>) -> Self {
        self.functions = Some(functions.into_iter().collect());
        self
    }

    /// The same kernel, with at most so many bytes for each reason and each remedy.
    #[must_use]
    pub fn shortened(mut self, most: usize) -> Self {
        for support in self.found.values_mut() {
            if let Support::Missing { reason, remedy } = support {
                for text in [reason, remedy] {
                    text.truncate(text.floor_char_boundary(most));
                }
            }
        }
        self
    }

    /// Whether a program may be attached to this function of the kernel.
    pub fn has_function(&self, name: &str) -> bool {
        self.functions.as_ref().is_none_or(|functions| functions.contains(name))
    }

    /// Whether the kernel is known to have this function, where [`Self::has_function`] takes it for
    /// granted on a kernel of which no list was made.
    pub(super) fn lists_function(&self, name: &str) -> bool {
        self.functions.as_ref().is_some_and(|functions| functions.contains(name))
    }

    /// Whether it can be used; what was never tried cannot.
    pub fn support(&self, capability: impl Into<Capability>) -> Support {
        self.found.get(&capability.into()).cloned().unwrap_or_else(not_tried)
    }

    /// The delay line to take, where there can be one.
    pub fn best_line(&self) -> Option<DelayLine> {
        DelayLine::ALL.into_iter().find(|line| self.support(*line) == Support::Works)
    }

    /// Every delay line and what is known of it.
    pub fn lines(&self) -> impl Iterator<Item = (DelayLine, Support)> + '_ {
        DelayLine::ALL.into_iter().map(|line| (line, self.support(line)))
    }

    /// Every backend and what is known of it.
    pub fn backends(&self) -> impl Iterator<Item = (Backend, Support)> + '_ {
        Backend::ALL.into_iter().map(|backend| (backend, self.support(backend)))
    }

    /// The hook that does what this one does: itself, or its fallback where only that works.
    pub fn stand_in(&self, hook: Hook) -> Hook {
        let works = |hook: &Hook| self.support(*hook) == Support::Works;
        hook.fallback().filter(|fallback| !works(&hook) && works(fallback)).unwrap_or(hook)
    }

    /// Every hook and what is known of it.
    pub fn hooks(&self) -> impl Iterator<Item = (Hook, Support)> + '_ {
        Hook::ALL.into_iter().map(|hook| (hook, self.support(hook)))
    }
}

fn not_tried() -> Support {
    Support::Missing {
        reason: "it was not tried".to_owned(),
        remedy: "run `chaos-agent doctor` as root to try it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_tried_is_missing() {
        let features = KernelFeatures::nothing("6.1.0").with(Hook::Bind4, Support::Works);
        let working: Vec<Hook> = features
            .hooks()
            .filter(|(_, support)| *support == Support::Works)
            .map(|(hook, _)| hook)
            .collect();
        assert_eq!(working, [Hook::Bind4]);
    }

    #[test]
    fn json_and_back() {
        let missing = Support::Missing { reason: "EINVAL".into(), remedy: "kernel 6.6".into() };
        let features = KernelFeatures::everything("6.1.0").with(Hook::TcxEgress, missing);
        let json = serde_json::to_string(&features).unwrap();
        assert!(json.contains(r#""tcx/egress":{"missing":{"reason":"EINVAL""#), "{json}");
        assert_eq!(serde_json::from_str::<KernelFeatures>(&json).unwrap(), features);
    }

    #[test]
    fn what_a_later_version_has_found_is_left_out() {
        let json = r#"{"release": "7.1", "hooks": {"tcx/egress": "works", "xdp/redirect": "works"},
            "backends": {"telepathy": {"missing": {"reason": "a", "remedy": "b"}}}, "more": 1}"#;
        let read: KernelFeatures = serde_json::from_str(json).unwrap();
        let features = KernelFeatures::nothing("7.1").with(Hook::TcxEgress, Support::Works);
        assert_eq!(read, features);
    }
}
