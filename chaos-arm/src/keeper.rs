//! Owns the engine on a thread of its own, which does all the work, and only it renews the leases. If it
//! hangs, the leases lapse in the kernel.

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use chaos_api::{
    ArmedId, Ended, Engine, Epoch, HaltedSince, Leases, Ledgers, Notice, Withheld, clock::boot_now,
};
use chaos_plan::nanoseconds;
use thiserror::Error;
use tokio::sync::{broadcast, oneshot};

use crate::{audience::Audience, closed::ClosedLedgers, news};

/// Leases are renewed this many times before they would lapse.
const RENEWALS: u32 = 5;

/// The longest time between two looks at the armed targets.
const SLOWEST: Duration = Duration::from_secs(1);

/// While orders keep coming, background work (`Engine::work`) is put off by at most this long: otherwise an order would wait
/// for a piece of it for each order ahead of it.
const WORK_PUT_OFF: Duration = Duration::from_millis(100);

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
    /// Hand over what was closed, and the ledgers of what is armed if that is wanted.
    Ledgers {
        with_armed: bool,
        answer: oneshot::Sender<Ledgers>,
    },
    Stop,
}

/// A way to the keeper; clone it freely. When the last one goes, the keeper disarms everything
/// and ends.
pub struct Handle<E> {
    orders: mpsc::Sender<Order<E>>,
    audience: Audience,
    leases: Leases,
    /// When the leases were renewed last; boot clock, ns.
    renewed: Arc<AtomicU64>,
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
        let renewed = Arc::new(AtomicU64::new(boot_now()));
        let handle = Handle {
            orders,
            audience: audience.clone(),
            leases: engine.leases(),
            renewed: renewed.clone(),
        };
        let tick = (lease / RENEWALS).min(SLOWEST);
        let tell = move |seen| to_keeper.send(Order::News(seen)).is_ok();
        let watch = match engine.news() {
            Some(news) => Some(news::watch(news.try_clone_to_owned()?, tell)?),
            None => None,
        };
        let thread = thread::Builder::new().name("keeper".to_owned()).spawn(move || {
            let (tethers, closed) = (BTreeMap::new(), None);
            let mut keeping = Keeping { engine, audience, tethers, renewed, closed };
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
        let Self { orders, audience, leases, renewed } = self;
        Self {
            orders: orders.clone(),
            audience: audience.clone(),
            leases: leases.clone(),
            renewed: renewed.clone(),
        }
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

    /// What was counted until this moment: the ledgers that were closed since they were handed over before, and if
    /// `with_armed` is set also those of what is armed. Closed ledgers are kept from the first call on: whoever calls
    /// this goes on calling it, and is the only one.
    pub fn ledgers(
        &self,
        with_armed: bool,
    ) -> impl Future<Output = Result<Ledgers, KeeperGone>> + Send + use<E> {
        let (answer, answered) = oneshot::channel();
        // Asked at once, not when the answer is first waited for.
        let asked = self.orders.send(Order::Ledgers { with_armed, answer });
        let asked = asked.map_err(|_| KeeperGone);
        async move {
            asked?;
            answered.await.map_err(|_| KeeperGone)
        }
    }

    /// For how long the leases have not been renewed. The keeper need not answer for that.
    pub fn lease_age(&self) -> Duration {
        let renewed = self.renewed.load(Ordering::Relaxed);
        Duration::from_nanos(boot_now().saturating_sub(renewed))
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
    renewed: Arc<AtomicU64>,
    /// Once somebody has asked for them.
    closed: Option<ClosedLedgers>,
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
                Ok(Order::Ledgers { with_armed, answer }) => {
                    // Whoever asked may have gone, and with it the agent.
                    drop(answer.send(self.ledgers(with_armed)));
                    (true, None)
                }
                Err(RecvTimeoutError::Timeout) => (false, None),
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
            };
            if !is_order || worked.elapsed() >= WORK_PUT_OFF {
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
        self.renewed.store(boot_now(), Ordering::Relaxed);
        self.engine.sample();
        self.tell();
    }

    /// Disarms what belongs to owners that have not been heard of for too long.
    fn end_lost(&mut self) {
        let now = boot_now();
        // They stay: what such an owner arms late ends as well, until it is heard of again.
        let lost = self.tethers.iter().filter(|(_, until)| **until <= now);
        let lost: Vec<String> = lost.map(|(owner, _)| owner.clone()).collect();
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
        let replaced = self.engine.take_replaced();
        let notices = self.engine.take_notices();
        if let Some(closed) = &mut self.closed {
            // What was replaced belongs to targets that may have ended since.
            replaced.into_iter().for_each(|report| closed.replaced(report));
            notices.iter().for_each(|notice| closed.heard(notice));
        }
        notices.into_iter().for_each(|notice| self.audience.tell(notice));
    }

    fn ledgers(&mut self, with_armed: bool) -> Ledgers {
        self.tell();
        let mut ledgers = self.closed.get_or_insert_default().take();
        ledgers.armed = with_armed.then(|| {
            let read = |id: &ArmedId| {
                let report = self.engine.report(id)?;
                let report = report.inspect_err(|error| {
                    tracing::warn!(%id, %error, "the ledger was not read");
                });
                Some((id.clone(), report.ok()))
            };
            self.engine.ids().filter_map(read).collect()
        });
        ledgers
    }
}

#[cfg(test)]
mod tests;
