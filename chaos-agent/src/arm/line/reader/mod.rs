//! A thread that holds frames, behind a TAP device in each network namespace of the target.
//!
//! The devices are files of this process. When it ends, however it ends, they are gone; when it does
//! not work, programs hear nothing from the reader and let frames pass.

mod frame;
mod held;
mod thread;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
};

use chaos_ebpf_common::line::{QUEUE, Reader as Said};
use nix::sys::eventfd::{EfdFlags, EventFd};

use self::{
    held::Queue,
    thread::{Order, Reader},
};
use super::{ALIAS, Lost, NAME, random_device};
use crate::{
    arm::ArmError,
    kernel::{Instance, KernelError, LineMaps, Link, Naming, Tap, boot_now},
    plan::Line,
    target::Owner,
};

/// A running reader. Dropping it sends on at once what it holds.
pub(in crate::arm) struct ReaderLine {
    device: u32,
    /// By inode of the network namespace: what sends frames on that come back.
    served: BTreeMap<u64, Link>,
    orders: Option<Sender<Order>>,
    wake: Arc<EventFd>,
    thread: Option<JoinHandle<LineMaps>>,
    lost: Arc<Lost>,
}

impl ReaderLine {
    /// Starts the thread, without any device yet.
    pub(super) fn start(mut maps: LineMaps) -> Result<Self, ArmError> {
        let call = |call| move |source| KernelError::Call { call, source };
        let device = random_device()?;
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| call("eventfd")(errno.into()))?;
        let wake = Arc::new(wake);
        let lost = Arc::new(Lost::default());
        let (orders, received) = mpsc::channel();
        let (taken, now) = (maps.given()?, boot_now());
        // So that the first frames find it at work.
        maps.say(&Said { beat: now, taken, device, ..Said::default() })?;
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
        let thread = std::thread::Builder::new()
            .name("delay-line".to_owned())
            .spawn(|| reader.run())
            .map_err(call("start a thread"))?;
        Ok(Self {
            device,
            served: BTreeMap::new(),
            orders: Some(orders),
            wake,
            thread: Some(thread),
            lost,
        })
    }

    /// Makes a device in the calling thread's network namespace, which has this inode, unless there
    /// is one.
    pub(super) fn serve(
        &mut self,
        namespace: u64,
        instance: &mut Instance,
        owner: &Owner,
        naming: Option<&Naming<'_>>,
    ) -> Result<(), ArmError> {
        let tap = match self.served.entry(namespace) {
            Entry::Occupied(_) => return Ok(()),
            Entry::Vacant(vacant) => {
                let tap = Tap::make(self.device, NAME, &owner.name(ALIAS, 0), QUEUE)?;
                vacant.insert(instance.attach_line(Line::Reader, self.device, naming)?);
                tap
            }
        };
        self.order(Order::Serve(tap));
        Ok(())
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

impl Drop for ReaderLine {
    fn drop(&mut self) {
        self.end();
    }
}
