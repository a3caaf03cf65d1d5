//! Shares look-ups out among workers, any of which may never come back from one.
//!
//! Pure: it knows no thread and no clock. A worker that has been at one look-up for longer than
//! [`STUCK`] is stuck and has another one started in its place, up to [`MOST_WORKERS`]. When all of
//! them are stuck, nobody waits any longer; before that, nobody waits longer than [`PATIENCE`].

use std::{collections::VecDeque, time::Duration};

use chaos_plan::nanoseconds;

/// Threads that look up for one supervisor, those that are stuck included.
pub const MOST_WORKERS: usize = 32;

/// How long a call waits for what is looked up for it. Far below the shortest time after which
/// programs take a file system for dead, and far above what a busy disk needs.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// How long a look-up may take before its worker counts as stuck.
pub const STUCK: Duration = Duration::from_millis(100);

/// How often it is looked whether somebody has waited too long: while all workers are busy, while
/// some are.
const OFTEN: Duration = Duration::from_millis(20);
const SOMETIMES: Duration = Duration::from_secs(1);

/// How long no worker is started after one could not be.
const RESPITE: Duration = Duration::from_secs(1);

/// One look-up by one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job(u64);

/// Requests, and the workers that look them up. Moments are nanoseconds of one clock.
#[derive(Debug)]
pub struct Pool<R> {
    waiting: VecDeque<Waiting<R>>,
    looking: Vec<Looking<R>>,
    /// Workers that wait for a request.
    idle: usize,
    /// All workers.
    workers: usize,
    /// Workers that somebody has to start.
    to_start: usize,
    /// Until when none can be started.
    no_more_until: u64,
    jobs: u64,
    /// What `jobs` was when [`Pool::calm`] was last asked.
    seen: u64,
    /// Whether nobody looks after the pool until it [`Asked::NeedsCare`].
    is_alone: bool,
}

#[derive(Debug)]
struct Waiting<R> {
    request: R,
    since: u64,
}

#[derive(Debug)]
struct Looking<R> {
    job: Job,
    /// Since when the worker is at it.
    since: u64,
    /// Since when the request waits.
    asked: u64,
    /// Nothing, when it has been given up.
    request: Option<R>,
}

/// What a request that was taken asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A worker is free for it.
    Waits,
    /// Whoever starts workers and gives up on them has to look.
    NeedsCare,
}

impl<R> Default for Pool<R> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            looking: Vec::new(),
            idle: 0,
            workers: 0,
            to_start: 0,
            no_more_until: 0,
            jobs: 0,
            seen: 0,
            is_alone: true,
        }
    }
}

impl<R: Clone> Pool<R> {
    /// Takes a request; gives it back when nobody would come to it.
    pub fn ask(&mut self, request: R, now: u64) -> Result<Asked, R> {
        if self.is_lost(now) {
            return Err(request);
        }
        self.waiting.push_back(Waiting { request, since: now });
        let was_alone = std::mem::take(&mut self.is_alone);
        if self.waiting.len() <= self.idle + self.to_start {
            return Ok(if was_alone { Asked::NeedsCare } else { Asked::Waits });
        }
        if self.can_grow(now) {
            self.to_start += 1;
        }
        Ok(Asked::NeedsCare)
    }

    /// Whether somebody has to start a worker.
    pub fn has_to_start(&self) -> bool {
        self.to_start > 0
    }

    /// How many workers to start; they count as started.
    pub fn start(&mut self) -> usize {
        let starting = std::mem::take(&mut self.to_start);
        self.workers += starting;
        starting
    }

    /// A worker could not be started.
    pub fn not_started(&mut self, now: u64) {
        self.workers = self.workers.saturating_sub(1);
        self.no_more_until = now + nanoseconds(RESPITE);
    }

    /// A worker begins to wait for a request.
    pub fn rest(&mut self) {
        self.idle += 1;
    }

    /// A worker no longer waits for one.
    pub fn wake(&mut self) {
        self.idle = self.idle.saturating_sub(1);
    }

    /// A worker that has waited for long in vain asks whether it is to end.
    pub fn may_end(&mut self) -> bool {
        let ends = self.waiting.is_empty() && self.idle > 0;
        if ends {
            self.workers = self.workers.saturating_sub(1);
        }
        ends
    }

    /// The next request for a worker that has nothing to do.
    pub fn take(&mut self, now: u64) -> Option<(Job, R)> {
        let Waiting { request, since: asked } = self.waiting.pop_front()?;
        let job = Job(self.jobs);
        self.jobs += 1;
        self.looking.push(Looking { job, since: now, asked, request: Some(request.clone()) });
        Some((job, request))
    }

    /// A worker has come back: its request, if that was not given up meanwhile.
    pub fn done(&mut self, job: Job) -> Option<R> {
        let at = self.looking.iter().position(|looking| looking.job == job)?;
        self.looking.swap_remove(at).request
    }

    /// The requests that nobody is to wait for any longer.
    pub fn give_up(&mut self, now: u64) -> Vec<R> {
        let is_late = |since: u64| now.saturating_sub(since) >= nanoseconds(PATIENCE);
        let looking = self.looking.iter_mut().filter(|looking| is_late(looking.asked));
        let mut late: Vec<R> = looking.filter_map(|looking| looking.request.take()).collect();
        let is_lost = self.is_lost(now);
        while self.waiting.front().is_some_and(|first| is_lost || is_late(first.since)) {
            late.extend(self.waiting.pop_front().map(|waiting| waiting.request));
        }
        late
    }

    /// All requests, as there is nothing left to judge them by.
    pub fn give_up_all(&mut self) -> Vec<R> {
        let looking = self.looking.iter_mut().filter_map(|looking| looking.request.take());
        looking.chain(self.waiting.drain(..).map(|waiting| waiting.request)).collect()
    }

    /// How long nobody has to [`Pool::give_up`]; `None` until a request needs care, when nothing has
    /// been asked since the last time.
    pub fn calm(&mut self, now: u64) -> Option<Duration> {
        if !self.waiting.is_empty() {
            return Some(OFTEN);
        }
        let asked = self.looking.iter().filter(|looking| looking.request.is_some());
        if let Some(oldest) = asked.map(|looking| looking.asked).min() {
            let due = (oldest + nanoseconds(PATIENCE)).saturating_sub(now);
            return Some(Duration::from_nanos(due).clamp(OFTEN, SOMETIMES));
        }
        self.is_alone = self.seen == self.jobs;
        self.seen = self.jobs;
        (!self.is_alone).then_some(SOMETIMES)
    }

    /// Whether every worker that there can be is stuck.
    fn is_lost(&self, now: u64) -> bool {
        let is_stuck =
            |looking: &&Looking<R>| now.saturating_sub(looking.since) >= nanoseconds(STUCK);
        !self.can_grow(now)
            && self.to_start == 0
            && self.looking.iter().filter(is_stuck).count() >= self.workers
    }

    fn can_grow(&self, now: u64) -> bool {
        self.workers + self.to_start < MOST_WORKERS && now >= self.no_more_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: u64 = 1_000_000;
    const LATE: u64 = 2_000 * MILLISECOND;

    /// Asks, and has the workers started that are needed; each takes what there is.
    fn ask(pool: &mut Pool<u64>, request: u64, now: u64) -> Option<Job> {
        pool.ask(request, now).unwrap();
        pool.start();
        let (job, taken) = pool.take(now)?;
        assert_eq!(taken, request);
        Some(job)
    }

    #[test]
    fn an_idle_worker_takes_what_is_asked() {
        let mut pool = Pool::default();
        assert_eq!(pool.calm(0), None);
        assert_eq!(pool.ask(7, 0), Ok(Asked::NeedsCare));
        assert_eq!((pool.start(), pool.start()), (1, 0));
        let (job, request) = pool.take(0).unwrap();
        assert_eq!((request, pool.done(job), pool.done(job)), (7, Some(7), None));
        pool.rest();
        // Whoever looks after it stays a while longer.
        assert_eq!(pool.calm(0), Some(SOMETIMES));
        assert_eq!(pool.ask(8, 1), Ok(Asked::Waits));
        pool.wake();
        assert_eq!(pool.start(), 0);
        let (job, _) = pool.take(1).unwrap();
        assert_eq!(pool.take(1), None);
        pool.done(job);
        pool.rest();
        assert_eq!((pool.calm(1), pool.calm(1)), (Some(SOMETIMES), None));
        assert_eq!(pool.ask(9, 1), Ok(Asked::NeedsCare));
        assert_eq!(pool.start(), 0);
    }

    #[test]
    fn a_worker_that_never_answers_is_given_up_once() {
        let mut pool = Pool::default();
        let job = ask(&mut pool, 7, 0).unwrap();
        assert!(pool.give_up(LATE - 1).is_empty());
        assert_eq!(pool.calm(0), Some(SOMETIMES));
        assert_eq!(pool.calm(LATE - 1), Some(OFTEN));
        assert_eq!(pool.give_up(LATE), [7]);
        assert_eq!((pool.calm(LATE), pool.calm(LATE)), (Some(SOMETIMES), None));
        assert!(pool.give_up(2 * LATE).is_empty());
        // It comes back after all, too late.
        assert_eq!(pool.done(job), None);
        assert!(pool.looking.is_empty());
    }

    #[test]
    fn workers_that_are_stuck_are_replaced_up_to_a_bound_and_then_nobody_waits() {
        let mut pool = Pool::default();
        let jobs: Vec<Job> =
            (0..MOST_WORKERS as u64).map(|at| ask(&mut pool, at, 0).unwrap()).collect();
        // All are busy, none is stuck yet.
        assert_eq!(pool.ask(100, MILLISECOND), Ok(Asked::NeedsCare));
        assert_eq!(pool.start(), 0);
        assert!(pool.give_up(MILLISECOND).is_empty());
        assert_eq!(pool.calm(MILLISECOND), Some(OFTEN));
        // All are stuck: what waits for a worker goes on, and what comes is sent back at once.
        assert_eq!(pool.give_up(100 * MILLISECOND), [100]);
        assert_eq!(pool.ask(101, 100 * MILLISECOND), Err(101));
        // One comes back.
        assert_eq!(pool.done(jobs[3]), Some(3));
        pool.rest();
        pool.calm(100 * MILLISECOND);
        assert_eq!(pool.ask(102, 101 * MILLISECOND), Ok(Asked::Waits));
        assert_eq!(pool.give_up_all().len(), MOST_WORKERS);
    }

    #[test]
    fn without_threads_nobody_waits() {
        let mut pool = Pool::default();
        pool.ask(7, 0).unwrap();
        assert_eq!(pool.start(), 1);
        pool.not_started(0);
        assert_eq!(pool.give_up(0), [7]);
        assert_eq!(pool.ask(8, 0), Err(8));
        assert!(pool.ask(8, 1_000 * MILLISECOND).is_ok());
    }

    #[test]
    fn a_worker_without_work_ends() {
        let mut pool = Pool::default();
        let job = ask(&mut pool, 7, 0).unwrap();
        pool.done(job);
        pool.rest();
        assert_eq!(pool.ask(8, 0), Ok(Asked::Waits));
        assert!(!pool.may_end());
        pool.take(0);
        assert!(pool.may_end());
        assert_eq!(pool.workers, 0);
    }
}
