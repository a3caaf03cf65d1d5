//! The delay line of a target: a TAP device in each of its network namespaces, and a thread that
//! holds the frames that programs send there until they are due.
//!
//! The devices are files of this process. When it ends, however it ends, they are gone; when it does
//! not work, programs hear nothing from the reader and let frames pass.

mod frame;
mod queue;
mod reader;

use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
};

use chaos_ebpf_common::{
    SLOTS,
    line::{DEVICE_MASK, DEVICES, QUEUE, Reader as Said},
};
use nix::sys::eventfd::{EfdFlags, EventFd};

use self::{
    queue::Queue,
    reader::{Order, Reader},
};
use super::ArmError;
use crate::{
    kernel::{KernelError, LineMaps, Tap, boot_now},
    target::Owner,
};

/// How the names of the devices begin.
const NAME: &str = "chaos-line";
/// How their aliases begin; [`Owner`] writes the rest.
const ALIAS: &str = "chaos-agent-line-";

/// A running delay line. Dropping it sends on at once what it holds.
pub(super) struct DelayLine {
    device: u32,
    /// Inodes of the network namespaces that have a device.
    served: BTreeSet<u64>,
    orders: Option<Sender<Order>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<LineMaps>>,
    lost: Arc<Lost>,
}

impl DelayLine {
    /// Starts the thread, without any device yet.
    pub(super) fn start(mut maps: LineMaps) -> Result<Self, ArmError> {
        let call = |call| move |source| KernelError::Call { call, source };
        let number =
            getrandom::u32().map_err(|error| call("getrandom")(io::Error::other(error)))?;
        let device = DEVICES | number & !DEVICE_MASK;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| call("eventfd")(errno.into()))?;
        let wake = Arc::new(wake);
        let lost = Arc::new(Lost::default());
        let (orders, received) = mpsc::channel();
        let (taken, now) = (maps.given()?, boot_now());
        // So that the first frames find it at work.
        maps.say(&Said { beat: now, taken, device, padding: 0 })?;
        let reader = Reader {
            maps,
            device,
            orders: received,
            wake: wake.clone(),
            lost: lost.clone(),
            taps: Vec::new(),
            queue: Queue::default(),
            taken,
            said_at: now,
        };
        let thread = thread::Builder::new()
            .name("delay-line".to_owned())
            .spawn(|| reader.run())
            .map_err(call("start a thread"))?;
        Ok(Self {
            device,
            served: BTreeSet::new(),
            orders: Some(orders),
            wake,
            thread: Some(thread),
            lost,
        })
    }

    /// Index of its device in every network namespace.
    pub(super) fn device(&self) -> u32 {
        self.device
    }

    /// Makes a device in the calling thread's network namespace, which has this inode, unless there
    /// is one; whether there was none.
    pub(super) fn serve(&mut self, namespace: u64, owner: &Owner) -> Result<bool, ArmError> {
        if self.served.contains(&namespace) {
            return Ok(false);
        }
        let tap = Tap::make(self.device, NAME, &owner.name(ALIAS, 0), QUEUE)?;
        self.order(Order::Serve(tap));
        self.served.insert(namespace);
        Ok(true)
    }

    /// Frames that could not be sent on.
    pub(super) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Sends on what it holds, takes the devices away and gives the maps back; `None` where the
    /// thread has panicked.
    pub(super) fn stop(mut self) -> Option<LineMaps> {
        self.end()
    }

    fn end(&mut self) -> Option<LineMaps> {
        self.orders = None;
        self.wake();
        self.thread.take()?.join().ok()
    }

    fn order(&self, order: Order) {
        // Nobody takes it where the thread has ended: it has said why, and frames pass.
        drop(self.orders.as_ref().map(|orders| orders.send(order)));
        self.wake();
    }

    fn wake(&self) {
        // It fails only where it has been woken 2^64 times.
        let _ = self.wake.write(1);
    }
}

impl Drop for DelayLine {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many frames of each rule were taken to be held and then could not be sent on.
pub(super) struct Lost([AtomicU64; SLOTS]);

impl Default for Lost {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; SLOTS])
    }
}

impl Lost {
    fn add(&self, slot: u8) {
        if let Some(lost) = self.0.get(usize::from(slot)) {
            lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Of the rule that counts in this slot.
    pub(super) fn of(&self, slot: u32) -> u64 {
        self.0.get(slot as usize).map_or(0, |lost| lost.load(Ordering::Relaxed))
    }

    /// Forgets them, for a new rule.
    pub(super) fn reset(&self, slot: u32) {
        if let Some(lost) = self.0.get(slot as usize) {
            lost.store(0, Ordering::Relaxed);
        }
    }
}
