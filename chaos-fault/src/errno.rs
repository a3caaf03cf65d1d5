//! Errnos by name.

use std::{fmt, sync::LazyLock};

use super::{mistake::Mistake, model::Errno};

/// Names that stand for the same number as another, as `errno(3)` lists them for Linux.
const ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("ENOTSUP", "EOPNOTSUPP"), ("EDEADLOCK", "EDEADLK")];

/// The highest errno that Linux gives to user space (EHWPOISON).
const LAST: u16 = 133;

/// By number; the two numbers Linux never assigned are missing.
static NAMES: LazyLock<Vec<(Errno, String)>> = LazyLock::new(|| {
    (1..=LAST)
        .map(|number| (number, nix::errno::Errno::from_raw(number.into())))
        .filter(|&(_, known)| known != nix::errno::Errno::UnknownErrno)
        .map(|(number, known)| (Errno(number), format!("{known:?}")))
        .collect()
});

impl Errno {
    /// The errno of this name, in any case, aliases included (`EWOULDBLOCK`).
    pub fn from_name(name: &str) -> Result<Self, Mistake> {
        let upper = name.to_ascii_uppercase();
        let canonical = ALIASES
            .iter()
            .find(|(alias, _)| *alias == upper)
            .map_or(upper.as_str(), |(_, canonical)| canonical);
        if let Some((errno, _)) = NAMES.iter().find(|(_, known)| known == canonical) {
            return Ok(*errno);
        }
        let by_number = name.parse().ok().and_then(Self::from_number);
        Err(Mistake::new(format!("`{name}` is not the name of an errno"))
            .help("names are those of errno(3), such as EIO or ENOSPC")
            .maybe_help(by_number.map(|errno| format!("write its name: `{errno}`")))
            .meant(name, || NAMES.iter().map(|(_, known)| known.as_str()).collect()))
    }

    /// `None` unless the number is a real Linux errno.
    pub fn from_number(number: u16) -> Option<Self> {
        NAMES.iter().map(|(errno, _)| *errno).find(|errno| errno.0 == number)
    }

    /// Its name as in errno(3), upper case, never an alias.
    pub fn name(self) -> &'static str {
        NAMES
            .iter()
            .find(|(errno, _)| *errno == self)
            .map_or("unnamed errno", |(_, name)| name.as_str())
    }

    /// Every errno there is, by number.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.iter().map(|(errno, _)| *errno)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_errno_is_found_by_its_name_and_number() {
        assert_eq!(Errno::all().count(), 131);
        for errno in Errno::all() {
            assert_eq!(Errno::from_name(errno.name()), Ok(errno));
            assert_eq!(Errno::from_number(errno.number()), Some(errno));
        }
        assert_eq!(Errno::from_number(41), None);
        assert_eq!(Errno::from_number(0), None);
        assert_eq!(Errno::from_number(134), None);
    }

    #[test]
    fn aliases_and_case_do_not_matter() {
        assert_eq!(Errno::from_name("EWOULDBLOCK").unwrap().name(), "EAGAIN");
        assert_eq!(Errno::from_name("enotsup").unwrap().name(), "EOPNOTSUPP");
        assert_eq!(Errno::from_name("EDEADLOCK").unwrap().number(), 35);
        assert_eq!(Errno::from_name("EIO").unwrap().number(), 5);
    }

    #[test]
    fn a_wrong_name_is_answered_with_the_right_one() {
        let help = |name| Errno::from_name(name).unwrap_err().remedy().unwrap();
        assert!(help("ECONREFUSED").contains("ECONNREFUSED"));
        assert!(help("28").contains("ENOSPC"));
        assert!(help("banana").contains("errno(3)"));
    }
}
