//! The boot clock: steps of the wall clock do not move it, and it goes on during suspend.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since boot, as `bpf_ktime_get_boot_ns()` counts them (kernel 5.8).
///
/// # Panics
/// Never on Linux: CLOCK_BOOTTIME exists since 2.6.39 and cannot fail.
pub fn boot_now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME can be read");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}
