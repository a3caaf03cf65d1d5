//! The boot clock: steps of the wall clock do not move it, and it goes on during suspend. CLOCK_MONOTONIC
//! does not.

use std::{fs, sync::OnceLock};

use nix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Nanoseconds since boot, as `bpf_ktime_get_boot_ns()` counts them (kernel 5.8).
///
/// # Panics
/// Never on Linux: CLOCK_BOOTTIME exists since 2.6.39 and cannot fail.
pub fn boot_now() -> u64 {
    now(ClockId::CLOCK_BOOTTIME)
}

/// How far the boot clock is ahead of CLOCK_MONOTONIC, in nanoseconds: for as long as the machine was
/// suspended since it was started.
pub fn boot_ahead() -> u64 {
    // What lies between two readings adds to it; the shortest time is the nearest.
    let readings = (0..10).map(|_| {
        let monotonic = now(ClockId::CLOCK_MONOTONIC);
        boot_now().saturating_sub(monotonic)
    });
    readings.min().unwrap_or_default()
}

/// Which start of the machine this is: another number each time, the same for all containers.
/// `None` where procfs does not tell.
/// <https://www.kernel.org/doc/html/latest/admin-guide/sysctl/kernel.html#random>
pub fn boot_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = fs::read_to_string(BOOT_ID).ok()?.trim().to_owned();
        (!id.is_empty()).then_some(id)
    };
    ID.get_or_init(read).as_deref()
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the clocks can be read");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}
