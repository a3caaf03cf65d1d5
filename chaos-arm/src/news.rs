//! Tells the keeper when its engine has work that nobody asked for.

use std::{
    io::{self, PipeWriter},
    os::fd::{AsFd, OwnedFd},
    sync::mpsc,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

/// Between two times: a target that makes news all the time does not keep the keeper from others.
const PAUSE: Duration = Duration::from_millis(10);

/// Starts a thread that tells of news, until what this gives is dropped. `tell` takes what ends when the news has been
/// looked at, and says whether there is somebody to look.
pub(crate) fn watch(
    news: OwnedFd,
    tell: impl Fn(mpsc::Sender<()>) -> bool + Send + 'static,
) -> io::Result<PipeWriter> {
    let (ends, end) = io::pipe()?;
    thread::Builder::new().name("news".to_owned()).spawn(move || {
        loop {
            let mut files =
                [news.as_fd(), ends.as_fd()].map(|file| PollFd::new(file, PollFlags::POLLIN));
            match poll(&mut files, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                // The engine is looked at once a tick all the same.
                Err(_) => return,
            }
            if files[1].any() == Some(true) {
                return;
            }
            if files[0].any() == Some(true) {
                let (seen, looked) = mpsc::channel();
                if !tell(seen) {
                    return;
                }
                // It says nothing, and ends.
                let _ = looked.recv();
                thread::sleep(PAUSE);
            }
        }
    })?;
    Ok(end)
}
