//! The boot clock: steps of the wall clock do not move it, and it goes on during suspend. CLOCK_MONOTONIC
//! does not.

use nix::time::{ClockId, clock_gettime};

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

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the clocks can be read");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}
