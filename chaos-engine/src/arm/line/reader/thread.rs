//! The thread that holds the frames.

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsFd,
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, Sender, TryRecvError},
    },
    time::Duration,
};

use chaos_api::clock::boot_now;
use chaos_ebpf_common::line::{DEVICE_BYTES, Reader as Said, ReturnTag};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{eventfd::EventFd, prctl::set_timerslack, time::TimeSpec},
};

use super::{
    Lost,
    frame::{self, cost_to_read, header, set_return_tag, take_header},
    held::{Held, Queue, cost},
};
use crate::{
    arm::line::memory::Share,
    kernel::{KernelError, LineMaps, Tap},
};

/// What the reader is told.
pub(super) enum Order {
    /// Serve this device, too, by this number.
    Serve(u64, Tap),
    /// Close the device with this number.
    Forget(u64),
    /// Say that frames may come, and tell when that is done.
    Open(Sender<()>),
}

/// Frames that are read before others are sent.
const BATCH: usize = 256;

/// How long it waits at most, so that programs hear of it several times before they give it up
/// ([`chaos_ebpf_common::line::LONGEST_SILENCE`]).
const LONGEST_WAIT: u64 = 50_000_000;

/// How often it says how it is while it has much to do.
const SAY_EVERY: u64 = 1_000_000;

/// Reads frames, holds them until they are due, and sends them on.
pub(super) struct Reader {
    pub maps: LineMaps,
    pub device: u32,
    /// Closed when the line ends.
    pub orders: Receiver<Order>,
    /// Wakes the reader for an order.
    pub wake: Arc<EventFd>,
    pub lost: Arc<Lost>,
    pub taps: BTreeMap<u64, Tap>,
    /// Takes the numbers of devices that somebody else took away.
    pub gone: Sender<u64>,
    /// Why it ended by itself.
    pub failure: Arc<OnceLock<String>>,
    pub queue: Queue,
    /// What it may hold.
    pub share: Share,
    /// Of its frames.
    pub key: u64,
    pub taken: u64,
    pub said_at: u64,
    /// Whether programs may give it frames.
    pub is_open: bool,
}

/// A timer is otherwise late by 50 µs, and others come first where the processors are busy. Where that
/// cannot be changed (CAP_SYS_NICE), frames are late.
fn be_punctual() {
    let _ = set_timerslack(1);
    // SAFETY: the call takes three integers; 0 is the calling thread (setpriority(2), "C library/kernel
    // differences").
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, -20) };
}

impl Reader {
    /// Works until there are no more orders to come, and then sends on at once what it holds. Gives back
    /// the devices, as each takes a while to close.
    pub(super) fn run(mut self) -> BTreeMap<u64, Tap> {
        be_punctual();
        if let Err(error) = self.work() {
            tracing::warn!(%error, "the delay line ended: frames are no longer held");
            // It is set here alone.
            let _ = self.failure.set(error.to_string());
        }
        // Frames pass from here on.
        if let Err(error) = self.maps.say(&Said::default()) {
            tracing::warn!(%error, "programs were not told of the delay line's end");
        }
        self.send_due(u64::MAX);
        self.taps
    }

    fn work(&mut self) -> Result<(), KernelError> {
        let mut buffer = vec![0; frame::LONGEST];
        loop {
            let goes_on = self.obey()?;
            let is_empty = self.take(&mut buffer)?;
            self.send_due(if goes_on { boot_now() } else { u64::MAX });
            if is_empty && !goes_on {
                return Ok(());
            }
            if is_empty {
                self.wait()?;
            }
        }
    }

    /// Whether there are orders to come.
    fn obey(&mut self) -> Result<bool, KernelError> {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Open(tell)) => {
                    self.is_open = true;
                    self.say(boot_now(), 0)?;
                    // Whoever asked may have given up.
                    let _ = tell.send(());
                }
                Ok(Order::Serve(number, tap)) => drop(self.taps.insert(number, tap)),
                Ok(Order::Forget(number)) => drop(self.taps.remove(&number)),
                Err(TryRecvError::Empty) => return Ok(true),
                Err(TryRecvError::Disconnected) => return Ok(false),
            }
        }
    }

    /// Reads what is there, up to a limit, and says so; whether that was all.
    fn take(&mut self, buffer: &mut [u8]) -> Result<bool, KernelError> {
        let now = boot_now();
        let says = now >= self.said_at + SAY_EVERY;
        // Before reading: what was given until here is read below, or the device has lost it.
        let given = if says { Some(self.maps.given()?) } else { None };
        let mut is_empty = true;
        // It goes from device to device by their numbers, as one may go away on the way.
        let mut next = self.taps.keys().next().copied();
        while let Some(number) = next {
            match self.take_from(number, buffer) {
                Ok(was_empty) => is_empty &= was_empty,
                Err(error) => self.lose(number, &error),
            }
            next = self.taps.range(number + 1..).next().map(|(number, _)| *number);
        }
        if let Some(given) = given {
            // Signed, as both only ever grow.
            if is_empty && given.wrapping_sub(self.taken) as i64 > 0 {
                self.taken = given;
            }
            let on_way = given.wrapping_sub(self.taken) as i64;
            self.say(now, on_way.max(0) as u64)?;
        }
        Ok(is_empty)
    }

    /// Says that it is at work and how much room there is, when so many bytes are on their way to it.
    pub(super) fn say(&mut self, now: u64, on_way: u64) -> Result<(), KernelError> {
        let held = self.queue.bytes();
        let room = self.share.adjust(held + on_way).saturating_sub(held).min(DEVICE_BYTES);
        let &mut Self { taken, key, is_open, .. } = self;
        let device = if is_open { self.device } else { 0 };
        self.said_at = now;
        self.maps.say(&Said { beat: now, taken, room, key, device, ..Said::default() })
    }

    /// Gives up a device that cannot be read: somebody took it away, which may be the target itself in
    /// a network namespace of its own. The others go on. What it held is counted as lost.
    fn lose(&mut self, number: u64, error: &io::Error) {
        tracing::debug!(%error, "a device of the delay line is gone: what it held is lost");
        self.taps.remove(&number);
        // Nobody listens when the line ends.
        let _ = self.gone.send(number);
    }

    /// Reads what is there of one device, up to a limit; whether that was all.
    fn take_from(&mut self, number: u64, buffer: &mut [u8]) -> io::Result<bool> {
        let Some(tap) = self.taps.get(&number) else {
            return Ok(true);
        };
        let now = boot_now();
        for _ in 0..BATCH {
            let Some(length) = tap.read(buffer)? else {
                return Ok(true);
            };
            let read = &buffer[..length];
            let Some(header) = header(read, self.key) else {
                continue;
            };
            self.taken = self.taken.wrapping_add(cost_to_read(read, &header));
            let Some(frame) = take_header(read, &header) else {
                continue;
            };
            // It was on its way in the share of the line, which may have become smaller.
            if self.queue.bytes() + cost(&frame) > self.share.granted() {
                self.lost.add(header.slot());
                continue;
            }
            self.queue.push(Held {
                due: now + header.left(now),
                tap: number,
                interface: header.interface,
                ingress: header.ingress(),
                slot: header.slot(),
                frame,
            });
        }
        Ok(false)
    }

    /// Sends on what is due by then.
    fn send_due(&mut self, until: u64) {
        while let Some(held) = self.queue.pop_due(until) {
            let slot = held.slot;
            if let Err(error) = self.send(held) {
                self.lost.add(slot);
                tracing::debug!(%error, "a held frame was lost");
            }
        }
    }

    fn send(&mut self, held: Held) -> Result<(), KernelError> {
        let Held { tap, interface, ingress, mut frame, .. } = held;
        let place = self.maps.place(interface)?;
        set_return_tag(&mut frame, ReturnTag { place, ingress });
        let failed = |source| KernelError::Call { call: "write to the TAP device", source };
        let gone = || failed(io::Error::from_raw_os_error(libc::ENODEV));
        self.taps.get(&tap).ok_or_else(gone)?.write(&frame).map_err(failed)
    }

    /// Waits for frames, for orders, and for the next frame to be due.
    fn wait(&self) -> Result<(), KernelError> {
        let now = boot_now();
        let due = self.queue.next_due().unwrap_or(u64::MAX);
        let timeout = Duration::from_nanos(due.saturating_sub(now).min(LONGEST_WAIT));
        let mut files = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        let devices = self.taps.values();
        files.extend(devices.map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN)));
        match ppoll(&mut files, Some(TimeSpec::from_duration(timeout)), None) {
            Ok(_) => {}
            Err(Errno::EINTR) => return Ok(()),
            Err(errno) => {
                return Err(KernelError::Call { call: "ppoll", source: errno.into() });
            }
        }
        // It only had to wake us: nothing is there to be read where it did not.
        let _ = self.wake.read();
        Ok(())
    }
}
