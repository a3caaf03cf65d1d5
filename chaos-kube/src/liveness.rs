//! Whether the API server is being heard. What it said last counts for a grace time; after that
//! the keeper disarms, and nothing is armed until everything has been listed anew.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chaos_api::{AgentObserver, Engine, Epoch, Unobserved};
use chaos_arm::Handle;
use kube::Client;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use super::{clock::TimeSource, names::OWNER};

/// A server that says nothing by itself is asked this many times within the grace.
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
    /// The epoch in which the first object changed that nobody has looked at yet.
    found: Mutex<Option<Epoch>>,
    /// Whoever measures the loop.
    pub observer: Arc<dyn AgentObserver>,
}

#[derive(Default)]
struct State {
    current: [bool; Watch::ALL.len()],
    /// When it was heard last; boot clock, ns.
    last: Option<u64>,
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
            found: Mutex::default(),
            observer: Arc::new(Unobserved),
        }
    }

    /// The same, measured by somebody.
    pub fn observed_by(self, observer: Arc<dyn AgentObserver>) -> Self {
        Self { observer, ..self }
    }

    /// An object has changed.
    pub fn note_change(&self) {
        self.found().get_or_insert_with(|| self.handle.epoch());
        self.changed.notify_one();
    }

    /// The epoch of whatever has changed since the last call. Where everything was halted meanwhile, it is not known
    /// what changed before that: all of it counts as such.
    pub fn epoch_of_changes(&self) -> Epoch {
        self.found().take().unwrap_or_else(|| self.handle.epoch())
    }

    /// The server has answered. It counts while every watch is complete and in order: an answer
    /// to something else does not tell what pods ask for. After the grace it does not count either: it may have lain
    /// there for long, if it was this process that hung.
    pub fn heard(&self) {
        let mut state = self.lock();
        if state.current.iter().all(|current| *current) && !self.lapse(&mut state) {
            if state.last.replace(self.clocks.now().boot).is_none() {
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
        let left = self.lock().last.map(|last| self.grace.saturating_sub(self.since(last)));
        match left {
            Some(left) if !left.is_zero() => {
                self.tether(left);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Counts lapses, from the moment of the call on.
    pub fn lapses(&self) -> watch::Receiver<u64> {
        self.lapses.subscribe()
    }

    /// Asks the server for a sign of life, again and again, where the watches have none: with a controller in the cluster
    /// its Lease moves every few seconds, and thousands of nodes need not ask.
    pub async fn keep_asking(&self, client: &Client) -> Infallible {
        let pause = self.grace / QUESTIONS;
        loop {
            if !self.was_heard_within(pause) {
                match timeout(pause, client.apiserver_version()).await {
                    Ok(Ok(_)) => self.heard(),
                    Ok(Err(error)) => tracing::debug!(%error, "the API server refused an answer"),
                    Err(_) => tracing::debug!("the API server did not answer"),
                }
            }
            self.give_up_after_grace();
            sleep(pause).await;
        }
    }

    fn was_heard_within(&self, duration: Duration) -> bool {
        let last = self.lock().last;
        last.is_some_and(|last| self.since(last) < duration)
    }

    fn since(&self, moment: u64) -> Duration {
        Duration::from_nanos(self.clocks.now().boot.saturating_sub(moment))
    }

    pub(super) fn give_up_after_grace(&self) {
        self.lapse(&mut self.lock());
    }

    /// Forgets what the server said, if it was not heard for too long; whether that is so.
    fn lapse(&self, state: &mut State) -> bool {
        let has_lapsed = state.last.is_some_and(|last| self.since(last) >= self.grace);
        if has_lapsed {
            tracing::warn!(grace = ?self.grace, "the API server is not heard; pods are disarmed");
            *state = State::default();
            self.lapses.send_modify(|lapses| *lapses += 1);
        }
        has_lapsed
    }

    fn tether(&self, left: Duration) {
        if let Err(gone) = self.handle.tether(OWNER, left) {
            tracing::debug!(%gone, "no tether");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn found(&self) -> MutexGuard<'_, Option<Epoch>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use chaos_arm::{
        Keeper,
        fake::{FakeEngine, Shared},
    };

    use super::{super::clock::Now, *};

    const GRACE: Duration = Duration::from_secs(30);

    #[test]
    fn what_is_heard_after_the_grace_renews_nothing_until_everything_is_listed_anew() {
        let world = Shared::default();
        let keeper = Keeper::start(FakeEngine::new(world.clone()), GRACE).unwrap();
        let clock = world.clone();
        let clocks = TimeSource::of(move || Now { boot: clock.lock().now, ..Now::read() });
        let liveness = Liveness::new(keeper.handle(), clocks, GRACE);
        let mut lapses = liveness.lapses();
        let list = || Watch::ALL.into_iter().for_each(|watch| liveness.is_current(watch, true));
        let pass = |seconds: u64| world.lock().now += seconds * 1_000_000_000;
        list();
        pass(29);
        liveness.heard();
        pass(29);
        assert!(liveness.may_arm());
        // As an agent that was stopped finds answers of before.
        pass(1);
        liveness.heard();
        assert!(!liveness.may_arm());
        assert!(lapses.has_changed().unwrap());
        lapses.mark_unchanged();
        liveness.heard();
        assert!(!liveness.may_arm());
        list();
        assert!(liveness.may_arm() && !lapses.has_changed().unwrap());
    }
}
