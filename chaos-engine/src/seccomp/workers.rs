//! The threads that look at callers, and the one that tends them.
//!
//! A worker may be lost in the kernel: it then waits for a file system or for memory that the
//! target itself serves, and not even SIGKILL ends it. So it has no descriptor of the supervisor's: a
//! supervisor that is killed must let go of the listener, or calls would wait for a process that no
//! longer answers. A worker takes a copy of the listener when it has come back.

use std::{
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use chaos_api::clock::boot_now;
use nix::{errno::Errno, libc, unistd::getpid};

use super::{
    dispatch::Dispatch,
    handover::{copy_of, pidfd},
    listener::Listener,
    lookup::LookUp,
};

/// How long a worker waits for something to do before it ends.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// Enough for the names of a path of the greatest length.
const STACK: usize = 256 * 1024;

/// Starts the thread that starts workers as they are needed.
pub fn start(
    dispatch: &Arc<Dispatch>,
    listener: &Arc<Listener>,
    look_up: impl LookUp + Send + Sync + 'static,
) -> io::Result<()> {
    let (dispatch, listener, look_up) = (dispatch.clone(), listener.clone(), Arc::new(look_up));
    let tend = move || {
        loop {
            dispatch.wait_for_care(boot_now());
            let start = || {
                let parts = (dispatch.clone(), listener.clone(), look_up.clone());
                let work = move || work(&parts.0, &parts.1, &*parts.2);
                let thread = thread::Builder::new().name("worker".to_owned()).stack_size(STACK);
                thread.spawn(work).is_ok()
            };
            dispatch.tend(&*listener, boot_now(), start);
        }
    };
    thread::Builder::new().name("tends-workers".to_owned()).spawn(tend).map(drop)
}

/// Looks up what is asked, until nothing has been for a while.
fn work(dispatch: &Dispatch, listener: &Listener, look_up: &impl LookUp) {
    let Ok(supervisor) = give_up_descriptors() else {
        return dispatch.not_started(boot_now());
    };
    while let Some((job, request)) = dispatch.next_request(boot_now, LONGEST_REST) {
        let look = AssertUnwindSafe(|| look_up.look_up(&request.question));
        let found = catch_unwind(look).ok();
        let Some(request) = dispatch.looked_up(job) else { continue };
        // Without one, the main thread lets the call go on.
        let Ok(copy) = copy_of(&supervisor, listener.raw()) else { continue };
        dispatch.conclude(&listener.copy(copy), &request, found, boot_now());
    }
}

/// Gives the thread a table of descriptors of its own (kernel 5.9), with nothing in it but what
/// stands for the supervisor's process.
fn give_up_descriptors() -> Result<OwnedFd, Errno> {
    // SAFETY: the descriptors stay open in the table that all other threads share, and this one uses
    // none of them from here on.
    let closed = unsafe {
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
    Errno::result(closed)?;
    pidfd(getpid().as_raw())
}
