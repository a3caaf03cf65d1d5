//! Defines what steps do, and on which pods.

use std::time::Duration;

use chaos_api::kinds::{OnError, PodAction, Replaced, Target};
use chaos_fault::Fault;

use crate::pick::Amount;

/// Which pods, and how many.
#[derive(Debug, Clone)]
pub struct Choice {
    pub target: Target,
    pub amount: Amount,
}

/// A step that can be done.
#[derive(Debug, Clone)]
pub struct Act {
    pub name: String,
    pub deed: Deed,
    /// Where it does not hold, the step is skipped.
    pub condition: Option<String>,
    pub timeout: Duration,
    pub on_error: OnError,
}

/// What a step does.
#[derive(Debug, Clone)]
pub enum Deed {
    Fault {
        target: String,
        /// Once for each container that is meant; with the names of peers.
        faults: Vec<Fault>,
        lasting: Duration,
    },
    Pods {
        target: String,
        action: PodAction,
        /// In seconds.
        grace: Option<u32>,
        /// How long it may take.
        timeout: Duration,
    },
    Check {
        /// By their names.
        probes: Vec<String>,
        /// How long all of them must hold.
        lasting: Duration,
        /// How long it may take.
        timeout: Duration,
    },
    Wait(Duration),
}

impl Deed {
    /// How long it takes, at most.
    pub fn lasting(&self) -> Duration {
        match self {
            Self::Fault { lasting, .. } | Self::Wait(lasting) => *lasting,
            Self::Pods { timeout, .. } | Self::Check { timeout, .. } => *timeout,
        }
    }

    /// The target whose pods it is about.
    pub fn target(&self) -> Option<&str> {
        match self {
            Self::Fault { target, .. } | Self::Pods { target, .. } => Some(target),
            Self::Check { .. } | Self::Wait(_) => None,
        }
    }
}

impl Act {
    /// Whether the run ends where the step cannot be done.
    pub fn stops_at_errors(&self) -> bool {
        match self.on_error {
            OnError::Halt => true,
            OnError::Continue => false,
        }
    }
}

impl Choice {
    /// Where its pods are, for a run in the namespace `home`.
    pub fn namespaces<'a>(&'a self, home: &'a str) -> Vec<&'a str> {
        match self.target.namespaces.as_slice() {
            [] => vec![home],
            named => named.iter().map(String::as_str).collect(),
        }
    }

    /// Whether pods that go are replaced.
    pub fn is_followed(&self) -> bool {
        match self.target.replaced {
            Replaced::Follow => true,
            Replaced::Drop => false,
        }
    }
}
