//! Starts the thread that serves the lines of all targets, and gives it orders.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::{
    line::Line,
    thread::{Order, Reader},
};
use crate::kernel::KernelError;

/// The thread, which runs for as long as there is a line, or this.
#[derive(Clone, Default)]
pub(in crate::arm::line) struct Readers(Arc<Mutex<Option<Running>>>);

struct Running {
    orders: Orders,
    thread: JoinHandle<()>,
    /// Number of the next line.
    next: u32,
}

/// A way to the thread.
#[derive(Clone)]
pub(super) struct Orders {
    orders: mpsc::Sender<Order>,
    wake: Arc<EventFd>,
}

impl Readers {
    /// Has the thread serve a line, by the number that is given back.
    pub(super) fn start(&self, line: Line) -> Result<(Orders, u32), KernelError> {
        // Whoever panicked has left it whole.
        let mut readers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let running = match readers.take() {
            Some(running) if !running.thread.is_finished() => running,
            Some(_) | None => Running::start()?,
        };
        let running = readers.insert(running);
        let number = running.next;
        running.next += 1;
        running.orders.give(Order::Start { number, line: line.into() });
        Ok((running.orders.clone(), number))
    }
}

impl Running {
    fn start() -> Result<Self, KernelError> {
        let call = |call| move |source: io::Error| KernelError::Call { call, source };
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let wake = EventFd::from_value_and_flags(0, flags)
            .map_err(|errno| call("eventfd")(errno.into()))?;
        let wake = Arc::new(wake);
        let (orders, received) = mpsc::channel();
        let reader = Reader::new(received, wake.clone())?;
        let thread = std::thread::Builder::new()
            .name("delay-lines".to_owned())
            .spawn(|| reader.run())
            .map_err(call("start a thread"))?;
        Ok(Self { orders: Orders { orders, wake }, thread, next: 0 })
    }
}

impl Orders {
    pub(super) fn give(&self, order: Order) {
        // Nobody takes it where the thread has ended: then frames pass.
        let _ = self.orders.send(order);
        // It fails only where it has been woken 2^64 times.
        let _ = self.wake.write(1);
    }
}
