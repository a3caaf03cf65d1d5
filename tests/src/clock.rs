//! The clock that victims and tests share.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_BOOTTIME`, the clock of the agent's deadlines and leases. It is the same
/// in every process of the machine, so a victim's time stamps compare with a test's.
pub fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since 2.6.39");
    let seconds = u64::try_from(now.tv_sec()).expect("boot time is not negative");
    let nanoseconds = u64::try_from(now.tv_nsec()).expect("nanoseconds are not negative");
    seconds * 1_000_000_000 + nanoseconds
}
