//! The boot clock as the kernel has it: steps of the wall clock do not move it, and it goes on during
//! suspend. CLOCK_MONOTONIC does not.
//!
//! In a time namespace (time_namespaces(7), kernel 5.6) this process sees it moved by a fixed offset, and
//! the programs in the kernel do not. All moments that they are told are the kernel's.

use std::{
    fs,
    sync::{LazyLock, OnceLock},
};

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// How this process sees the clocks moved. A process cannot change its time namespace, only that of
/// its children (`execve` aside), so this is read once.
static OFFSETS: LazyLock<Offsets> = LazyLock::new(|| {
    // Without the file the kernel has no time namespaces.
    Offsets::read(&fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default())
});

/// What is added to the kernel's clocks for the processes of a time namespace, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Offsets {
    boot: i64,
    monotonic: i64,
}

impl Offsets {
    /// `/proc/PID/timens_offsets`: a line for each clock, with seconds and nanoseconds, of which only
    /// the seconds have a sign.
    fn read(text: &str) -> Self {
        let of = |clock: &str| -> Option<i64> {
            let mut words =
                text.lines().find_map(|line| line.strip_prefix(clock))?.split_whitespace();
            let seconds: i64 = words.next()?.parse().ok()?;
            let nanoseconds: i64 = words.next()?.parse().ok()?;
            Some(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
        };
        Self { boot: of("boottime").unwrap_or(0), monotonic: of("monotonic").unwrap_or(0) }
    }
}

/// Nanoseconds since boot, as `bpf_ktime_get_boot_ns()` counts them (kernel 5.8).
///
/// # Panics
/// Never on Linux: CLOCK_BOOTTIME exists since 2.6.39 and cannot fail.
pub fn boot_now() -> u64 {
    now(ClockId::CLOCK_BOOTTIME).saturating_sub_signed(OFFSETS.boot)
}

/// How far this process sees the boot clock ahead of the kernel's, in nanoseconds; 0 outside of time
/// namespaces.
pub fn boot_offset() -> i64 {
    OFFSETS.boot
}

/// How far the boot clock is ahead of CLOCK_MONOTONIC, in nanoseconds: for as long as the machine was
/// suspended since it was started.
pub fn boot_ahead() -> u64 {
    // What lies between two readings adds to it; the shortest time is the nearest.
    let readings = (0..10).map(|_| {
        let monotonic = now(ClockId::CLOCK_MONOTONIC).saturating_sub_signed(OFFSETS.monotonic);
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

/// The boot-clock moment (ns) of a moment of the wall clock, as both clocks are at this moment; 0 for one before
/// the machine was started. What is converted once keeps its place on the boot clock, wherever the wall clock is set
/// to.
pub fn boot_moment(wall: Timestamp) -> u64 {
    moment_at(wall, Timestamp::now(), boot_now())
}

/// The same, where the clocks are at these moments.
pub fn moment_at(wall: Timestamp, wall_now: Timestamp, boot_now: u64) -> u64 {
    let ahead = wall.as_nanosecond() - wall_now.as_nanosecond();
    let moment = i128::from(boot_now) + ahead;
    u64::try_from(moment.max(0)).unwrap_or(u64::MAX)
}

fn now(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("the clocks can be read");
    let (seconds, nanoseconds) = (time.tv_sec().unsigned_abs(), time.tv_nsec().unsigned_abs());
    seconds * 1_000_000_000 + nanoseconds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_the_wall_clock_have_a_place_on_the_boot_clock() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let moment = |wall: i64| moment_at(at(wall), at(1_000_000), 100_000_000_000);
        assert_eq!(moment(1_000_030), 130_000_000_000);
        assert_eq!(moment(999_990), 90_000_000_000);
        assert_eq!(moment(999_900), 0);
        assert_eq!(moment(0), 0);
        assert_eq!(moment_at(Timestamp::MAX, at(0), u64::MAX), u64::MAX);
        let soon = boot_moment(Timestamp::now());
        assert!(boot_now().abs_diff(soon) < 1_000_000_000, "{soon}");
    }

    #[test]
    fn offsets_are_read_as_the_kernel_writes_them() {
        let text = "monotonic           5         7\nboottime       86400         1\n";
        assert_eq!(
            Offsets::read(text),
            Offsets { boot: 86_400_000_000_001, monotonic: 5_000_000_007 }
        );
        // Half a second back is one second back and half a second on.
        let text = "monotonic           0         0\nboottime           -1 500000000\n";
        assert_eq!(Offsets::read(text), Offsets { boot: -500_000_000, monotonic: 0 });
        assert_eq!(Offsets::read(""), Offsets::default());
    }
}
