//! Decides from what a status notes how much of a fault's time has passed: by the boot clock, which
//! deadlines are kept by, within one boot; by the wall clock where nothing else was noted.
//!
//! A fault is never given time that it may have had already. Where it is not sure how much is left,
//! it is over: asking again is easy, and a fault that begins anew with each restart never ends.

use std::{fmt, sync::Arc, time::Instant};

use chaos_api::{
    FaultClock,
    clock::{boot_id, boot_now},
};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// So much of the boot id tells one start of a machine from another. A status may have to be short.
const BOOT_ID_LENGTH: usize = 18;

/// All clocks, read at the same moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub wall: Timestamp,
    /// Nanoseconds since boot.
    pub boot: u64,
    /// Which start of the machine the boot clock counts from; `None` where that is not known.
    pub boot_id: Option<&'static str>,
    /// For pauses.
    pub instant: Instant,
}

/// Where clocks are read.
#[derive(Clone)]
pub(super) struct TimeSource(Arc<dyn Fn() -> Now + Send + Sync>);

impl TimeSource {
    /// Those of the machine.
    pub fn machine() -> Self {
        Self(Arc::new(Now::read))
    }

    /// Others.
    #[cfg(test)]
    pub fn of(read: impl Fn() -> Now + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub fn now(&self) -> Now {
        (self.0)()
    }
}

/// What a status notes of one fault's clock.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noted<'a> {
    /// Wall clock.
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
    /// The start of the machine that `began` counts from. Version 0.1.0 noted neither.
    pub boot_id: Option<&'a str>,
    /// Boot clock, ns.
    pub began: Option<u64>,
    /// Boot clock, ns. Missing in statuses of agents that had no `until`.
    pub ends: Option<u64>,
    pub has_ended: bool,
}

/// The clock of a fault that was armed once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// It began at this moment of the boot clock, which does not lie ahead.
    Since(FaultClock),
    /// Nothing is left of its time.
    Over(Why),
}

/// Why a fault is not resumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// The status says so.
    Ended,
    /// Its noted beginning lies ahead: a clock was set back, or somebody else wrote that.
    Ahead,
    /// Its noted end is past.
    Past,
    /// Its `until` passed before it was armed.
    Until,
    /// Nobody watches over it any more.
    Unguarded,
    /// The Run that it is of is halted.
    Halted,
    /// The machine was booted since; how much of its time was left cannot be told for sure.
    Rebooted,
}

impl Now {
    pub fn read() -> Self {
        Self {
            wall: Timestamp::now(),
            boot: boot_now(),
            boot_id: Self::boot_id(),
            instant: Instant::now(),
        }
    }

    /// The beginning of the boot id.
    pub fn boot_id() -> Option<&'static str> {
        boot_id().map(|id| &id[..id.floor_char_boundary(BOOT_ID_LENGTH)])
    }

    /// The clock of a fault whose status notes this; `None` for one that was never armed.
    pub fn resume(&self, noted: &Noted<'_>) -> Option<Clock> {
        if noted.has_ended {
            return Some(Clock::Over(Why::Ended));
        }
        if noted.since.is_none() && noted.began.is_none() {
            return None;
        }
        let boots = noted.boot_id.zip(self.boot_id);
        if boots.is_some_and(|(noted, ours)| noted != ours) {
            return Some(Clock::Over(Why::Rebooted));
        }
        Some(match noted.began.filter(|_| boots.is_some()) {
            Some(began) if began <= self.boot => {
                Clock::Since(FaultClock { began, ends: noted.ends })
            }
            Some(_) => Clock::Over(Why::Ahead),
            None => self.resume_by_wall(noted),
        })
    }

    fn resume_by_wall(&self, noted: &Noted<'_>) -> Clock {
        // Without a beginning there is an end at most, of which nobody knows how long it was to take.
        let Some(since) = noted.since.filter(|since| *since <= self.wall) else {
            return Clock::Over(Why::Ahead);
        };
        if noted.until.is_some_and(|until| until <= self.wall) {
            return Clock::Over(Why::Past);
        }
        let began = self.boot_moment(since).map(FaultClock::since);
        began.map_or(Clock::Over(Why::Rebooted), Clock::Since)
    }

    /// The boot-clock moment of a wall-clock moment that does not lie ahead; `None` before the
    /// machine was booted.
    fn boot_moment(&self, wall: Timestamp) -> Option<u64> {
        let ago = self.wall.duration_since(wall);
        self.boot.checked_sub(u64::try_from(ago.as_nanos()).ok()?)
    }

    /// The wall-clock moment of a boot-clock moment, at either side of now.
    pub fn wall_moment(&self, boot: u64) -> Timestamp {
        let ahead = i128::from(boot) - i128::from(self.boot);
        let ahead = i64::try_from(ahead).unwrap_or(i64::MAX);
        self.wall.saturating_add(SignedDuration::from_nanos(ahead)).unwrap_or(Timestamp::MAX)
    }
}

impl Why {
    /// Whether the fault must not stay in the kernel: its own end does not end it there.
    pub fn is_order(self) -> bool {
        match self {
            Self::Unguarded | Self::Halted => true,
            Self::Ended | Self::Ahead | Self::Past | Self::Until | Self::Rebooted => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "it has ended",
            Self::Ahead => {
                "its noted beginning lies ahead of the node's clock: it is over, not new"
            }
            Self::Past => "its noted end is past: it is over, not new",
            Self::Until => "its `until` has passed",
            Self::Unguarded => "its guard stands still or is gone",
            Self::Halted => "its Run is halted",
            Self::Rebooted => "the node was booted since it began: it is over, not new",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn now() -> Now {
        Now {
            wall: at(1_000_000),
            boot: 100 * SECOND,
            boot_id: Some("ours"),
            instant: Instant::now(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A clock that began so many seconds after boot.
    fn since(second: u64) -> Option<Clock> {
        Some(Clock::Since(FaultClock::since(second * SECOND)))
    }

    /// As this version notes it.
    fn noted(since: i64, began: u64) -> Noted<'static> {
        let began = Some(began * SECOND);
        Noted { since: Some(at(since)), boot_id: Some("ours"), began, ..Noted::default() }
    }

    /// As version 0.1.0 noted it.
    fn by_wall(since: i64, until: i64) -> Noted<'static> {
        Noted { since: Some(at(since)), until: Some(at(until)), ..Noted::default() }
    }

    #[test]
    fn within_one_boot_the_wall_clock_does_not_matter() {
        for noted_since in [999_990, 1_000_001, 2_000_000, -1] {
            let resumed = now().resume(&noted(noted_since, 40));
            assert_eq!(resumed, since(40), "{noted_since}");
        }
        let past = Noted { until: Some(at(0)), ..noted(999_990, 40) };
        assert_eq!(now().resume(&past), since(40));
    }

    #[test]
    fn the_end_that_was_computed_is_kept_within_one_boot() {
        let ends = Some(70 * SECOND);
        let clock = FaultClock { began: 40 * SECOND, ends };
        let resumed = now().resume(&Noted { ends, ..noted(2_000_000, 40) });
        assert_eq!(resumed, Some(Clock::Since(clock)));
        let by_wall = now().resume(&Noted { ends, ..by_wall(999_990, 1_000_010) });
        assert_eq!(by_wall, since(90));
    }

    #[test]
    fn what_lies_ahead_is_over() {
        let over = Some(Clock::Over(Why::Ahead));
        assert_eq!(now().resume(&noted(999_990, 101)), over);
        assert_eq!(now().resume(&by_wall(1_000_001, 1_000_300)), over);
        let no_beginning = Noted { since: None, began: Some(0), ..Noted::default() };
        assert_eq!(now().resume(&no_beginning), over);
    }

    #[test]
    fn another_boot_ends_every_fault() {
        let rebooted = Some(Clock::Over(Why::Rebooted));
        let other = Noted { boot_id: Some("another"), ..noted(999_990, 40) };
        assert_eq!(now().resume(&other), rebooted);
        // Without the id of the boot it is found out by the wall clock.
        assert_eq!(now().resume(&by_wall(999_899, 1_000_100)), rebooted);
        assert_eq!(now().resume(&by_wall(999_900, 1_000_100)), since(0));
    }

    #[test]
    fn a_status_of_version_0_1_0_is_gone_by_and_its_end_is_an_end() {
        let resumed = now().resume(&by_wall(999_990, 1_000_010));
        assert_eq!(resumed, since(90));
        let past = Some(Clock::Over(Why::Past));
        assert_eq!(now().resume(&by_wall(999_990, 1_000_000)), past);
    }

    #[test]
    fn what_was_never_armed_is_new_and_what_has_ended_stays_so() {
        assert_eq!(now().resume(&Noted::default()), None);
        let never_armed = Noted { has_ended: true, ..Noted::default() };
        assert_eq!(now().resume(&never_armed), Some(Clock::Over(Why::Ended)));
        let ended = Noted { has_ended: true, ..noted(999_990, 40) };
        assert_eq!(now().resume(&ended), Some(Clock::Over(Why::Ended)));
    }

    #[test]
    fn without_a_boot_id_of_our_own_the_wall_clock_decides() {
        let unknown = Now { boot_id: None, ..now() };
        assert_eq!(unknown.resume(&noted(999_990, 40)), since(90));
    }

    #[test]
    fn there_and_back() {
        for boot in [0, 1_000, 99_999_999_000, 100_000_000_000] {
            assert_eq!(now().boot_moment(now().wall_moment(boot)), Some(boot));
        }
    }

    #[test]
    fn deadlines_lie_ahead() {
        assert_eq!(now().wall_moment(130_000_000_000).as_second(), 1_000_030);
        assert_eq!(now().wall_moment(u64::MAX).as_second(), 1_000_000 + i64::MAX / 1_000_000_000);
    }

    #[test]
    fn the_boot_is_known() {
        let now = Now::read();
        assert_eq!(now.boot_id.map(str::len), Some(BOOT_ID_LENGTH));
        assert_eq!(now.boot_id, Now::read().boot_id);
    }

    fn moment() -> impl Strategy<Value = Timestamp> {
        prop_oneof![
            Just(Timestamp::MIN),
            Just(Timestamp::MAX),
            (999_000..1_001_000_i64).prop_map(at),
        ]
    }

    proptest! {
        #[test]
        fn nothing_that_is_noted_gives_a_fault_more_than_its_time(
            since in option::of(moment()),
            until in option::of(moment()),
            boot_id in option::of("ours|another|"),
            began in option::of(prop_oneof![Just(0), Just(u64::MAX), 0..200 * SECOND]),
            ends in option::of(any::<u64>()),
            has_ended: bool,
            wall in moment(),
            boot in prop_oneof![Just(0), Just(u64::MAX), 0..200 * SECOND],
        ) {
            let now = Now { wall, boot, boot_id: Some("ours"), ..now() };
            let noted = Noted { since, until, boot_id: boot_id.as_deref(), began, ends, has_ended };
            match now.resume(&noted) {
                None => prop_assert!(since.is_none() && began.is_none() && !has_ended),
                Some(Clock::Since(clock)) => {
                    prop_assert!(clock.began <= boot && !has_ended);
                    prop_assert!(clock.ends.is_none() || clock.ends == ends);
                }
                Some(Clock::Over(_)) => {}
            }
        }

        /// Whatever the wall clock does between them.
        #[test]
        fn less_is_left_after_each_restart(
            steps in prop::collection::vec((1..1_000_u64, moment()), 1..10),
        ) {
            let span = 3_000 * SECOND;
            let mut boot = 100 * SECOND;
            let mut status = noted(1_000_000, 100);
            let mut left = span;
            for (seconds, wall) in steps {
                boot += seconds * SECOND;
                let now = Now { wall, boot, boot_id: Some("ours"), ..now() };
                let Some(Clock::Since(FaultClock { began, .. })) = now.resume(&status) else {
                    return Err(TestCaseError::fail("it was resumed as something else"));
                };
                let still = (began + span).saturating_sub(boot);
                prop_assert!(still < left || still == 0);
                left = still;
                status = Noted { since: Some(now.wall_moment(began)), began: Some(began), ..status };
            }
        }
    }
}
