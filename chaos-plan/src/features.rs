//! What the kernel can really do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Backend, Hook, Line};

/// What this kernel can do, hook by hook and backend by backend. Found by trying, never by its
/// version; here it is only data, so that plans can be made for kernels that one does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFeatures {
    /// As `uname -r` prints it.
    pub release: String,
    hooks: BTreeMap<Hook, Support>,
    #[serde(default)]
    backends: BTreeMap<Backend, Support>,
    #[serde(default)]
    lines: BTreeMap<Line, Support>,
    /// Kernel functions that programs may be attached to: entries of system calls, and
    /// `security_*`. `None`: all that one might ask for.
    #[serde(default = "no_functions")]
    functions: Option<BTreeSet<String>>,
}

fn no_functions() -> Option<BTreeSet<String>> {
    Some(BTreeSet::new())
}

/// Whether a hook can be used.
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
        Self {
            release: release.into(),
            hooks: BTreeMap::new(),
            backends: BTreeMap::new(),
            lines: BTreeMap::new(),
            functions: no_functions(),
        }
    }

    /// A kernel that has every hook, every backend and every delay line.
    pub fn everything(release: impl Into<String>) -> Self {
        let hooks = Hook::ALL.into_iter().map(|hook| (hook, Support::Works)).collect();
        let backends = Backend::ALL.into_iter().map(|backend| (backend, Support::Works)).collect();
        let lines = Line::ALL.into_iter().map(|line| (line, Support::Works)).collect();
        Self { release: release.into(), hooks, backends, lines, functions: None }
    }

    /// The same kernel, with this said of one hook.
    #[must_use]
    pub fn with(mut self, hook: Hook, support: Support) -> Self {
        self.hooks.insert(hook, support);
        self
    }

    /// The same kernel, with this said of one backend.
    #[must_use]
    pub fn with_backend(mut self, backend: Backend, support: Support) -> Self {
        self.backends.insert(backend, support);
        self
    }

    /// The same kernel, with this said of one delay line.
    #[must_use]
    pub fn with_line(mut self, line: Line, support: Support) -> Self {
        self.lines.insert(line, support);
        self
    }

    /// The same kernel, with these functions to attach to and no others.
    #[must_use]
    pub fn with_functions(mut self, functions: impl IntoIterator<Item = String>) -> Self {
        self.functions = Some(functions.into_iter().collect());
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

    /// Whether the backend can be used; one that was never tried cannot.
    pub fn backend(&self, backend: Backend) -> Support {
        self.backends.get(&backend).cloned().unwrap_or_else(not_tried)
    }

    /// Whether there can be this delay line; one that was never tried cannot.
    pub fn line(&self, line: Line) -> Support {
        self.lines.get(&line).cloned().unwrap_or_else(not_tried)
    }

    /// The delay line to take, where there can be one.
    pub fn best_line(&self) -> Option<Line> {
        Line::ALL.into_iter().find(|line| self.line(*line) == Support::Works)
    }

    /// Every delay line and what is known of it.
    pub fn lines(&self) -> impl Iterator<Item = (Line, Support)> + '_ {
        Line::ALL.into_iter().map(|line| (line, self.line(line)))
    }

    /// Every backend and what is known of it.
    pub fn backends(&self) -> impl Iterator<Item = (Backend, Support)> + '_ {
        Backend::ALL.into_iter().map(|backend| (backend, self.backend(backend)))
    }

    /// Whether the hook can be used; one that was never tried cannot.
    pub fn support(&self, hook: Hook) -> Support {
        self.hooks.get(&hook).cloned().unwrap_or_else(not_tried)
    }

    /// The hook that does what this one does: itself, or its fallback where only that works.
    pub fn stand_in(&self, hook: Hook) -> Hook {
        let works = |hook: &Hook| self.support(*hook) == Support::Works;
        hook.fallback().filter(|fallback| !works(&hook) && works(fallback)).unwrap_or(hook)
    }

    /// Every hook and what is known of it.
    pub fn iter(&self) -> impl Iterator<Item = (Hook, Support)> + '_ {
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
            .iter()
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
}
