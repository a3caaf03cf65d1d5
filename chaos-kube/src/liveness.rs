//! Whether the API server is being heard. What it said last counts for a grace time; after that
//! the keeper disarms, and nothing is armed until everything has been listed anew.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use chaos_api::{AgentObserver, Engine, Unobserved};
use chaos_arm::Handle;
use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{clock::TimeSource, names::OWNER};

/// The server is asked this many times within the grace.
const QUESTIONS: u32 = 6;

/// Keeps the pods' tether.
pub(super) struct Liveness<E> {
    handle: Handle<E>,
    clocks: TimeSource,
    grace: Duration,
    state: Mutex<State>,
    /// Counts the lapses; whoever watches lists anew when it changes.
    lapses: watch::Sender<u64>,
    /// Something may have to be done: an object changed, or the server is heard again.
    pub changed: Notify,
    /// Whoever measures the loop.
    pub observer: Arc<dyn AgentObserver>,
}

#[derive(Default)]
struct State {
    current: [bool; Watch::ALL.len()],
    last: Option<Instant>,
}

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    Pods,
    Namespaces,
    /// The guard's Lease, without which it is not known whether the cluster is halted.
    Guard,
}

impl Watch {
    const ALL: [Self; 3] = [Self::Pods, Self::Namespaces, Self::Guard];
}

impl<E: Engine> Liveness<E> {
    pub fn new(handle: Handle<E>, clocks: TimeSource, grace: Duration) -> Self {
        Self {
            handle,
            clocks,
            grace,
            state: Mutex::default(),
            lapses: watch::Sender::new(0),
            changed: Notify::new(),
            observer: Arc::new(Unobserved),
        }
    }

    /// The same, measured by somebody.
    pub fn observed_by(self, observer: Arc<dyn AgentObserver>) -> Self {
        Self { observer, ..self }
    }

    /// The server has answered. It counts while every watch is complete and in order: an answer
    /// to something else does not tell what pods ask for.
    pub fn heard(&self) {
        let mut state = self.lock();
        if state.current.iter().all(|current| *current) {
            if state.last.replace(self.clocks.now().instant).is_none() {
                self.changed.notify_one();
            }
            self.tether(self.grace);
            self.observer.heard();
        }
    }

    /// A watch has listed everything, or has failed.
    pub fn is_current(&self, watch: Watch, is_current: bool) {
        self.lock().current[watch as usize] = is_current;
        if is_current {
            self.heard();
        }
    }

    /// Whether something may be armed now. If so, it is tethered for what is left of the grace.
    pub fn may_arm(&self) -> bool {
        let left = self.lock().last.and_then(|last| self.grace.checked_sub(self.since(last)));
        match left {
            Some(left) if !left.is_zero() => {
                self.tether(left);
                true
            }
            _ => false,
        }
    }

    /// Counts lapses, from the moment of the call on.
    pub fn lapses(&self) -> watch::Receiver<u64> {
        self.lapses.subscribe()
    }

    /// Asks the server for a sign of life, again and again.
    pub async fn keep_asking(&self, client: &Client) -> Infallible {
        let pause = self.grace / QUESTIONS;
        loop {
            match timeout(pause, client.apiserver_version()).await {
                Ok(Ok(_)) => self.heard(),
                Ok(Err(error)) => tracing::debug!(%error, "the API server refused an answer"),
                Err(_) => tracing::debug!("the API server did not answer"),
            }
            self.give_up_after_grace();
            sleep(pause).await;
        }
    }

    fn since(&self, moment: Instant) -> Duration {
        self.clocks.now().instant.saturating_duration_since(moment)
    }

    pub(super) fn give_up_after_grace(&self) {
        let mut state = self.lock();
        if state.last.is_some_and(|last| self.since(last) >= self.grace) {
            tracing::warn!(grace = ?self.grace, "the API server is not heard; pods are disarmed");
            *state = State::default();
            self.lapses.send_modify(|lapses| *lapses += 1);
        }
    }

    fn tether(&self, left: Duration) {
        if let Err(gone) = self.handle.tether(OWNER, left) {
            tracing::debug!(%gone, "no tether");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
