//! Decides what becomes of each call, at once or when it is known what its rules ask for.
//!
//! Knows no thread, no clock and no kernel: threads ([`super::workers`], [`super::supervisor`]) call it. Those
//! that receive calls never wait for a look-up; a call that needs one is in the [`Pool`] meanwhile,
//! and is answered by whoever takes it out of there: the worker that has looked it up, or whoever
//! [gives up](Dispatch::tend) on that. Beyond all of this, [`Dispatch::overdue`] lets calls go on that
//! have waited for too long. When two answer one call, the kernel refuses the second.

use std::{
    collections::BTreeSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chaos_ebpf_common::{
    event::{Event, FileId},
    gate::{confirm, decide},
    rule::Action,
    tables::by_command,
};

use super::{
    abi::native_of,
    env::{BoardGround, Files},
    in_flight::{Holder, InFlight},
    listener::{Answers, NotKilled, Notification, Reply},
    lookup::{Found, Question},
    pool::{Asked, Job, Pool},
    rules_reader::{Ruled, RulesReader},
    shared_rules::SharedRules,
};

/// The calls of one target, from their receipt to their answer.
#[derive(Debug)]
pub struct Dispatch {
    /// The process id of the child of `run`, whose calls are not the target's before it executes the
    /// command.
    child: Option<i32>,
    begun: AtomicBool,
    readers: RwLock<Arc<Vec<Arc<RulesReader>>>>,
    /// The agent is gone.
    abandoned: AtomicBool,
    in_flight: Mutex<InFlight>,
    pool: Mutex<Pool<Arc<Request>>>,
    /// There is a request for a worker.
    work: Condvar,
    /// The pool needs care.
    care: Condvar,
}

/// A call that waits for a look-up.
#[derive(Debug)]
pub struct Request {
    pub question: Question,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    /// To ask the rules about it.
    Judge { call: u16, ruled: Vec<Ruled> },
    /// To kill the caller, which is counted as done already.
    Kill { reader: Arc<RulesReader>, slot: u32 },
}

impl Dispatch {
    /// `child` is the process id of `run`'s child, where the target is one.
    pub fn new(child: Option<i32>, all_shared: impl IntoIterator<Item = SharedRules>) -> Self {
        let readers =
            all_shared.into_iter().map(|shared| Arc::new(RulesReader::new(shared))).collect();
        Self {
            child,
            begun: AtomicBool::new(child.is_none()),
            readers: RwLock::new(Arc::new(readers)),
            abandoned: AtomicBool::new(false),
            in_flight: Mutex::default(),
            pool: Mutex::default(),
            work: Condvar::new(),
            care: Condvar::new(),
        }
    }

    /// Judges by the rules that are shared here, too.
    pub fn add(&self, shared: SharedRules) {
        if let Ok(mut readers) = self.readers.write() {
            let still = readers.iter().filter(|reader| !reader.shared.is_closed()).cloned();
            *readers = Arc::new(still.chain([Arc::new(RulesReader::new(shared))]).collect());
        }
    }

    /// From now on every call goes on, those that wait for a look-up, too.
    pub fn abandon(&self, answers: &impl Answers, now: u64) {
        self.abandoned.store(true, Ordering::Release);
        let waiting = self.pool().give_up_all();
        waiting.iter().for_each(|request| self.conclude(answers, request, None, now));
    }

    /// A call was received at this moment of the boot clock (ns). Whether it was overdue before this
    /// returned, so that the calling thread was counted by [`Self::overdue`].
    pub fn received(&self, answers: &impl Answers, call: &Notification, now: u64) -> bool {
        self.in_flight().begin(call.id, now);
        // Whatever goes wrong in here: the caller waits.
        if catch_unwind(AssertUnwindSafe(|| self.begin(answers, call, now))).is_err() {
            self.let_go_on(answers, call.id);
        }
        self.in_flight().is_replaced(call.id)
    }

    fn begin(&self, answers: &impl Answers, notification: &Notification, now: u64) {
        let data = &notification.data;
        let called = u32::try_from(data.nr).unwrap_or(u32::MAX);
        let call = native_of(data.arch, called, data.args[0])
            .and_then(|number| u16::try_from(number).ok())
            .map(|number| by_command(number, data.args[1]))
            .filter(|_| !self.is_abandoned());
        let Some(call) = call else {
            return self.let_go_on(answers, notification.id);
        };
        let ruled: Vec<Ruled> =
            self.readers().iter().filter_map(|reader| reader.ruled(call)).collect();
        if ruled.is_empty() {
            return self.let_go_on(answers, notification.id);
        }
        let begun = !self.has_begun(notification.thread);
        let by_path = ruled.iter().filter(|ruled| ruled.ask_for_files(call, now));
        let under = by_path.flat_map(|ruled| ruled.rules.paths(call.into()));
        let under: BTreeSet<String> = under.map(str::to_owned).collect();
        if begun || !under.is_empty() {
            let under = under.into_iter().collect();
            let question = Question { notification: *notification, begun, under, process: false };
            self.ask(answers, Request { question, purpose: Purpose::Judge { call, ruled } }, now);
        } else {
            self.judge(answers, notification, call, &ruled, &Files::Unasked, now);
        }
    }

    /// Whether the caller is known to be the target; the child of `run` is not before it executes the
    /// command.
    fn has_begun(&self, thread: i32) -> bool {
        self.begun.load(Ordering::Acquire) || {
            let begun = self.child != Some(thread);
            self.begun.fetch_or(begun, Ordering::AcqRel);
            begun
        }
    }

    fn ask(&self, answers: &impl Answers, request: Request, now: u64) {
        self.in_flight().hand_on(request.question.notification.id);
        let asked = self.pool().ask(Arc::new(request), now);
        match asked {
            Ok(Asked::Waits) => self.work.notify_one(),
            Ok(Asked::NeedsCare) => {
                self.work.notify_one();
                self.care.notify_one();
            }
            Err(request) => self.conclude(answers, &request, None, now),
        }
    }

    /// For a worker: waits for a request, but not for longer than this without one.
    pub fn next_request(
        &self,
        clock: impl Fn() -> u64,
        longest: Duration,
    ) -> Option<(Job, Arc<Request>)> {
        let mut pool = self.pool();
        loop {
            if let Some(taken) = pool.take(clock()) {
                return Some(taken);
            }
            pool.rest();
            let waited = self.work.wait_timeout(pool, longest);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            pool = woken;
            let ends = timeout.timed_out() && pool.may_end();
            pool.wake();
            if ends {
                return None;
            }
        }
    }

    /// A worker has come back from a look-up, which may have failed: the request, if somebody still
    /// waits for it. It has to be [concluded](Dispatch::conclude).
    pub fn looked_up(&self, job: Job) -> Option<Arc<Request>> {
        self.pool().done(job)
    }

    /// A worker ends before it has taken a request.
    pub fn not_started(&self, now: u64) {
        self.pool().not_started(now);
    }

    /// Looks after the pool: starts workers (`start` says whether it could), and answers what has
    /// waited for too long.
    pub fn tend(&self, answers: &impl Answers, now: u64, start: impl Fn() -> bool) {
        let starting = self.pool().start();
        for _ in 0..starting {
            if !start() {
                self.not_started(now);
            }
        }
        let late = self.pool().give_up(now);
        late.iter().for_each(|request| self.conclude(answers, request, None, now));
    }

    /// Waits until the pool has to be tended.
    pub fn wait_for_care(&self, now: u64) {
        let mut pool = self.pool();
        if pool.has_to_start() {
            return;
        }
        match pool.calm(now) {
            Some(calm) => drop(self.care.wait_timeout(pool, calm)),
            None => drop(self.care.wait(pool)),
        }
    }

    /// Answers a call by what was found out about it; by nothing, when that took too long or failed.
    pub fn conclude(
        &self,
        answers: &impl Answers,
        request: &Request,
        found: Option<Found>,
        now: u64,
    ) {
        let concluded =
            catch_unwind(AssertUnwindSafe(|| self.try_conclude(answers, request, found, now)));
        if concluded.is_err() {
            self.let_go_on(answers, request.question.notification.id);
        }
    }

    fn try_conclude(
        &self,
        answers: &impl Answers,
        request: &Request,
        found: Option<Found>,
        now: u64,
    ) {
        let Question { notification, begun, under, .. } = &request.question;
        // What was read under a process id is the caller's only if that still waits.
        let is_gone = found.is_some() && !answers.is_valid(notification.id);
        let found = found.filter(|_| !is_gone);
        match &request.purpose {
            Purpose::Kill { reader, slot } => {
                let process = found.and_then(|found| found.process);
                let kill = |process| answers.kill(notification, Some(process)).is_ok();
                if process.is_some_and(kill) {
                    return self.in_flight().end(notification.id);
                }
                reader.take_back(*slot);
                self.let_go_on(answers, notification.id);
            }
            Purpose::Judge { call, ruled } => {
                if *begun && found.as_ref().is_some_and(|found| found.begun) {
                    self.begun.store(true, Ordering::Release);
                }
                let has_begun = self.begun.load(Ordering::Acquire);
                if is_gone || !has_begun || self.is_abandoned() {
                    return self.let_go_on(answers, notification.id);
                }
                let files = match found {
                    _ if under.is_empty() => Files::Unasked,
                    Some(found) => Files::Known(found.paths),
                    None => Files::Unknown,
                };
                self.judge(answers, notification, *call, ruled, &files, now);
            }
        }
    }

    /// Asks the rules, and does what they say.
    fn judge(
        &self,
        answers: &impl Answers,
        notification: &Notification,
        call: u16,
        ruled: &[Ruled],
        files: &Files,
        now: u64,
    ) {
        let event = Event::call(call, FileId::NONE);
        for Ruled { reader, rules } in ruled {
            let ground = BoardGround { shared: &reader.shared, rules, call, files };
            let verdict = decide(&ground, rules.set.id, &event);
            let is_kill = verdict.is(Action::Kill);
            if !is_kill && !verdict.is(Action::Fail) {
                continue;
            }
            // Counted first: the caller may look at the ledger as soon as it has the answer.
            confirm(&ground, &event, &verdict, true);
            let done = if is_kill {
                answers.kill(notification, None)
            } else {
                let reply = Reply::Fail(verdict.errno as i32);
                answers.send(notification.id, reply).map_err(|_| NotKilled::Gone)
            };
            match done {
                Ok(()) => self.in_flight().end(notification.id),
                Err(NotKilled::ProcessUnknown) => {
                    let question = Question {
                        notification: *notification,
                        begun: false,
                        under: Arc::default(),
                        process: true,
                    };
                    let purpose = Purpose::Kill { reader: reader.clone(), slot: verdict.slot };
                    self.ask(answers, Request { question, purpose }, now);
                }
                Err(NotKilled::Gone) => {
                    reader.take_back(verdict.slot);
                    self.let_go_on(answers, notification.id);
                }
            }
            return;
        }
        self.let_go_on(answers, notification.id);
    }

    /// Lets the calls go on that have waited for longer than any may, whatever the reason: how many
    /// threads that receive calls do not come back, as they had one of these.
    pub fn overdue(&self, answers: &impl Answers, now: u64) -> usize {
        let overdue = self.in_flight().overdue(now);
        overdue.iter().for_each(|(id, _)| answers.let_go_on(*id));
        overdue.iter().filter(|(_, holder)| *holder == Holder::Receiver).count()
    }

    fn let_go_on(&self, answers: &impl Answers, id: u64) {
        answers.let_go_on(id);
        self.in_flight().end(id);
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    /// What the calls are judged by.
    pub fn readers(&self) -> Arc<Vec<Arc<RulesReader>>> {
        self.readers.read().map(|readers| readers.clone()).unwrap_or_default()
    }

    fn in_flight(&self) -> MutexGuard<'_, InFlight> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pool(&self) -> MutexGuard<'_, Pool<Arc<Request>>> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
