//! Measures the agent of a node.

mod reading;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chaos_api::{AgentObserver, Engine, RefusalCause, clock::boot_now};
use chaos_arm::Handle;
use chaos_plan::{KernelFeatures, Support};
use hyper::StatusCode;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::{
    sync::{Mutex as AsyncMutex, mpsc, oneshot},
    time::{sleep, timeout},
};

pub(crate) use self::reading::{Moment, reading};
use crate::{
    faults::Faults,
    server::{Page, Pages},
};

/// The media type of OpenMetrics.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How often closed ledgers are fetched from the keeper, whether somebody scrapes or not.
const CADENCE: Duration = Duration::from_secs(1);

/// Ledgers are read and the page is written no more often than so, however many scrape.
const FRESH: Duration = Duration::from_secs(1);

/// How long a scrape waits for the keeper. After that it says what was known before, and how old the leases are.
const PATIENCE: Duration = Duration::from_secs(4);

/// What is measured of an agent.
pub struct AgentMeter {
    version: &'static str,
    kernel: String,
    /// What the kernel was tried for, and whether it works.
    features: Vec<(String, bool)>,
    faults: Mutex<Faults>,
    took: Histogram,
    refused: [AtomicU64; RefusalCause::ALL.len()],
    /// Boot clock, ns; 0 for never.
    heard: AtomicU64,
    /// The same of the guard's Lease; 0 where there is none.
    guard: AtomicU64,
}

impl AgentMeter {
    /// With series for each pod, or without.
    pub fn new(version: &'static str, kernel: &KernelFeatures, per_pod: bool) -> Self {
        let works = |support: &Support| *support == Support::Works;
        let hooks = kernel.hooks().map(|(hook, support)| (hook.to_string(), works(&support)));
        let backends =
            kernel.backends().map(|(backend, support)| (backend.to_string(), works(&support)));
        let lines = kernel.lines().map(|(line, support)| (line.to_string(), works(&support)));
        Self {
            version,
            kernel: kernel.release.clone(),
            features: hooks.chain(backends).chain(lines).collect(),
            faults: Mutex::new(Faults::new(per_pod)),
            // From a millisecond to half a minute.
            took: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            refused: RefusalCause::ALL.map(|_| AtomicU64::new(0)),
            heard: AtomicU64::new(0),
            guard: AtomicU64::new(0),
        }
    }

    /// For how long the API server has not been heard; `None` where it never was.
    pub fn silence(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Relaxed);
        (heard > 0).then(|| Duration::from_nanos(boot_now().saturating_sub(heard)))
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentObserver for AgentMeter {
    fn armed(&self, took: Duration) {
        self.took.observe(took.as_secs_f64());
    }

    fn refused(&self, cause: RefusalCause) {
        self.refused[cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn heard(&self) {
        self.heard.store(boot_now(), Ordering::Relaxed);
    }

    fn guard_moved(&self, at: Option<u64>) {
        self.guard.store(at.unwrap_or(0), Ordering::Relaxed);
    }
}

/// The page of an agent's metrics.
pub struct AgentPages<E> {
    meter: Arc<AgentMeter>,
    handle: Handle<E>,
    wanted: mpsc::Sender<oneshot::Sender<()>>,
    /// The page as it was written last, and when: it may have megabytes, and those who scrape at the same time share it.
    written: AsyncMutex<Option<(Instant, Page)>>,
    fresh: Duration,
}

impl<E: Engine> AgentPages<E> {
    /// Begins to take ledgers in, from now on.
    pub fn start(meter: Arc<AgentMeter>, handle: Handle<E>) -> Self {
        let (wanted, wants) = mpsc::channel(1);
        // Before anything is armed by whoever starts this.
        let begun = handle.ledgers(false);
        let keeping = keep(meter.clone(), handle.clone(), wants);
        tokio::spawn(async move {
            // Without a keeper the task ends, too.
            drop(begun.await);
            keeping.await;
        });
        Self { meter, handle, wanted, written: AsyncMutex::default(), fresh: FRESH }
    }

    /// The page as it is now.
    async fn write(&self) -> Page {
        if timeout(PATIENCE, self.refresh()).await.is_err() {
            tracing::warn!("the keeper did not answer; metrics are as they were");
        }
        let reading = reading(&self.meter, &Moment::now(), self.handle.lease_age());
        match reading.text() {
            Ok(body) => {
                Page { status: StatusCode::OK, content_type: CONTENT_TYPE, body: body.into() }
            }
            Err(error) => Page::line(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        }
    }

    async fn refresh(&self) {
        let (done, is_done) = oneshot::channel();
        if self.wanted.send(done).await.is_ok() {
            // Without a keeper there is nothing new.
            drop(is_done.await);
        }
    }
}

/// Takes ledgers in for as long as there is a keeper. Only this task does: what it is handed over is in order, and none
/// of it gets lost where somebody does not wait for an answer.
async fn keep<E: Engine>(
    meter: Arc<AgentMeter>,
    handle: Handle<E>,
    mut wants: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut read: Option<Instant> = None;
    loop {
        let want = tokio::select! {
            want = wants.recv() => match want {
                Some(want) => Some(want),
                None => return,
            },
            () = sleep(CADENCE) => None,
        };
        let is_fresh = read.is_some_and(|read| read.elapsed() < FRESH);
        if want.is_none() || !is_fresh {
            let with_armed = want.is_some();
            let Ok(ledgers) = handle.ledgers(with_armed).await else { return };
            if with_armed {
                read = Some(Instant::now());
            }
            meter.faults().take(ledgers, boot_now());
        }
        if let Some(want) = want {
            // Whoever wanted it may have gone.
            let _ = want.send(());
        }
    }
}

impl<E: Engine> Pages for AgentPages<E> {
    async fn page(&self, path: &str) -> Option<Page> {
        if path != "/metrics" {
            return None;
        }
        let mut written = self.written.lock().await;
        if let Some((at, page)) = &*written
            && at.elapsed() < self.fresh
        {
            return Some(page.clone());
        }
        let page = self.write().await;
        *written = Some((Instant::now(), page.clone()));
        Some(page)
    }
}

#[cfg(test)]
mod tests;
