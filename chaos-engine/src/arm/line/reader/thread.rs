//! The thread that holds the frames of all lines.

use std::{
    collections::BTreeMap,
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    time::Duration,
};

use chaos_api::clock::boot_now;
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{
        epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout},
        eventfd::EventFd,
        prctl::set_timerslack,
        time::TimeSpec,
    },
};

use super::{frame, line::Line};
use crate::kernel::{KernelError, Tap};

/// What the thread is told.
pub(super) enum Order {
    /// Serve this line, too, by this number.
    Start { number: u32, line: Box<Line> },
    /// Serve this device of the line, too, by this number.
    Serve { line: u32, number: u32, tap: Tap },
    /// Close the device with this number.
    Forget { line: u32, number: u32 },
    /// Say that frames may come, and tell when that is done.
    Open { line: u32, tell: Sender<()> },
    /// Send on what the line holds, and give its devices back.
    End { line: u32 },
}

/// How long it waits at most while there is a line, so that programs hear of it several times before they give it up
/// ([`chaos_ebpf_common::line::LONGEST_SILENCE`]).
const LONGEST_WAIT: u64 = 50_000_000;

/// How often it says that it is at work while it has much to do (ns).
const BEAT_EVERY: u64 = 1_000_000;

/// How often it looks at lines that have nothing (ns).
const TEND_IDLE_EVERY: u64 = 500_000_000;

/// Devices that it is told of in one look.
const READY: usize = 64;

/// Serves the lines, one after the other.
pub(super) struct Reader {
    /// Closed when nobody needs it any more.
    orders: Receiver<Order>,
    /// Wakes it for an order.
    wake: Arc<EventFd>,
    lines: BTreeMap<u32, Box<Line>>,
    /// Tells which devices have frames.
    devices: Epoll,
    /// The boot-clock moment (ns) at which it said last that it is at work.
    beat_at: u64,
    /// That at which it looked at all lines.
    tended_at: u64,
    buffer: Vec<u8>,
}

/// A timer is otherwise late by 50 µs, and others come first where the processors are busy. Where that
/// cannot be changed (CAP_SYS_NICE), frames are late.
fn be_punctual() {
    let _ = set_timerslack(1);
    // SAFETY: the call takes three integers; 0 is the calling thread (setpriority(2), "C library/kernel
    // differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

fn failed(call: &'static str) -> impl Fn(Errno) -> KernelError {
    move |errno| KernelError::Call { call, source: errno.into() }
}

impl Reader {
    pub(super) fn new(orders: Receiver<Order>, wake: Arc<EventFd>) -> Result<Self, KernelError> {
        Ok(Self {
            orders,
            wake,
            lines: BTreeMap::new(),
            devices: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
                .map_err(failed("epoll_create1"))?,
            beat_at: 0,
            tended_at: 0,
            buffer: vec![0; frame::LONGEST],
        })
    }

    /// Works until there are no more orders to come, and then sends on at once what it holds.
    pub(super) fn run(mut self) {
        be_punctual();
        while self.obey() {
            if let Err(error) = self.work() {
                self.lines.values_mut().for_each(|line| line.fail(&error));
            }
            self.see_off();
        }
    }

    /// Does what it is told; whether there is something to do.
    fn obey(&mut self) -> bool {
        let mut goes_on = true;
        while goes_on {
            // Without a line, there is nothing else to wait for.
            let order = match self.lines.is_empty() {
                true => self.orders.recv().map_err(|_| TryRecvError::Disconnected),
                false => self.orders.try_recv(),
            };
            match order {
                Ok(order) => self.follow(order),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => goes_on = false,
            }
        }
        self.lines.values_mut().for_each(|line| line.close());
        !self.lines.is_empty()
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Start { number, line } => drop(self.lines.insert(number, line)),
            Order::Serve { line: of, number, tap } => {
                let Some(line) = self.lines.get_mut(&of) else { return };
                let event = EpollEvent::new(EpollFlags::EPOLLIN, token(of, number));
                match self.devices.add(&tap, event).map_err(failed("epoll_ctl")) {
                    Ok(()) => drop(line.taps.insert(number, tap)),
                    Err(error) => line.fail(&error),
                }
            }
            Order::Forget { line, number } => {
                if let Some(line) = self.lines.get_mut(&line) {
                    line.taps.remove(&number);
                }
            }
            Order::Open { line, tell } => {
                self.make_room(line);
                // Whoever asked may have given up.
                let _ = tell.send(());
            }
            Order::End { line } => {
                if let Some(line) = self.lines.get_mut(&line) {
                    line.close();
                }
            }
        }
    }

    /// Opens a line, after the others have given up what they do not need.
    fn make_room(&mut self, opened: u32) {
        let now = boot_now();
        self.beat(now);
        let others = self.lines.iter_mut().filter(|(number, _)| **number != opened);
        for (_, line) in others {
            if let Err(error) = line.tend(now, &mut self.buffer) {
                line.fail(&error);
            }
        }
        if let Some(line) = self.lines.get_mut(&opened)
            && let Err(error) = line.open(now)
        {
            line.fail(&error);
        }
    }

    /// Reads what has come and sends on what is due; waits where there is neither.
    fn work(&mut self) -> Result<(), KernelError> {
        let mut ready = [EpollEvent::empty(); READY];
        let count = match self.devices.wait(&mut ready, EpollTimeout::ZERO) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(failed("epoll_wait")(errno)),
        };
        let now = boot_now();
        for event in &ready[..count] {
            let (line, number) = device(event.data());
            if let Some(line) = self.lines.get_mut(&line) {
                line.take(number, now, &mut self.buffer);
            }
        }
        let now = boot_now();
        if now >= self.beat_at + BEAT_EVERY {
            self.beat(now);
        }
        let tends_idle = now >= self.tended_at + TEND_IDLE_EVERY;
        if tends_idle {
            self.tended_at = now;
        }
        let mut next = now + LONGEST_WAIT;
        for line in self.lines.values_mut() {
            line.send_due(now);
            if (tends_idle || !line.is_idle())
                && let Err(error) = line.tend(now, &mut self.buffer)
            {
                line.fail(&error);
            }
            next = next.min(line.next_due().unwrap_or(u64::MAX));
        }
        if count == 0 { self.wait(next) } else { Ok(()) }
    }

    /// Says that it is at work, to the programs of all lines.
    fn beat(&mut self, now: u64) {
        // All lines of a process have the same programs.
        let Some(line) = self.lines.values_mut().next() else { return };
        self.beat_at = now;
        if let Err(error) = line.maps.beat(now) {
            line.fail(&error);
        }
    }

    /// Lets lines go that have ended.
    fn see_off(&mut self) {
        let (now, buffer) = (boot_now(), &mut self.buffer);
        for (_, line) in self.lines.extract_if(.., |_, line| line.is_over(now, buffer)) {
            for tap in line.taps.values() {
                // It is closed soon, and then not watched any more either.
                let _ = self.devices.delete(tap);
            }
            line.give_back();
        }
    }

    /// Waits for frames, for orders, and until this moment (boot clock, ns).
    fn wait(&self, until: u64) -> Result<(), KernelError> {
        let timeout = Duration::from_nanos(until.saturating_sub(boot_now()));
        let mut files = [
            PollFd::new(self.wake.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.devices.0.as_fd(), PollFlags::POLLIN),
        ];
        match ppoll(&mut files, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed("ppoll")(errno)),
        }
        // It only had to wake us: nothing is there to be read where it did not.
        let _ = self.wake.read();
        Ok(())
    }
}

/// What the kernel is given to name a device of a line.
fn token(line: u32, number: u32) -> u64 {
    u64::from(line) << 32 | u64::from(number)
}

fn device(token: u64) -> (u32, u32) {
    ((token >> 32) as u32, token as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_known_by_its_token() {
        for named in [(0, 0), (0, u32::MAX), (7, 1), (u32::MAX, 3)] {
            assert_eq!(device(token(named.0, named.1)), named);
        }
    }
}
