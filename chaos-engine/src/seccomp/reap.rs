//! Waits for processes that nobody else waits for, so that none is left a zombie.

use std::{
    process::Child,
    sync::{
        LazyLock,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

/// How often it is looked whether one has ended. They are few, and nobody waits for that.
const OFTEN: Duration = Duration::from_secs(1);

/// Leads to the thread that waits for all of them.
static PROCESSES: LazyLock<Sender<Child>> = LazyLock::new(|| {
    let (sender, receiver) = channel();
    let wait = move || wait_for_all(&receiver);
    if let Err(error) = thread::Builder::new().name("reaper".to_owned()).spawn(wait) {
        tracing::warn!(%error, "processes of ours stay zombies when they end");
    }
    sender
});

/// Has a process that may still run waited for.
pub fn reap_when_ended(mut process: Child) {
    if is_running(&mut process) {
        // Without the thread nobody can be told; it has said so.
        drop(PROCESSES.send(process));
    }
}

fn wait_for_all(new: &Receiver<Child>) {
    let mut running: Vec<Child> = Vec::new();
    loop {
        let next = match running.is_empty() {
            true => new.recv().map_err(|_| RecvTimeoutError::Disconnected),
            false => new.recv_timeout(OFTEN),
        };
        match next {
            Ok(process) => running.push(process),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        running.retain_mut(is_running);
    }
}

/// Whether a process still runs; if not, it is no zombie after this.
fn is_running(process: &mut Child) -> bool {
    matches!(process.try_wait(), Ok(None))
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command, time::Instant};

    use super::*;

    #[test]
    fn no_zombie_is_left_of_a_process_that_ends_later() {
        let processes = ["0", "0.2"].map(|time| Command::new("sleep").arg(time).spawn().unwrap());
        let ids = processes.each_ref().map(Child::id);
        processes.into_iter().for_each(reap_when_ended);
        let give_up = Instant::now() + Duration::from_secs(60);
        while ids.iter().any(|id| fs::exists(format!("/proc/{id}")).unwrap()) {
            assert!(Instant::now() < give_up, "{ids:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
