//! Holds back warnings that repeat, so that what fails again and again does not fill the log.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Mutex,
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext,
        format::{FormatEvent, FormatFields, Writer},
    },
    registry::LookupSpan,
};

/// So many that differ are shown of one kind in a [`WINDOW`]: of some dozens of targets that fail at once
/// each is worth a line.
const MOST_SHOWN: usize = 64;
const WINDOW: Duration = Duration::from_secs(60);

/// Formats as `inner` does, but says the same warning or error once a minute, and of one kind, which is
/// a place in the source, only the first few that differ. The next one that is shown says how many of
/// its kind were not.
pub struct Sparing<F> {
    inner: F,
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

/// What was said of one kind.
struct Kind {
    since: Instant,
    shown: HashSet<String>,
    held_back: u64,
}

impl<F> Sparing<F> {
    pub fn new(inner: F) -> Self {
        Self { inner, kinds: Mutex::new(HashMap::new()) }
    }

    /// How many were held back before this one; `None` when it is, too.
    fn ask(&self, event: &Event<'_>, now: Instant) -> Option<u64> {
        let mut said = Said::default();
        event.record(&mut said);
        // Nothing panics under the lock.
        let mut kinds = self.kinds.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let kind = kinds.entry(event.metadata().callsite()).or_insert_with(|| Kind::new(now));
        kind.ask(said.0, now)
    }
}

impl Kind {
    fn new(now: Instant) -> Self {
        Self { since: now, shown: HashSet::new(), held_back: 0 }
    }

    fn ask(&mut self, said: String, now: Instant) -> Option<u64> {
        if now.duration_since(self.since) >= WINDOW {
            self.since = now;
            self.shown.clear();
        }
        if self.shown.len() == MOST_SHOWN || !self.shown.insert(said) {
            self.held_back += 1;
            return None;
        }
        Some(std::mem::take(&mut self.held_back))
    }
}

/// The message and the fields of an event.
#[derive(Default)]
struct Said(String);

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl<S, N, F> FormatEvent<S, N> for Sparing<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if *event.metadata().level() > Level::WARN {
            return self.inner.format_event(context, writer, event);
        }
        match self.ask(event, Instant::now()) {
            None => Ok(()),
            Some(0) => self.inner.format_event(context, writer, event),
            Some(held_back) => {
                let mut line = String::new();
                self.inner.format_event(context, Writer::new(&mut line), event)?;
                writeln!(writer, "{} ({held_back} more like this were held back)", line.trim_end())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_one_kind_few_a_minute_are_shown_and_the_others_counted() {
        let begin = Instant::now();
        let mut kind = Kind::new(begin);
        let mut ask = |said: usize, seconds: u64| {
            kind.ask(said.to_string(), begin + Duration::from_secs(seconds))
        };
        for said in 0..MOST_SHOWN {
            assert_eq!(ask(said, 1), Some(0));
        }
        for said in 0..MOST_SHOWN {
            assert_eq!(ask(said, 2), None);
        }
        for said in 0..1_000 {
            assert_eq!(ask(said, 59), None);
        }
        assert_eq!(ask(0, 60), Some(1_000 + MOST_SHOWN as u64));
        assert_eq!(ask(1, 61), Some(0));
        assert_eq!(ask(1, 61), None);
    }

    #[test]
    fn a_log_of_one_warning_stays_short() {
        use std::{
            io,
            sync::{Arc, Mutex},
        };

        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);

        impl io::Write for Log {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().unwrap().extend(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        let log = Log::default();
        let into = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Sparing::new(tracing_subscriber::fmt::format()))
            .with_writer(move || into.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            for turn in 0..10_000 {
                tracing::warn!(error = "EMFILE", "no connection could be accepted");
                tracing::warn!(turn, "a target could not be served");
                tracing::info!("ready");
            }
            tracing::warn!("another kind");
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
        assert_eq!(lines("no connection"), 1);
        assert_eq!(lines("a target"), MOST_SHOWN);
        assert_eq!(lines("ready"), 10_000);
        assert_eq!(lines("another kind"), 1);
    }
}
