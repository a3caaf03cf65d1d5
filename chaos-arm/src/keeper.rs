//! Owns the engine on a thread of its own, which does all the work, and only it renews the leases. If it
//! hangs, the leases lapse in the kernel.

use std::{
    collections::BTreeMap,
    io,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use chaos_api::{
    ArmedId, Ended, Engine, Epoch, HaltedSince, Leases, Notice, Withheld, clock::boot_now,
};
use chaos_plan::nanoseconds;
use thiserror::Error;
use tokio::sync::{broadcast, oneshot};

use crate::{audience::Audience, news};

/// Leases are renewed this many times before they would lapse.
const RENEWALS: u32 = 5;

/// The longest time between two looks at the armed targets.
const SLOWEST: Duration = Duration::from_secs(1);

/// For so long orders are done without what nobody waits for: whoever ends a fault does not wait for that as often as
/// there are orders before.
const ORDERS_ALONE: Duration = Duration::from_millis(100);

/// The keeper has stopped: the agent is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the agent is shutting down")]
pub struct KeeperGone;

type Work<E> = Box<dyn FnOnce(&mut E) -> Answer + Send>;
type Answer = Box<dyn FnOnce() + Send>;

enum Order<E> {
    Work(Work<E>),
    /// The named owner is alive; what it armed may go on until this boot-clock moment (ns).
    Tether(String, u64),
    /// The engine has news; tell when it has been looked at.
    News(mpsc::Sender<()>),
    Stop,
}

/// A way to the keeper; clone it freely. When the last one goes, the keeper disarms everything
/// and ends.
pub struct Handle<E> {
    orders: mpsc::Sender<Order<E>>,
    audience: Audience,
    leases: Leases,
}

/// The keeper's thread. Dropping it disarms everything.
pub struct Keeper<E: Engine> {
    handle: Handle<E>,
    thread: Option<thread::JoinHandle<()>>,
}

impl<E: Engine> Keeper<E> {
    /// Starts the thread; `lease` is the engine's.
    pub fn start(engine: E, lease: Duration) -> io::Result<Self> {
        let (orders, received) = mpsc::channel();
        let audience = Audience::default();
        let to_keeper = orders.clone();
        let handle = Handle { orders, audience: audience.clone(), leases: engine.leases() };
        let tick = (lease / RENEWALS).min(SLOWEST);
        let tell = move |seen| to_keeper.send(Order::News(seen)).is_ok();
        let watch = match engine.news() {
            Some(news) => Some(news::watch(news.try_clone_to_owned()?, tell)?),
            None => None,
        };
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            let mut keeping = Keeping { engine, audience, tethers: BTreeMap::new() };
            keeping.keep(&received, tick);
            drop(watch);
            keeping.engine.halt("the agent is shutting down");
            keeping.tell();
        })?;
        Ok(Self { handle, thread: Some(thread) })
    }

    pub fn handle(&self) -> Handle<E> {
        self.handle.clone()
    }
}

impl<E: Engine> Drop for Keeper<E> {
    fn drop(&mut self) {
        // A keeper that is gone already has disarmed everything.
        if self.handle.orders.send(Order::Stop).is_ok()
            && let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the keeper panicked; the kernel detaches when this process ends");
        }
    }
}

impl<E> Clone for Handle<E> {
    fn clone(&self) -> Self {
        let Self { orders, audience, leases } = self;
        Self { orders: orders.clone(), audience: audience.clone(), leases: leases.clone() }
    }
}

impl<E: Engine> Handle<E> {
    /// Has `work` done on the engine and waits for its answer. What is to be told of the work has
    /// been told by then.
    pub async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut E) -> T + Send + 'static,
    ) -> Result<T, KeeperGone> {
        let (answer, answered) = oneshot::channel();
        let work = move |engine: &mut E| -> Answer {
            let done = work(engine);
            // Whoever asked may have gone; the work is done all the same.
            Box::new(move || drop(answer.send(done)))
        };
        self.orders.send(Order::Work(Box::new(work))).map_err(|_| KeeperGone)?;
        answered.await.map_err(|_| KeeperGone)
    }

    /// The epoch of what is asked for at this moment.
    pub fn epoch(&self) -> Epoch {
        self.leases.epoch()
    }

    /// The same as [`Handle::with`], unless everything was halted after this was asked for.
    pub async fn with_since<T: Send + 'static>(
        &self,
        asked: Epoch,
        work: impl FnOnce(&mut E) -> T + Send + 'static,
    ) -> Result<Result<T, HaltedSince>, KeeperGone> {
        let leases = self.leases.clone();
        self.with(move |engine| leases.admit(asked).map(|()| work(engine))).await
    }

    /// Takes all leases away at once, without waiting for the keeper, and has it disarm everything. What was asked
    /// for until now and is not armed yet is not armed any more ([`Handle::with_since`]).
    pub async fn halt(&self, why: String) -> Result<Vec<Ended>, KeeperGone> {
        let withheld = self.leases.halt();
        self.with(move |engine| {
            let ended = engine.halt(&why);
            drop(withheld);
            ended
        })
        .await
    }

    /// Takes all leases away at once, without waiting for the keeper: nothing acts any more for as long as
    /// there is what this gives.
    pub fn withhold(&self) -> Withheld {
        self.leases.withhold()
    }

    /// Says that `owner` is alive: everything armed under an id that begins with `owner:` is
    /// disarmed when this is not said again within `for_as_long_as`, from this call on. What has lapsed is not renewed.
    pub fn tether(&self, owner: &str, for_as_long_as: Duration) -> Result<(), KeeperGone> {
        let until = boot_now().saturating_add(nanoseconds(for_as_long_as));
        let order = Order::Tether(owner.to_owned(), until);
        self.orders.send(order).map_err(|_| KeeperGone)
    }

    /// Everything that happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.audience.subscribe()
    }

    /// What is not armed any more, from now on. Injections, however many, push nothing of it out.
    pub fn subscribe_to_endings(&self) -> broadcast::Receiver<Notice> {
        self.audience.subscribe_to_endings()
    }
}

struct Keeping<E> {
    engine: E,
    audience: Audience,
    /// Boot clock, ns: a machine that was suspended has not heard anybody meanwhile.
    tethers: BTreeMap<String, u64>,
}

impl<E: Engine> Keeping<E> {
    fn keep(&mut self, orders: &mpsc::Receiver<Order<E>>, tick: Duration) {
        let mut next = Instant::now();
        let mut worked = next;
        loop {
            let now = Instant::now();
            if now >= next {
                self.look();
                next = Instant::now() + tick;
            }
            // What nobody waits for is done a little at a time, between orders and looks.
            let wait = match self.engine.has_work() {
                true => Duration::ZERO,
                false => next.saturating_duration_since(now),
            };
            let (is_order, seen) = match orders.recv_timeout(wait) {
                Ok(Order::Work(work)) => {
                    let answer = work(&mut self.engine);
                    self.tell();
                    answer();
                    (true, None)
                }
                Ok(Order::Tether(owner, until)) => {
                    self.end_lost();
                    self.tethers.insert(owner, until);
                    // It may have waited here for too long.
                    self.end_lost();
                    (true, None)
                }
                Ok(Order::News(seen)) => (false, Some(seen)),
                Err(RecvTimeoutError::Timeout) => (false, None),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            if !is_order || worked.elapsed() >= ORDERS_ALONE {
                self.engine.work();
                worked = Instant::now();
            }
            // Whoever waits for that is told by its end.
            drop(seen);
        }
    }

    fn look(&mut self) {
        self.end_lost();
        self.engine.tick();
        self.engine.sample();
        self.tell();
    }

    /// Disarms what belongs to owners that have not been heard of for too long.
    fn end_lost(&mut self) {
        let now = boot_now();
        let lost: Vec<String> =
            self.tethers.extract_if(.., |_, until| *until <= now).map(|(owner, _)| owner).collect();
        let mut over: Vec<(ArmedId, String)> = Vec::new();
        for owner in lost {
            let prefix = format!("{owner}:");
            let why = format!("{owner} has not been heard of for too long");
            let ids = self.engine.ids().filter(|id| id.0.starts_with(&prefix));
            over.extend(ids.map(|id| (id.clone(), why.clone())));
        }
        if !over.is_empty() {
            self.engine.end_all(&over);
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.engine.take_notices().into_iter().for_each(|notice| self.audience.tell(notice));
    }
}

#[cfg(test)]
mod tests;
