//! Reads what a namespace allows at most, from annotations that belong to whoever may change the namespace: how large a
//! share of a target, how long, and at which hours.

use std::{collections::BTreeMap, fmt, time::Duration};

use chaos_fault::{parse_duration, print_duration};
use jiff::Timestamp;
use thiserror::Error;

use crate::{
    hours::Hours,
    names::{HOURS, MAX_DURATION, MAX_SHARE},
    pick::percent,
};

/// What is allowed at most. What is missing has no ceiling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Percent of the pods that a target selects.
    pub share: Option<usize>,
    duration: Option<Duration>,
    hours: Option<Hours>,
}

/// An annotation that cannot be read. Nothing is allowed until it can be: a ceiling that is misspelt is a ceiling.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("annotation {annotation} cannot be read:\n{text}\n{blank:at$}^ {what}", blank = "")]
pub struct CeilingError {
    annotation: &'static str,
    text: String,
    /// Where the mistake is, in characters.
    at: usize,
    what: String,
}

/// What is wrong with a text, and from which byte on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub at: usize,
    pub what: String,
}

impl Mistake {
    /// From a byte on.
    pub fn at(at: usize, what: impl fmt::Display) -> Self {
        Self { at, what: what.to_string() }
    }
}

impl Ceilings {
    /// Reads the annotations of a namespace.
    pub fn read(annotations: &BTreeMap<String, String>) -> Result<Self, CeilingError> {
        Ok(Self {
            share: one(annotations, MAX_SHARE, |text| {
                percent(text).ok_or_else(|| Mistake::at(0, "no share; write one such as `30%`"))
            })?,
            duration: one(annotations, MAX_DURATION, |text| {
                let wrong = |error| Mistake::at(0, format!("{error}; write such as `10m`"));
                parse_duration(text).map_err(|error| wrong(error.message))
            })?,
            hours: one(annotations, HOURS, Hours::read)?,
        })
    }

    /// Why what takes so long may not be done, if so.
    pub fn too_long(&self, lasting: Duration) -> Option<String> {
        let most = self.duration.filter(|most| lasting > *most)?;
        let (lasting, most) = (print_duration(lasting), print_duration(most));
        Some(format!("{MAX_DURATION}: the steps take {lasting}, and {most} are allowed"))
    }

    /// Why nothing may be done at a moment, if so.
    pub fn closed(&self, now: Timestamp) -> Option<String> {
        let hours = self.hours.as_ref().filter(|hours| !hours.contain(now))?;
        Some(format!("{HOURS}: faults are allowed at {hours} only"))
    }
}

fn one<T>(
    annotations: &BTreeMap<String, String>,
    annotation: &'static str,
    read: impl FnOnce(&str) -> Result<T, Mistake>,
) -> Result<Option<T>, CeilingError> {
    let Some(text) = annotations.get(annotation) else { return Ok(None) };
    read(text).map(Some).map_err(|Mistake { at, what }| CeilingError {
        annotation,
        text: text.clone(),
        at: text.get(..at).map_or(0, |before| before.chars().count()),
        what,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(annotation: &str, text: &str) -> Result<Ceilings, CeilingError> {
        Ceilings::read(&BTreeMap::from([(annotation.to_owned(), text.to_owned())]))
    }

    #[test]
    fn ceilings_are_read() {
        assert_eq!(Ceilings::read(&BTreeMap::new()), Ok(Ceilings::default()));
        assert_eq!(read(MAX_SHARE, "30%").map(|ceilings| ceilings.share), Ok(Some(30)));
        let short = read(MAX_DURATION, "10m").unwrap();
        assert_eq!(short.too_long(Duration::from_secs(600)), None);
        let expected =
            "chaos-agent.dev/max-duration: the steps take 11m, and 10m are allowed".to_owned();
        assert_eq!(short.too_long(Duration::from_secs(660)), Some(expected));
        let by_day = read(HOURS, "Mon-Fri 09-16 Europe/Berlin").unwrap();
        let at = |text: &str| by_day.closed(text.parse().unwrap());
        assert_eq!(at("2026-11-27T10:00:00Z"), None);
        let expected =
            "chaos-agent.dev/hours: faults are allowed at Mon-Fri 09-16 Europe/Berlin only";
        assert_eq!(at("2026-11-27T16:00:00Z").as_deref(), Some(expected));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let told = |annotation: &str, text: &str| read(annotation, text).unwrap_err().to_string();
        assert_eq!(
            told(HOURS, "Mon-Fry 09-16 Europe/Berlin"),
            "annotation chaos-agent.dev/hours cannot be read:\nMon-Fry 09-16 Europe/Berlin\n    ^ `Fry` is no day; \
             write Mon, Tue, Wed, Thu, Fri, Sat or Sun"
        );
        assert!(told(MAX_SHARE, "0%").ends_with("\n0%\n^ no share; write one such as `30%`"));
        assert!(told(MAX_DURATION, "long").contains("write such as `10m`"));
        assert!(told(MAX_SHARE, "").contains("no share"));
    }
}
