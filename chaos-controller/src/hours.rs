//! Reads hours of the week in a time zone, such as `Mon-Fri 09-16 Europe/Berlin`, and tells whether a moment is in them.

use std::fmt;

use jiff::{Timestamp, civil::Weekday, tz::TimeZone};

use crate::ceilings::Mistake;

const DAYS: [(&str, Weekday); 7] = [
    ("Mon", Weekday::Monday),
    ("Tue", Weekday::Tuesday),
    ("Wed", Weekday::Wednesday),
    ("Thu", Weekday::Thursday),
    ("Fri", Weekday::Friday),
    ("Sat", Weekday::Saturday),
    ("Sun", Weekday::Sunday),
];

const FORM: &str = "write days, hours and a time zone, such as `Mon-Fri 09-16 Europe/Berlin`";

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Some hours on some days of the week, by the clocks of a time zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hours {
    days: Vec<Weekday>,
    /// Minutes from midnight on. Where it is not before `to`, they go on to the next day.
    from: u16,
    to: u16,
    zone: TimeZone,
    text: String,
}

impl Hours {
    /// Reads `DAYS FROM-TO ZONE`.
    pub fn read(text: &str) -> Result<Self, Mistake> {
        let mut words = words(text);
        let mut next = || words.next().ok_or_else(|| Mistake::at(text.len(), FORM));
        let (at, days) = next()?;
        let days = read_days(at, days)?;
        let (at, hours) = next()?;
        let (from, to) = read_hours(at, hours)?;
        let (at, zone) = next()?;
        let zone = TimeZone::get(zone).map_err(|_| {
            Mistake::at(
                at,
                format!("`{zone}` is no time zone; write such as `Europe/Berlin` or `UTC`"),
            )
        })?;
        match words.next() {
            Some((at, more)) => Err(Mistake::at(at, format!("`{more}` is too much; {FORM}"))),
            None => Ok(Self { days, from, to, zone, text: text.trim().to_owned() }),
        }
    }

    /// Whether a moment is in them.
    pub fn contain(&self, moment: Timestamp) -> bool {
        let there = moment.to_zoned(self.zone.clone());
        let minute = u16::try_from(i32::from(there.hour()) * 60 + i32::from(there.minute()));
        let minute = minute.unwrap_or_default();
        let today = self.days.contains(&there.weekday());
        if self.from < self.to {
            return today && (self.from..self.to).contains(&minute);
        }
        let yesterday = self.days.contains(&there.weekday().previous());
        today && minute >= self.from || yesterday && minute < self.to
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The words of a text with where each begins.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let place = |word: &str| word.as_ptr().addr() - text.as_ptr().addr();
    text.split_whitespace().map(move |word| (place(word), word))
}

fn read_days(mut at: usize, text: &str) -> Result<Vec<Weekday>, Mistake> {
    let mut days = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let begin = read_day(at, first)?;
        let end = read_day(at + part.len() - last.len(), last)?;
        let mut day = begin;
        while day != end {
            days.push(day);
            day = day.next();
        }
        days.push(end);
        at += part.len() + 1;
    }
    Ok(days)
}

fn read_day(at: usize, text: &str) -> Result<Weekday, Mistake> {
    let day = DAYS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    day.map(|(_, day)| *day).ok_or_else(|| {
        Mistake::at(at, format!("`{text}` is no day; write Mon, Tue, Wed, Thu, Fri, Sat or Sun"))
    })
}

fn read_hours(at: usize, text: &str) -> Result<(u16, u16), Mistake> {
    let (from, to) = text.split_once('-').ok_or_else(|| {
        Mistake::at(
            at,
            format!("`{text}` is no span of hours; write such as `09-16` or `09:30-16:00`"),
        )
    })?;
    let begin = read_minute(from).filter(|minute| *minute < DAY);
    let begin = begin.ok_or_else(|| no_hour(at, from))?;
    let at = at + from.len() + 1;
    let end = read_minute(to).ok_or_else(|| no_hour(at, to))?;
    if begin == end {
        return Err(Mistake::at(at, "they end when they begin; write such as `00-24`"));
    }
    Ok((begin, end))
}

fn no_hour(at: usize, text: &str) -> Mistake {
    Mistake::at(at, format!("`{text}` is no time of day; write such as `09` or `09:30`"))
}

/// Minutes from midnight on, until midnight at most.
fn read_minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':').unwrap_or((text, "00"));
    let number = |text: &str| {
        let is_number =
            matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(hours: &str, moment: &str) -> bool {
        Hours::read(hours).unwrap().contain(moment.parse().unwrap())
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        // 2026-11-27 is a Friday.
        for (hours, moment, expected) in [
            ("Mon-Fri 09-16 Europe/Berlin", "2026-11-27T07:59:59Z", false),
            ("Mon-Fri 09-16 Europe/Berlin", "2026-11-27T08:00:00Z", true),
            ("Mon-Fri 09-16 Europe/Berlin", "2026-11-27T14:59:59Z", true),
            ("Mon-Fri 09-16 Europe/Berlin", "2026-11-27T15:00:00Z", false),
            // In summer an hour earlier.
            ("Mon-Fri 09-16 Europe/Berlin", "2026-07-24T07:00:00Z", true),
            ("Mon-Fri 09-16 Europe/Berlin", "2026-11-28T10:00:00Z", false),
            ("mon,Sat 9:30-24 UTC", "2026-11-28T23:59:59Z", true),
            ("Mon,Sat 9:30-24 UTC", "2026-11-28T09:29:59Z", false),
            ("Sat-Mon 00-24 UTC", "2026-11-29T12:00:00Z", true),
            ("Sat-Mon 00-24 UTC", "2026-12-01T00:00:00Z", false),
            // Through the night of Friday, and no other.
            ("Fri 22-06 UTC", "2026-11-27T22:00:00Z", true),
            ("Fri 22-06 UTC", "2026-11-28T05:59:59Z", true),
            ("Fri 22-06 UTC", "2026-11-28T22:00:00Z", false),
            ("Fri 22-06 UTC", "2026-11-27T05:00:00Z", false),
        ] {
            assert_eq!(contains(hours, moment), expected, "{hours} at {moment}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        for (text, at, what) in [
            ("", 0, FORM),
            ("Mon-Fri", 7, FORM),
            ("Mon-Fri 09-16", 13, FORM),
            ("Mon,Die 09-16 UTC", 4, "`Die` is no day"),
            ("Mon 9 UTC", 4, "`9` is no span of hours"),
            ("Mon 09-25 UTC", 7, "`25` is no time of day"),
            ("Mon 24-25 UTC", 4, "`24` is no time of day"),
            ("Mon 09:60-16 UTC", 4, "`09:60` is no time of day"),
            ("Mon 09-09 UTC", 7, "they end when they begin"),
            ("Mon  09-16 Berlin", 11, "`Berlin` is no time zone"),
            ("Mon 09-16 UTC please", 14, "`please` is too much"),
        ] {
            let mistake = Hours::read(text).unwrap_err();
            assert_eq!(mistake.at, at, "{text}: {mistake:?}");
            assert!(mistake.what.starts_with(what), "{text}: {mistake:?}");
        }
    }
}
