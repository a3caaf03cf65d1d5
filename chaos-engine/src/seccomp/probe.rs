//! Whether this kernel does all that supervisors need, found by doing it.

use std::{io, os::fd::AsFd, sync::mpsc, thread};

use chaos_plan::Support;
use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use thiserror::Error;

use super::{
    abi::native,
    filter::Filter,
    handover::pidfd,
    install::install,
    listener::{Answers, Listener, Reply},
};

/// A call that nothing else in the thread makes, and what it is answered with.
const CALL: &str = "getpid";
const ANSWER: i32 = libc::EXDEV;

/// What the kernel did not do.
#[derive(Debug, Error)]
enum ProbeError {
    #[error("seccomp(SECCOMP_SET_MODE_FILTER) with a listener: {0}")]
    Install(io::Error),
    #[error("{call}: {source}")]
    Call { call: &'static str, source: io::Error },
    #[error("a call that was answered with errno {ANSWER} returned {0}")]
    Wrong(i64),
    #[error("the listener is not told when the last process with the filter has ended")]
    NoEnd,
}

/// Whether supervisors work here, or what to do about it.
pub fn support() -> Support {
    let Err(error) = probe() else { return Support::Works };
    let remedy = match &error {
        ProbeError::Install(source) if source.raw_os_error() == Some(libc::EACCES) => {
            "grant CAP_SYS_ADMIN: a filter that leaves set-user-ID programs alone takes it"
        }
        ProbeError::Install(source) if source.raw_os_error() == Some(libc::EBUSY) => {
            "this process has a filter with a listener already, and a second one is not possible"
        }
        _ => "kernel 5.9 or newer, built with CONFIG_SECCOMP_FILTER",
    };
    Support::Missing { reason: error.to_string(), remedy: remedy.to_owned() }
}

/// Tries it with a thread that puts a filter on itself and ends with it.
fn probe() -> Result<(), ProbeError> {
    let calls = native(CALL).into_iter().collect();
    let filter = Filter::new(&calls);
    let (offer, offered) = mpsc::channel();
    let thread = thread::spawn(move || -> Result<[i64; 2], ProbeError> {
        let listener = install(&filter).map_err(ProbeError::Install)?;
        // Sent on before anything can wait for an answer.
        drop(offer.send(listener));
        Ok([call(), call()])
    });
    let Ok(listener) = offered.recv() else {
        return match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(ProbeError::NoEnd),
        };
    };
    let failed = |call| move |source: io::Error| ProbeError::Call { call, source };
    let listener = Listener::new(listener).map_err(failed("SECCOMP_GET_NOTIF_SIZES"))?;
    for reply in [Reply::Fail(ANSWER), Reply::Continue] {
        let notification = listener.receive().map_err(failed("SECCOMP_IOCTL_NOTIF_RECV"))?;
        if listener.send(notification.id, reply).is_err() {
            let source = io::Error::last_os_error();
            return Err(ProbeError::Call { call: "SECCOMP_IOCTL_NOTIF_SEND", source });
        }
    }
    let answers = thread.join().map_err(|_| ProbeError::NoEnd)??;
    if answers[0] != -i64::from(ANSWER) || answers[1] <= 0 {
        return Err(ProbeError::Wrong(answers[0]));
    }
    let mut descriptors = [PollFd::new(listener.as_fd(), PollFlags::empty())];
    let told = poll(&mut descriptors, PollTimeout::from(1000u16))
        .map_err(|errno| ProbeError::Call { call: "poll of the listener", source: errno.into() })?;
    if told == 0 {
        return Err(ProbeError::NoEnd);
    }
    pidfd(nix::unistd::getpid().as_raw())
        .map_err(|errno| ProbeError::Call { call: "pidfd_open", source: errno.into() })?;
    Ok(())
}

/// Makes the call; its result as the kernel returns it.
fn call() -> i64 {
    // SAFETY: it has no arguments and always succeeds, unless a filter answers.
    let answer = unsafe { libc::syscall(libc::SYS_getpid) };
    if answer < 0 { -i64::from(nix::errno::Errno::last_raw()) } else { answer }
}
