//! Between the wall clock, which a status is written in, and the boot clock, which deadlines are
//! kept by.

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::kernel::boot_now;

/// Both clocks, read at the same moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub wall: Timestamp,
    /// Nanoseconds since boot.
    pub boot: u64,
}

impl Now {
    pub fn read() -> Self {
        Self { wall: Timestamp::now(), boot: boot_now() }
    }

    /// The boot-clock moment of a wall-clock moment; `None` before the machine was booted. What
    /// lies ahead counts as now: nobody can have begun then.
    pub fn boot_moment(&self, wall: Timestamp) -> Option<u64> {
        let ago = self.wall.duration_since(wall).max(SignedDuration::ZERO);
        self.boot.checked_sub(u64::try_from(ago.as_nanos()).ok()?)
    }

    /// The wall-clock moment of a boot-clock moment, at either side of now.
    pub fn wall_moment(&self, boot: u64) -> Timestamp {
        let ahead = i128::from(boot) - i128::from(self.boot);
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        self.wall.saturating_add(SignedDuration::from_nanos(ahead)).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Now {
        Now { wall: Timestamp::from_second(1_000_000).unwrap(), boot: 100_000_000_000 }
    }

    #[test]
    fn there_and_back() {
        for boot in [0, 1_000, 99_999_999_000, 100_000_000_000] {
            assert_eq!(now().boot_moment(now().wall_moment(boot)), Some(boot));
        }
    }

    #[test]
    fn a_moment_before_boot_is_none_and_the_future_is_now() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(now().boot_moment(at(999_900)), Some(0));
        assert_eq!(now().boot_moment(at(999_899)), None);
        assert_eq!(now().boot_moment(at(1_000_001)), Some(now().boot));
    }

    #[test]
    fn deadlines_lie_ahead() {
        assert_eq!(now().wall_moment(130_000_000_000).as_second(), 1_000_030);
        assert_eq!(now().wall_moment(u64::MAX).as_second(), 1_000_000 + i64::MAX / 1_000_000_000);
    }
}
