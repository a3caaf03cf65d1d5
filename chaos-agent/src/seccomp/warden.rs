//! The warden: a small process of its own that answers the calls of one target.
//!
//! It is one of its own since somebody must answer as long as the target lives: when a listener is
//! closed, the calls that it was told of fail with ENOSYS, and when its owner is stopped, they hang.
//! So an agent that is killed or stopped must not be the one who answers. The warden acts while
//! the agent holds the other end of their socket and renews the lease in the shared memory; from
//! then on it lets every call go on until the last process with the filter has ended, and ends.

use std::{
    fs, io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use chaos_ebpf_common::{
    event::{Event, FileId},
    gate::{decide, settle},
    ledger::Count,
    rule::Action,
};
use nix::{
    errno::Errno,
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{SigSet, Signal},
    },
    unistd::{chdir, setsid},
};

use super::{
    abi::native_of,
    board::Board,
    caller::Caller,
    ground::{BoardGround, Files},
    handover::{Offered, pidfd},
    listener::{Listener, Notification, Reply},
    order::{Order, acknowledge, receive},
    rules::WardenRules,
};

/// Threads that answer: one that waits for a slow file system must not keep the others waiting.
const FEWEST: usize = 2;
const MOST: usize = 8;

/// Answers until nobody can ask any more. `socket` leads to the agent.
pub fn serve(socket: OwnedFd) -> io::Result<()> {
    settle_in()?;
    let Some(post) = take_up(&socket)? else { return Ok(()) };
    let post = Arc::new(post);
    let threads = thread::available_parallelism().map_or(FEWEST, usize::from).clamp(FEWEST, MOST);
    for _ in 0..threads {
        let post = post.clone();
        thread::Builder::new().name("warden".to_owned()).spawn(move || post.answer_all())?;
    }
    for desk in post.desks().iter() {
        desk.board.handover().accept();
    }
    watch(&post, &socket)
}

/// Waits for a listener, and for the rules that hold from its first call on; `None` when there is
/// nobody to answer.
fn take_up(socket: &OwnedFd) -> io::Result<Option<Post>> {
    let mut desks = Vec::new();
    while let Some(order) = receive(socket)? {
        match order {
            Order::Child(board) => {
                let board = Board::open(board).map_err(io::Error::other)?;
                let Some(offered) = board.handover().take()? else { return Ok(None) };
                let listener = Listener::new(offered.listener.try_clone()?)?;
                desks.push(Arc::new(Desk::new(board)));
                return Ok(Some(Post::new(listener, Some(offered), desks)));
            }
            Order::Container(listener) => {
                return Ok(Some(Post::new(Listener::new(listener)?, None, desks)));
            }
            Order::Board(memory) => {
                if let Ok(board) = Board::open(memory) {
                    desks.push(Arc::new(Desk::new(board)));
                    acknowledge(socket);
                }
            }
        }
    }
    Ok(None)
}

/// Out of the reach of what ends or stops the agent: its terminal, its process group, the signals
/// that are sent to every process of a service. Only SIGKILL ends a warden early.
fn settle_in() -> io::Result<()> {
    SigSet::all().thread_block()?;
    // Fails only for the leader of a group, which is out of reach already.
    let _ = setsid();
    // No file system is kept busy by it.
    chdir("/")?;
    prctl::set_name(c"chaos-warden")?;
    // The last to go when memory runs out, where we have the right to ask for that.
    drop(fs::write("/proc/self/oom_score_adj", "-999"));
    Ok(())
}

/// Waits for the agent's orders until the last process with the filter has ended.
fn watch(post: &Post, socket: &OwnedFd) -> io::Result<()> {
    let mut agent = Some(socket);
    loop {
        let mut descriptors = vec![PollFd::new(post.listener.as_fd(), PollFlags::empty())];
        descriptors.extend(agent.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        match poll(&mut descriptors, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let events = |index: usize| -> PollFlags {
            let descriptor = descriptors.get(index).and_then(PollFd::revents);
            descriptor.unwrap_or(PollFlags::empty())
        };
        // Kernel 5.9: nobody has the filter any more.
        if events(0).intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
            return Ok(());
        }
        if let Some(socket) = agent.filter(|_| !events(1).is_empty()) {
            match receive(socket) {
                Ok(Some(Order::Board(memory))) => {
                    if let Ok(board) = Board::open(memory) {
                        post.add(board);
                        acknowledge(socket);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    post.abandoned.store(true, Ordering::Release);
                    agent = None;
                }
            }
        }
    }
}

/// What the threads share.
struct Post {
    listener: Listener,
    /// The child of `run`, until it executes the command.
    child: Option<Offered>,
    begun: AtomicBool,
    desks: RwLock<Arc<Vec<Arc<Desk>>>>,
    /// The agent is gone.
    abandoned: AtomicBool,
}

/// A board and the rules that were last read from it.
struct Desk {
    board: Board,
    rules: RwLock<Option<(u64, Arc<WardenRules>)>>,
}

impl Desk {
    fn new(board: Board) -> Self {
        Self { board, rules: RwLock::new(None) }
    }

    /// The rules in force, or the last ones while they are being changed.
    fn rules(&self) -> Option<Arc<WardenRules>> {
        let generation = self.board.generation();
        let known = self.rules.read().ok()?.clone();
        match known {
            Some((number, rules)) if number == generation => Some(rules),
            known => match self.board.rules() {
                Some((number, rules)) => {
                    let rules = Arc::new(rules);
                    *self.rules.write().ok()? = Some((number, rules.clone()));
                    Some(rules)
                }
                None => known.map(|(_, rules)| rules),
            },
        }
    }
}

impl Post {
    fn new(listener: Listener, child: Option<Offered>, desks: Vec<Arc<Desk>>) -> Self {
        let begun = AtomicBool::new(child.is_none());
        let desks = RwLock::new(Arc::new(desks));
        Self { listener, child, begun, desks, abandoned: AtomicBool::new(false) }
    }

    fn desks(&self) -> Arc<Vec<Arc<Desk>>> {
        self.desks.read().map(|desks| desks.clone()).unwrap_or_default()
    }

    fn add(&self, board: Board) {
        if let Ok(mut desks) = self.desks.write() {
            let still = desks.iter().filter(|desk| !desk.board.is_closed()).cloned();
            *desks = Arc::new(still.chain([Arc::new(Desk::new(board))]).collect());
        }
    }

    fn answer_all(&self) {
        while let Ok(notification) = self.listener.receive() {
            // Whatever goes wrong in here: the caller waits.
            let answered = catch_unwind(AssertUnwindSafe(|| self.answer(&notification)));
            if answered.is_err() {
                self.listener.let_go_on(notification.id);
            }
        }
    }

    fn answer(&self, notification: &Notification) {
        let id = notification.id;
        if self.abandoned.load(Ordering::Acquire) || !self.has_begun(notification.thread) {
            self.listener.let_go_on(id);
            return;
        }
        let data = &notification.data;
        let called = u32::try_from(data.nr).unwrap_or(u32::MAX);
        let Some(number) = native_of(data.arch, called, data.args[0])
            .and_then(|number| u16::try_from(number).ok())
        else {
            self.listener.let_go_on(id);
            return;
        };
        let event = Event::call(number, FileId::NONE);
        let files = Files::new(|| self.files(notification));
        for desk in self.desks().iter() {
            let Some(rules) = desk.rules() else { continue };
            let ground = BoardGround { board: &desk.board, rules: &rules, files: &files };
            let verdict = decide(&ground, &event);
            let reply = if verdict.is(Action::Fail) {
                Reply::Fail(verdict.errno as i32)
            } else if verdict.is(Action::Kill) {
                Reply::Continue
            } else {
                continue;
            };
            // Counted first: the caller may look at the ledger as soon as it has the answer.
            settle(&ground, &event, &verdict, true);
            let done = if verdict.is(Action::Kill) {
                self.kill(notification)
            } else {
                self.listener.send(id, reply).is_ok()
            };
            if !done {
                desk.board.count(verdict.slot, Count::Injected, -1);
                desk.board.count(verdict.slot, Count::Unfit, 1);
            }
            return;
        }
        self.listener.let_go_on(id);
    }

    /// Whether the caller is the target; the child of `run` is not before it executes the
    /// command.
    fn has_begun(&self, thread: i32) -> bool {
        if self.begun.load(Ordering::Acquire) {
            return true;
        }
        let Some(child) = &self.child else { return true };
        let begun = child.pid != thread || child.has_begun();
        self.begun.fetch_or(begun, Ordering::AcqRel);
        begun
    }

    fn files(&self, notification: &Notification) -> Vec<Vec<u8>> {
        let files = Caller::new(notification.thread).map(|caller| caller.files(&notification.data));
        // What was read under a process id is the caller's only if that still waits.
        files.filter(|_| self.listener.is_valid(notification.id)).unwrap_or_default()
    }

    /// Kills the caller's process. The call is never answered: nobody waits for that.
    fn kill(&self, notification: &Notification) -> bool {
        let killed = process_of(notification.thread)
            .and_then(|process| pidfd(process).ok())
            .filter(|_| self.listener.is_valid(notification.id))
            .is_some_and(|process| send_kill(&process).is_ok());
        if !killed {
            self.listener.let_go_on(notification.id);
        }
        killed
    }
}

/// The process that a thread belongs to.
fn process_of(thread: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

/// `pidfd_send_signal` of SIGKILL (kernel 5.1).
fn send_kill(process: &OwnedFd) -> Result<(), Errno> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the kernel makes the information up where none is given.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            Signal::SIGKILL as i32,
            info,
            0,
        )
    };
    Errno::result(answer).map(drop)
}
