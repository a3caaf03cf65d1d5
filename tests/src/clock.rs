//! The clock that victims and tests share.

use std::{fs, time::Duration};

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_BOOTTIME`, the clock of the agent's deadlines and leases. It is the same
/// in every process of the machine, so a victim's time stamps compare with a test's.
pub fn boottime_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists since 2.6.39");
    let seconds = u64::try_from(now.tv_sec()).expect("boot time is not negative");
    let nanoseconds = u64::try_from(now.tv_nsec()).expect("nanoseconds are not negative");
    seconds * 1_000_000_000 + nanoseconds
}

/// How late something may be seen that happens on time: longer on an emulated processor, whose
/// machine runs one of its processors at a time.
pub fn precision() -> Duration {
    Duration::from_millis(if is_emulated() { 500 } else { 50 })
}

/// Whether this processor is QEMU's own, as `-cpu max` names it under TCG.
pub fn is_emulated() -> bool {
    fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("QEMU TCG"))
}
