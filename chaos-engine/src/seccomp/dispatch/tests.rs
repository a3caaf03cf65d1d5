use std::{collections::BTreeMap, os::fd::AsFd, sync::atomic::AtomicUsize};

use chaos_ebpf_common::{
    event::EventKind,
    ledger::Count,
    rule::{ErrnoChoice, MAX_ERRNOS, Rule, RuleSet, Trigger},
};
use nix::libc::seccomp_data;

use super::*;
use crate::seccomp::{
    abi::{ARCH_X86_64, native},
    caller::NamedFile,
    listener::Gone,
    lookup::Paths,
    pool::{MOST_WORKERS, PATIENCE, STUCK},
    rules::{Naming, SupervisorRules},
    under::Under,
};

/// The boot clock of the tests; the rules themselves look at the real one.
const NOW: u64 = 1_000_000_000_000;
const EIO: i32 = 5;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    GoesOn,
    Fails(i32),
    Killed,
}

/// A kernel that knows which calls wait, and refuses a second answer as the real one does.
#[derive(Default)]
struct Kernel {
    answered: Mutex<BTreeMap<u64, Fate>>,
    /// Calls whose caller has gone.
    gone: Mutex<Vec<u64>>,
    /// It kills only by the process.
    is_old: bool,
    /// Answers that were refused.
    refused: AtomicUsize,
}

impl Kernel {
    fn answer(&self, id: u64, fate: Fate) -> Result<(), Gone> {
        if !self.is_valid(id) {
            self.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Gone);
        }
        self.answered.lock().unwrap().insert(id, fate);
        Ok(())
    }

    fn fate(&self, id: u64) -> Option<Fate> {
        self.answered.lock().unwrap().get(&id).copied()
    }
}

impl Answers for Kernel {
    fn send(&self, id: u64, reply: Reply) -> Result<(), Gone> {
        let fate = match reply {
            Reply::Continue => Fate::GoesOn,
            Reply::Fail(errno) => Fate::Fails(errno),
        };
        self.answer(id, fate)
    }

    fn is_valid(&self, id: u64) -> bool {
        self.fate(id).is_none() && !self.gone.lock().unwrap().contains(&id)
    }

    fn kill(&self, call: &Notification, process: Option<i32>) -> Result<(), NotKilled> {
        if self.is_old && process.is_none() {
            return Err(NotKilled::ProcessUnknown);
        }
        self.answer(call.id, Fate::Killed).map_err(|_| NotKilled::Gone)
    }
}

const OPENAT: &str = "openat";
const GETPPID: &str = "getppid";
const THREAD: i32 = 70;

fn call(id: u64, name: &str) -> Notification {
    let nr = native(name).unwrap() as i32;
    let data = seccomp_data { nr, arch: ARCH_X86_64, instruction_pointer: 0, args: [0; 6] };
    Notification { id, thread: THREAD, data }
}

fn rule(slot: u32, action: Action) -> Rule {
    let mut errnos = [ErrnoChoice::default(); MAX_ERRNOS];
    errnos[0] = ErrnoChoice { below: 65_536, errno: EIO as u32 };
    Rule {
        seed: 1,
        not_before: 0,
        deadline: u64::MAX,
        at_most: 0,
        threshold: 0,
        every: 0,
        per_second: 0,
        slot,
        action: action as u8,
        trigger: Trigger::Always as u8,
        shadow: 0,
        errno_count: 1,
        correlation: 0,
        errnos,
    }
}

/// A kernel, a dispatch, and a copy of the shared rules that it judges by.
struct Scene {
    kernel: Kernel,
    dispatch: Dispatch,
    shared: SharedRules,
}

impl Scene {
    /// Rule 0 is about `openat` under /data, rule 1 about `getppid`.
    fn new(child: Option<i32>, action: Action) -> Self {
        let mut set = RuleSet::empty(1);
        set.by_kind[EventKind::Call as usize] = 3;
        set.by_protocol = [3; 4];
        set.by_path = 1;
        let named = |any| Naming { any, ..Naming::default() };
        let mut calls =
            vec![(native(OPENAT).unwrap(), named(1)), (native(GETPPID).unwrap(), named(2))];
        calls.sort_by_key(|(number, _)| *number);
        let rules = vec![rule(0, action), rule(1, action)];
        let under = vec![(0, Under::new("/data"))];
        let shared = SharedRules::create().unwrap();
        shared.publish(&SupervisorRules { set, rules, calls, under }).unwrap();
        shared.lease_until(u64::MAX);
        let copy = SharedRules::open(shared.as_fd().try_clone_to_owned().unwrap()).unwrap();
        Self { kernel: Kernel::default(), dispatch: Dispatch::new(child, [copy]), shared }
    }

    fn receive(&self, id: u64, name: &str, now: u64) -> Option<Fate> {
        self.dispatch.received(&self.kernel, &call(id, name), now);
        self.kernel.fate(id)
    }

    /// Has all workers started that are asked for; none of them takes anything yet.
    fn tend(&self, now: u64) {
        self.dispatch.tend(&self.kernel, now, || true);
    }

    /// A worker takes the next request.
    fn take(&self, now: u64) -> (Job, Arc<Request>) {
        self.dispatch.next_request(|| now, Duration::ZERO).unwrap()
    }

    /// A worker comes back with this.
    fn come_back(&self, job: Job, found: Option<Found>, now: u64) {
        if let Some(request) = self.dispatch.looked_up(job) {
            self.dispatch.conclude(&self.kernel, &request, found, now);
        }
    }

    fn counts(&self, slot: u32) -> Vec<(Count, u64)> {
        let counts: Vec<(Count, u64)> =
            self.shared.counts(slot).into_iter().filter(|(_, number)| *number > 0).collect();
        let of =
            |count| counts.iter().find(|(of, _)| *of == count).map_or(0, |(_, number)| *number);
        let parts: u64 = Count::ALL[1..].iter().map(|count| of(*count)).sum();
        assert_eq!(of(Count::Matched), parts, "{counts:?}");
        counts
    }

    /// No call waits any more.
    fn assert_nobody_waits(&self) {
        assert_eq!(self.dispatch.overdue(&self.kernel, u64::MAX), 0);
        assert!(self.dispatch.pool().give_up_all().is_empty());
    }
}

fn files(file: &str) -> Option<Found> {
    let file = NamedFile { path: file.into(), end: None };
    let paths = Paths { files: vec![file], links: Vec::new() };
    Some(Found { begun: true, paths, process: None })
}

fn later(now: u64, by: Duration) -> u64 {
    now + by.as_nanos() as u64
}

#[test]
fn a_call_about_which_nothing_is_looked_up_is_answered_at_once() {
    let scene = Scene::new(None, Action::Fail);
    assert_eq!(scene.receive(1, GETPPID, NOW), Some(Fate::Fails(EIO)));
    assert_eq!(scene.receive(2, "getpid", NOW), Some(Fate::GoesOn));
    scene.shared.lease_until(0);
    assert_eq!(scene.receive(3, GETPPID, NOW), Some(Fate::GoesOn));
    // Nobody looks at a caller for a rule that can't act.
    assert_eq!(scene.receive(4, OPENAT, NOW), Some(Fate::GoesOn));
    assert_eq!(scene.counts(0), []);
    assert_eq!(scene.counts(1), [(Count::Matched, 2), (Count::Injected, 1), (Count::Lease, 1)]);
    scene.assert_nobody_waits();
}

#[test]
fn a_call_with_a_path_is_answered_by_the_worker_that_looked_it_up() {
    let scene = Scene::new(None, Action::Fail);
    for (id, file, fate) in [(1, "/data/a", Fate::Fails(EIO)), (2, "/database", Fate::GoesOn)] {
        assert_eq!(scene.receive(id, OPENAT, NOW), None);
        scene.tend(NOW);
        let (job, request) = scene.take(NOW);
        let Question { notification, begun, under, .. } = &request.question;
        let asks = !under.is_empty();
        assert_eq!((notification.id, *begun, asks), (id, false, true));
        scene.come_back(job, files(file), NOW);
        assert_eq!(scene.kernel.fate(id), Some(fate));
    }
    assert_eq!(scene.counts(0), [(Count::Matched, 1), (Count::Injected, 1)]);
    scene.assert_nobody_waits();
}

#[test]
fn calls_go_on_while_workers_never_answer_and_late_answers_count_once() {
    let scene = Scene::new(None, Action::Fail);
    scene.receive(1, OPENAT, NOW);
    scene.tend(NOW);
    let (job, _) = scene.take(NOW);
    // Others do not wait for that worker.
    assert_eq!(scene.receive(2, GETPPID, NOW), Some(Fate::Fails(EIO)));
    scene.receive(3, OPENAT, NOW);
    scene.tend(NOW);
    let (other, _) = scene.take(NOW);
    scene.come_back(other, files("/data/a"), NOW);
    assert_eq!(scene.kernel.fate(3), Some(Fate::Fails(EIO)));
    let late = later(NOW, PATIENCE);
    scene.tend(late - 1);
    assert_eq!(scene.kernel.fate(1), None);
    scene.tend(late);
    assert_eq!(scene.kernel.fate(1), Some(Fate::GoesOn));
    let counts = [(Count::Matched, 2), (Count::Injected, 1), (Count::Unfit, 1)];
    assert_eq!(scene.counts(0), counts);
    // It answers at last; nobody is told twice, and nothing is counted twice.
    scene.come_back(job, files("/data/a"), late);
    assert_eq!(scene.counts(0), counts);
    assert_eq!(scene.kernel.refused.load(Ordering::Relaxed), 0);
    scene.assert_nobody_waits();
}

#[test]
fn when_all_workers_are_stuck_calls_go_on_at_once() {
    let scene = Scene::new(None, Action::Fail);
    let most = MOST_WORKERS as u64;
    for id in 0..most {
        scene.receive(id, OPENAT, NOW);
        scene.tend(NOW);
        scene.take(NOW);
    }
    let stuck = later(NOW, STUCK);
    // All are busy: one waits for a worker until they are stuck.
    assert_eq!(scene.receive(most, OPENAT, NOW), None);
    scene.tend(stuck - 1);
    assert_eq!(scene.kernel.fate(most), None);
    scene.tend(stuck);
    assert_eq!(scene.kernel.fate(most), Some(Fate::GoesOn));
    assert_eq!(scene.receive(most + 1, OPENAT, stuck), Some(Fate::GoesOn));
    assert_eq!(scene.receive(most + 2, GETPPID, stuck), Some(Fate::Fails(EIO)));
    scene.tend(later(NOW, PATIENCE));
    assert!((0..most).all(|id| scene.kernel.fate(id) == Some(Fate::GoesOn)));
    assert_eq!(scene.counts(0), [(Count::Matched, most + 2), (Count::Unfit, most + 2)]);
    scene.assert_nobody_waits();
}

#[test]
fn without_threads_calls_go_on() {
    let scene = Scene::new(None, Action::Fail);
    scene.receive(1, OPENAT, NOW);
    scene.dispatch.tend(&scene.kernel, NOW, || false);
    assert_eq!(scene.kernel.fate(1), Some(Fate::GoesOn));
    assert_eq!(scene.receive(2, OPENAT, NOW), Some(Fate::GoesOn));
    scene.assert_nobody_waits();
}

#[test]
fn when_the_agent_is_gone_calls_go_on_and_nothing_is_counted() {
    let scene = Scene::new(None, Action::Fail);
    scene.receive(1, OPENAT, NOW);
    scene.receive(2, OPENAT, NOW);
    scene.tend(NOW);
    let (job, _) = scene.take(NOW);
    scene.dispatch.abandon(&scene.kernel, NOW);
    assert_eq!(
        (1..=2).map(|id| scene.kernel.fate(id)).collect::<Vec<_>>(),
        [Some(Fate::GoesOn); 2]
    );
    scene.come_back(job, files("/data/a"), NOW);
    for (id, name) in [(3, OPENAT), (4, GETPPID)] {
        assert_eq!(scene.receive(id, name, NOW), Some(Fate::GoesOn));
    }
    assert_eq!((scene.counts(0), scene.counts(1)), (vec![], vec![]));
    scene.assert_nobody_waits();
}

/// A worker that has found the answer when the agent goes.
#[test]
fn what_is_found_out_for_an_agent_that_is_gone_is_not_used() {
    let scene = Scene::new(None, Action::Fail);
    scene.receive(1, OPENAT, NOW);
    scene.tend(NOW);
    let (job, _) = scene.take(NOW);
    let request = scene.dispatch.looked_up(job).unwrap();
    scene.dispatch.abandon(&scene.kernel, NOW);
    scene.dispatch.conclude(&scene.kernel, &request, files("/data/a"), NOW);
    assert_eq!(scene.kernel.fate(1), Some(Fate::GoesOn));
    assert_eq!(scene.counts(0), []);
}

/// As if whoever tends the workers had hung, and a receiver.
#[test]
fn whatever_hangs_calls_go_on_after_the_longest_wait() {
    let scene = Scene::new(None, Action::Fail);
    scene.receive(1, OPENAT, NOW);
    scene.tend(NOW);
    let (job, _) = scene.take(NOW);
    scene.dispatch.in_flight().begin(2, NOW);
    let longest = later(NOW, super::super::in_flight::LONGEST);
    assert_eq!(scene.dispatch.overdue(&scene.kernel, longest - 1), 0);
    assert_eq!(scene.dispatch.overdue(&scene.kernel, longest), 1, "one receiver is lost");
    assert_eq!(
        (1..=2).map(|id| scene.kernel.fate(id)).collect::<Vec<_>>(),
        [Some(Fate::GoesOn); 2]
    );
    // The worker comes back: the kernel says that the caller no longer waits.
    scene.come_back(job, files("/data/a"), longest);
    assert_eq!(scene.counts(0), []);
    assert_eq!(scene.dispatch.overdue(&scene.kernel, u64::MAX), 0);
}

/// Between what the worker asks the kernel and its answer another one answers.
#[test]
fn an_answer_that_the_kernel_refuses_is_not_counted_as_injected() {
    let scene = Scene::new(None, Action::Fail);
    scene.kernel.gone.lock().unwrap().push(1);
    scene.receive(1, GETPPID, NOW);
    assert_eq!(scene.counts(1), [(Count::Matched, 1), (Count::Unfit, 1)]);
    scene.receive(2, OPENAT, NOW);
    scene.tend(NOW);
    let (job, _) = scene.take(NOW);
    scene.kernel.gone.lock().unwrap().push(2);
    scene.come_back(job, files("/data/a"), NOW);
    assert_eq!((scene.kernel.fate(2), scene.counts(0)), (None, vec![]));
    scene.assert_nobody_waits();
}

#[test]
fn a_look_up_that_panics_is_one_that_failed() {
    let scene = Scene::new(None, Action::Fail);
    scene.receive(1, OPENAT, NOW);
    scene.tend(NOW);
    let (job, _) = scene.take(NOW);
    scene.come_back(job, None, NOW);
    assert_eq!(scene.kernel.fate(1), Some(Fate::GoesOn));
    assert_eq!(scene.counts(0), [(Count::Matched, 1), (Count::Unfit, 1)]);
}

#[test]
fn the_child_of_run_is_not_the_target_before_it_executes_the_command() {
    let scene = Scene::new(Some(THREAD), Action::Fail);
    let found = |begun| Some(Found { begun, ..Found::default() });
    for (id, answer) in [(1, None), (2, found(false)), (3, found(true))] {
        assert_eq!(scene.receive(id, GETPPID, NOW), None);
        scene.tend(NOW);
        let (job, request) = scene.take(NOW);
        assert!(request.question.begun && request.question.under.is_empty());
        scene.come_back(job, answer, NOW);
    }
    let fates: Vec<_> = (1..=3).map(|id| scene.kernel.fate(id)).collect();
    assert_eq!(fates, [Fate::GoesOn, Fate::GoesOn, Fate::Fails(EIO)].map(Some));
    assert_eq!(scene.receive(4, GETPPID, NOW), Some(Fate::Fails(EIO)));
    // Another process is one that the command has started.
    let scene = Scene::new(Some(THREAD + 1), Action::Fail);
    assert_eq!(scene.receive(1, GETPPID, NOW), Some(Fate::Fails(EIO)));
}

#[test]
fn a_caller_is_killed_by_its_thread_or_by_its_process() {
    let scene = Scene::new(None, Action::Kill);
    assert_eq!(scene.receive(1, GETPPID, NOW), Some(Fate::Killed));
    assert_eq!(scene.counts(1), [(Count::Matched, 1), (Count::Injected, 1)]);
    let mut scene = Scene::new(None, Action::Kill);
    scene.kernel.is_old = true;
    for (id, process) in [(1, Some(60)), (2, None)] {
        assert_eq!(scene.receive(id, GETPPID, NOW), None);
        scene.tend(NOW);
        let (job, request) = scene.take(NOW);
        assert!(request.question.process);
        scene.come_back(job, Some(Found { process, ..Found::default() }), NOW);
    }
    // One never answers.
    scene.receive(3, GETPPID, NOW);
    scene.tend(later(NOW, PATIENCE));
    let fates: Vec<_> = (1..=3).map(|id| scene.kernel.fate(id)).collect();
    assert_eq!(fates, [Fate::Killed, Fate::GoesOn, Fate::GoesOn].map(Some));
    assert_eq!(scene.counts(1), [(Count::Matched, 3), (Count::Injected, 1), (Count::Unfit, 2)]);
    scene.assert_nobody_waits();
}
