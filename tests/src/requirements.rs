//! What a test needs of the kernel.
//!
//! A test that cannot run says so and is skipped, but only on kernels that may lack the feature:
//! where the release ought to have it, its absence fails the test.

use std::fmt;

use anyhow::{Context, Result};
use nix::sys::utsname::uname;

/// A kernel release, as far as features go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    pub major: u32,
    pub minor: u32,
}

impl Release {
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }

    /// The release of the running kernel.
    pub fn running() -> Result<Self> {
        let name = uname().context("uname")?;
        let release = name.release().to_string_lossy();
        Self::parse(&release).with_context(|| format!("kernel release {release} has no version"))
    }

    /// Reads `6.18.44-distribution` and the like.
    pub fn parse(release: &str) -> Option<Self> {
        let mut numbers = release.split(|character: char| !character.is_ascii_digit());
        Some(Self::new(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What becomes of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Run,
    Skip(String),
    Fail(String),
}

/// Judges a `feature` that was `found`, or not for the given reason, on the `running` kernel.
/// `since` is the first release in which it cannot be configured away, if there is one.
pub fn judge<R: fmt::Display>(
    feature: &str,
    since: Option<Release>,
    running: Release,
    found: Result<(), R>,
) -> Verdict {
    match (found, since) {
        (Ok(()), _) => Verdict::Run,
        (Err(reason), Some(since)) if running >= since => Verdict::Fail(format!(
            "{feature} is missing on {running}, which ought to have it since {since}: {reason}"
        )),
        (Err(reason), _) => Verdict::Skip(format!("{feature} is missing on {running}: {reason}")),
    }
}

/// Ends the test early, with the reason on standard error, where a feature is missing; fails it
/// where the release ought to have the feature. The test returns a `Result<()>`. The last argument is what probing it gave, a
/// `Result<(), impl Display>`.
///
/// ```ignore
/// require!("tcx", since 6, 6; probe_tcx());
/// require!("CONFIG_BPF_KPROBE_OVERRIDE"; probe_override());
/// ```
#[macro_export]
macro_rules! require {
    ($feature:expr, since $major:literal, $minor:literal; $found:expr) => {
        $crate::require!(@ $feature, Some($crate::requirements::Release::new($major, $minor)), $found)
    };
    ($feature:expr; $found:expr) => {
        $crate::require!(@ $feature, None, $found)
    };
    (@ $feature:expr, $since:expr, $found:expr) => {{
        let running = $crate::requirements::Release::running().expect("the kernel has a release");
        match $crate::requirements::judge($feature, $since, running, $found) {
            $crate::requirements::Verdict::Run => {}
            $crate::requirements::Verdict::Skip(reason) => {
                eprintln!("skipped: {reason}");
                return Ok(());
            }
            $crate::requirements::Verdict::Fail(reason) => panic!("{reason}"),
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_by_number() {
        assert_eq!(Release::parse("6.18.44-fc-v595"), Some(Release::new(6, 18)));
        assert_eq!(Release::parse("7.2-rc1"), Some(Release::new(7, 2)));
        assert_eq!(Release::parse("linux"), None);
        assert!(Release::new(6, 6) < Release::new(6, 18));
    }

    #[test]
    fn absence_fails_only_where_presence_was_promised() {
        let judge = |found: Result<(), &str>, since| {
            judge("tcx", since, Release::new(6, 6), found.map_err(str::to_owned))
        };
        assert_eq!(judge(Ok(()), None), Verdict::Run);
        let absent = || Err("invalid argument");
        assert!(matches!(judge(absent(), Some(Release::new(6, 6))), Verdict::Fail(_)));
        assert!(matches!(judge(absent(), Some(Release::new(6, 7))), Verdict::Skip(_)));
        assert!(matches!(judge(absent(), None), Verdict::Skip(_)));
    }
}
