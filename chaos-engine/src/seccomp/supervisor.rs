//! The supervisor: a small process of its own that answers the calls of one target.
//!
//! It is one of its own since somebody must answer as long as the target lives: when a listener is
//! closed, the calls that it was told of fail with ENOSYS, and when its owner is stopped, they hang.
//! So an agent that is killed or stopped must not be the one who answers. The supervisor acts while
//! the agent holds the other end of their socket and renews the lease in the shared memory; from
//! then on it lets every call go on until the last process with the filter has ended, and ends.
//!
//! | threads | what they do | what they never do |
//! |---|---|---|
//! | *receivers* | take calls from the kernel; answer those about which nothing has to be looked up | wait; look at a caller |
//! | [workers] | look at callers, and answer | promise to come back |
//! | one that *tends* the workers | starts them; answers what they take too long for | wait for one; look at a caller |
//! | the main thread | takes orders; lets calls go on that have waited for too long | decide; look at a caller |

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicIsize, Ordering},
    },
    thread,
};

use chaos_api::clock::boot_now;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{prctl, signal::SigSet},
    unistd::{chdir, setsid},
};

use super::{
    dispatch::Dispatch,
    handover::Child,
    listener::Listener,
    lookup::AtCaller,
    order::{Order, acknowledge, receive},
    shared_rules::SharedRules,
    workers,
};

/// Threads that receive calls.
const FEWEST: usize = 2;
const MOST: usize = 8;

/// How often it is looked whether calls have waited for too long, in milliseconds.
const OFTEN: u16 = 1000;

/// So many receivers may be lost at a time. When there are more, the supervisor has a bug, and decides
/// nothing from then on.
const MOST_LOST: isize = 8;

/// Answers until nobody can ask any more. `socket` leads to the agent.
pub fn serve(socket: OwnedFd) -> io::Result<()> {
    settle_in()?;
    let Some(Assignment { listener, child, all_shared }) = receive_assignment(&socket)? else {
        return Ok(());
    };
    let listener = Arc::new(listener);
    let dispatch = Arc::new(Dispatch::new(child.map(|child| child.pid), all_shared));
    let threads = thread::available_parallelism().map_or(FEWEST, usize::from).clamp(FEWEST, MOST);
    // One that comes back may say so before it was counted.
    let lost = Arc::new(AtomicIsize::new(0));
    for _ in 0..threads {
        start_receiver(&dispatch, &listener, &lost)?;
    }
    workers::start(&dispatch, &listener, AtCaller::new(child))?;
    for reader in dispatch.readers().iter() {
        reader.shared.handover().accept();
    }
    watch(&dispatch, &listener, &socket, &lost)
}

/// Whom the supervisor answers, and by which shared rules.
struct Assignment {
    listener: Listener,
    /// The child of `run`.
    child: Option<Child>,
    all_shared: Vec<SharedRules>,
}

/// Waits for a listener, and for the rules that hold from its first call on; `None` when there is
/// nobody to answer.
fn receive_assignment(socket: &OwnedFd) -> io::Result<Option<Assignment>> {
    let mut all_shared = Vec::new();
    while let Some(order) = receive(socket)? {
        match order {
            Order::Child(shared) => {
                let shared = SharedRules::open(shared).map_err(io::Error::other)?;
                let Some(offered) = shared.handover().take()? else { return Ok(None) };
                let listener = Listener::new(offered.listener)?;
                all_shared.push(shared);
                return Ok(Some(Assignment { listener, child: Some(offered.child), all_shared }));
            }
            Order::Container(listener) => {
                let listener = Listener::new(listener)?;
                return Ok(Some(Assignment { listener, child: None, all_shared }));
            }
            Order::SharedRules(memory, number) => {
                if let Ok(shared) = SharedRules::open(memory) {
                    all_shared.push(shared);
                    acknowledge(socket, number);
                }
            }
        }
    }
    Ok(None)
}

/// Out of the reach of what ends or stops the agent: its terminal, its process group, the signals
/// that are sent to every process of a service. Only SIGKILL ends a supervisor early.
fn settle_in() -> io::Result<()> {
    SigSet::all().thread_block()?;
    // Fails only for the leader of a group, which is out of reach already.
    let _ = setsid();
    // No file system is kept busy by it.
    chdir("/")?;
    prctl::set_name(c"chaos-supervise")?;
    // The last to go when memory runs out, where we have the right to ask for that.
    drop(fs::write("/proc/self/oom_score_adj", "-999"));
    Ok(())
}

/// Starts a thread that receives calls. One that has been away for too long, and was counted among the
/// `lost`, ends when it comes back: another one is in its place.
fn start_receiver(
    dispatch: &Arc<Dispatch>,
    listener: &Arc<Listener>,
    lost: &Arc<AtomicIsize>,
) -> io::Result<()> {
    let (dispatch, listener, lost) = (dispatch.clone(), listener.clone(), lost.clone());
    let receive_all = move || {
        while let Ok(notification) = listener.receive() {
            if dispatch.received(&*listener, &notification, boot_now()) {
                lost.fetch_sub(1, Ordering::Relaxed);
                break;
            }
        }
    };
    thread::Builder::new().name("receiver".to_owned()).spawn(receive_all).map(drop)
}

/// Obeys the agent, and sees to it that no call waits for too long, until the last process with the
/// filter has ended.
fn watch(
    dispatch: &Arc<Dispatch>,
    listener: &Arc<Listener>,
    socket: &OwnedFd,
    lost: &Arc<AtomicIsize>,
) -> io::Result<()> {
    let mut agent = Some(socket);
    loop {
        let mut descriptors = vec![PollFd::new(listener.as_fd(), PollFlags::empty())];
        descriptors.extend(agent.map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
        match poll(&mut descriptors, PollTimeout::from(OFTEN)) {
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
                Ok(Some(Order::SharedRules(memory, number))) => {
                    if let Ok(shared) = SharedRules::open(memory) {
                        dispatch.add(shared);
                        acknowledge(socket, number);
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => {
                    dispatch.abandon(&**listener, boot_now());
                    agent = None;
                }
            }
        }
        for _ in 0..dispatch.overdue(&**listener, boot_now()) {
            if lost.fetch_add(1, Ordering::Relaxed) >= MOST_LOST {
                dispatch.abandon(&**listener, boot_now());
            }
            // Where there can be none, those that are left go on.
            drop(start_receiver(dispatch, listener, lost));
        }
    }
}
