//! The thread that holds the frames.

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        mpsc::{Receiver, TryRecvError},
    },
    time::Duration,
};

use chaos_ebpf_common::line::{Reader as Said, Way};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, ppoll},
    sys::{eventfd::EventFd, prctl::set_timerslack, time::TimeSpec},
};

use super::{
    Lost,
    frame::{self, set_way, take_label},
    held::{Held, Queue},
};
use crate::kernel::{KernelError, LineMaps, Tap, boot_now};

/// What the reader is told.
pub(super) enum Order {
    /// Serve this device, too.
    Serve(Tap),
}

/// Most memory that held frames take; what comes then waits in the device.
const MOST_BYTES: usize = 256 << 20;

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
    pub taps: Vec<Tap>,
    pub queue: Queue,
    pub taken: u64,
    pub said_at: u64,
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
    /// Works until there are no more orders to come, and then sends on at once what it holds.
    pub(super) fn run(mut self) -> LineMaps {
        be_punctual();
        if let Err(error) = self.work() {
            tracing::warn!(%error, "the delay line ended: frames are no longer held");
        }
        // Frames pass from here on.
        if let Err(error) = self.maps.say(&Said::default()) {
            tracing::warn!(%error, "programs were not told of the delay line's end");
        }
        self.send_due(u64::MAX);
        self.maps
    }

    fn work(&mut self) -> Result<(), KernelError> {
        let mut buffer = vec![0; frame::LONGEST];
        loop {
            let goes_on = self.obey();
            let is_empty = self.take(&mut buffer)?;
            self.send_due(if goes_on { boot_now() } else { u64::MAX });
            if is_empty && !goes_on {
                return Ok(());
            }
            if is_empty || !self.has_room() {
                self.wait()?;
            }
        }
    }

    /// Whether there are orders to come.
    fn obey(&mut self) -> bool {
        loop {
            match self.orders.try_recv() {
                Ok(Order::Serve(tap)) => self.taps.push(tap),
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
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
        for index in 0..self.taps.len() {
            is_empty &= self.take_from(index, buffer)?;
        }
        if let Some(given) = given {
            // Signed, as both only ever grow.
            if is_empty && given.wrapping_sub(self.taken) as i64 > 0 {
                self.taken = given;
            }
            self.maps.say(&Said {
                beat: now,
                taken: self.taken,
                device: self.device,
                ..Said::default()
            })?;
            self.said_at = now;
        }
        Ok(is_empty)
    }

    /// The same for one device.
    fn take_from(&mut self, index: usize, buffer: &mut [u8]) -> Result<bool, KernelError> {
        for _ in 0..BATCH {
            if !self.has_room() {
                return Ok(false);
            }
            let read = self.taps[index].read(buffer);
            let failed = |source| KernelError::Call { call: "read from the TAP device", source };
            let Some(length) = read.map_err(failed)? else {
                return Ok(true);
            };
            if let Some((label, frame)) = take_label(&buffer[..length]) {
                self.taken = self.taken.wrapping_add(1);
                self.queue.push(Held {
                    due: label.due,
                    tap: index,
                    interface: label.interface,
                    ingress: label.ingress != 0,
                    slot: label.slot,
                    frame,
                });
            }
        }
        Ok(false)
    }

    fn has_room(&self) -> bool {
        self.queue.bytes() < MOST_BYTES
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
        set_way(&mut frame, Way { place, ingress });
        let failed = |source| KernelError::Call { call: "write to the TAP device", source };
        self.taps[tap].write(&frame).map_err(failed)
    }

    /// Waits for frames, for orders, and for the next frame to be due.
    fn wait(&self) -> Result<(), KernelError> {
        let now = boot_now();
        let due = self.queue.next_due().unwrap_or(u64::MAX);
        let timeout = Duration::from_nanos(due.saturating_sub(now).min(LONGEST_WAIT));
        let mut files = vec![PollFd::new(self.wake.as_fd(), PollFlags::POLLIN)];
        if self.has_room() {
            let devices = self.taps.iter();
            files.extend(devices.map(|tap| PollFd::new(tap.as_fd(), PollFlags::POLLIN)));
        }
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
