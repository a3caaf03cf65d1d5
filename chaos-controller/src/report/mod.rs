//! Keeps what has become of each pod of a run, what its probes have answered, and what has happened, for the report that
//! is written beside it: one line of JSON for each, compressed. A status has no room for thousands of pods.

mod line;
mod pack;
mod record;
mod samples;

use std::{collections::BTreeMap, io};

use chaos_api::kinds::{LedgerSums, RunStatus};
use chaos_probe::Sample;
use jiff::{SignedDuration, Timestamp};

pub use self::{
    line::{Entry, Line, State},
    pack::unpack,
    record::{EventRecord, Record, SampleRecord},
};
use self::{pack::pack, samples::Samples};
use crate::events::{Happening, between};

/// The key under which the ConfigMap of a report has it.
pub const KEY: &str = "report.jsonl.gz";

/// A report is written this often, and when its run ends.
const CADENCE: SignedDuration = SignedDuration::from_secs(60);

/// Answers of all probes of a run together, and of one probe.
const MOST_SAMPLES: usize = 3_200;
const MOST_SAMPLES_OF_ONE: usize = 2_000;

/// What has happened, of one run.
const MOST_EVENTS: usize = 500;

/// The reports of runs, by their UID.
#[derive(Debug, Default)]
pub struct Reports {
    books: BTreeMap<String, Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// By the step and the UID of the pod.
    lines: BTreeMap<(String, String), Line>,
    /// How many lines each step has.
    of_steps: BTreeMap<String, u32>,
    /// By the names of probes.
    samples: BTreeMap<String, Samples>,
    events: Vec<EventRecord>,
    /// The status up to which it is told what has happened.
    told: Option<RunStatus>,
    /// Whether it has what was written by whoever led before.
    is_whole: bool,
    is_changed: bool,
    /// When that was tried last.
    written: Option<Timestamp>,
    /// Why the API server has refused it, as long as it does.
    refusal: Option<String>,
    /// How often reading or writing it failed since that was done last.
    failures: u32,
}

/// So often a report is tried before its run may end without it.
const MOST_FAILURES: u32 = 5;

impl Reports {
    /// Begins the report of a run that begins.
    pub fn begin(&mut self, run_uid: &str) {
        self.books.entry(run_uid.to_owned()).or_default().is_whole = true;
    }

    /// Whether there is something of a run.
    pub fn knows(&self, run_uid: &str) -> bool {
        self.books.contains_key(run_uid)
    }

    /// Whether what was written before is known.
    pub fn is_whole(&self, run_uid: &str) -> bool {
        self.books.get(run_uid).is_some_and(|book| book.is_whole)
    }

    /// Adds what was written before, where nothing newer is known, and says that another controller leads now. Whoever may
    /// write ConfigMaps may have written it: of samples, those of the run's own probes are taken.
    pub fn resume(
        &mut self,
        run_uid: &str,
        written: Vec<Entry>,
        is_own: impl Fn(&str) -> bool,
        now: Timestamp,
    ) {
        let book = self.books.entry(run_uid.to_owned()).or_default();
        let newer = std::mem::take(&mut book.events);
        let (mut samples, mut before) = (Vec::new(), std::mem::take(&mut book.samples));
        for entry in written {
            match entry {
                Entry::Pod(line) => {
                    let key = (line.step.clone(), line.uid.clone());
                    if !book.lines.contains_key(&key) {
                        *book.of_steps.entry(line.step.clone()).or_default() += 1;
                        book.lines.insert(key, line);
                    }
                }
                Entry::Record(Record::Sample(sample)) if is_own(&sample.probe) => {
                    samples.push(sample);
                }
                Entry::Record(Record::Sample(_)) => {}
                Entry::Record(Record::Event(event)) => book.events.push(event),
            }
        }
        samples.extend(before.values_mut().flat_map(|one| one.iter().cloned().collect::<Vec<_>>()));
        samples.into_iter().for_each(|sample| book.add_sample(sample));
        book.add_event(EventRecord {
            at: now,
            what: "LeaderChanged".to_owned(),
            step: None,
            message: "another controller leads, and goes on".to_owned(),
        });
        newer.into_iter().for_each(|event| book.add_event(event));
        book.is_whole = true;
    }

    /// Notes what a probe has answered.
    pub fn note_sample(&mut self, run_uid: &str, probe: &str, sample: &Sample) {
        let book = self.books.entry(run_uid.to_owned()).or_default();
        book.add_sample(SampleRecord::of(probe, sample));
    }

    /// Notes what has happened between the status that was told last, or else one `before`, and this one.
    pub fn note_status(
        &mut self,
        run_uid: &str,
        before: Option<&RunStatus>,
        status: &RunStatus,
        now: Timestamp,
    ) {
        let book = self.books.entry(run_uid.to_owned()).or_default();
        for happening in between(book.told.as_ref().or(before), status) {
            book.add_event(EventRecord::of(&happening, now));
        }
        book.told = Some(status.clone());
    }

    /// Notes what is seen of a pod, of so many that were picked when its step began.
    pub fn note(&mut self, run_uid: &str, line: Line, picked: u32, now: Timestamp) {
        let book = self.books.entry(run_uid.to_owned()).or_default();
        let key = (line.step.clone(), line.uid.clone());
        if book.lines.get(&key) != Some(&line) {
            let is_new = !book.lines.contains_key(&key);
            let of_step = book.of_steps.entry(line.step.clone()).or_default();
            *of_step += u32::from(is_new);
            if book.is_whole && is_new && *of_step > picked {
                let happening = Happening {
                    what: "PodReplaced",
                    is_warning: false,
                    step: Some(line.step.clone()),
                    message: format!(
                        "{}/{} takes the place of another pod",
                        line.namespace, line.pod
                    ),
                };
                book.add_event(EventRecord::of(&happening, now));
            }
            book.lines.insert(key, line);
            book.is_changed = true;
        }
    }

    /// Notes what a pod has counted in a step in which it has a line, by their names and its UID.
    pub fn note_counts(
        &mut self,
        (run_uid, step, pod_uid): (&str, &str, &str),
        counts: LedgerSums,
        has_ended: bool,
    ) {
        let Some(book) = self.books.get_mut(run_uid) else { return };
        let key = (step.to_owned(), pod_uid.to_owned());
        let Some(line) = book.lines.get_mut(&key) else { return };
        let state = if has_ended { State::Ended } else { line.state };
        if (line.state, line.counts) != (state, counts) {
            (line.state, line.counts) = (state, counts);
            book.is_changed = true;
        }
    }

    /// Says that pods of a step are removed, all but those that `is_left` knows by their UID.
    pub fn note_removed(&mut self, run_uid: &str, step: &str, is_left: impl Fn(&str) -> bool) {
        let Some(book) = self.books.get_mut(run_uid) else { return };
        let lines = book.lines.values_mut();
        for line in lines.filter(|line| line.step == step && !is_left(&line.uid)) {
            if line.state != State::Removed {
                *line = Line { state: State::Removed, refusal: None, ..line.clone() };
                book.is_changed = true;
            }
        }
    }

    /// Whether a report is to be written.
    pub fn is_due(&self, run_uid: &str, now: Timestamp, has_ended: bool) -> bool {
        self.books.get(run_uid).is_some_and(|book| {
            let is_time = book.written.is_none_or(|at| now.duration_since(at) >= CADENCE);
            book.is_changed && (is_time || has_ended)
        })
    }

    /// A report to be written, if it has everything.
    pub fn packed(&self, run_uid: &str) -> Option<io::Result<Vec<u8>>> {
        let book = self.books.get(run_uid).filter(|book| book.is_whole)?;
        Some(pack(book))
    }

    /// Says that it was written.
    pub fn wrote(&mut self, run_uid: &str, now: Timestamp) {
        if let Some(book) = self.books.get_mut(run_uid) {
            book.written = Some(now);
            book.is_changed = false;
            book.refusal = None;
            book.failures = 0;
        }
    }

    /// Says that it may not be written: somebody else has an object of its name. It is tried again as often as it is
    /// written.
    pub fn refuse(&mut self, run_uid: &str, why: String, now: Timestamp) {
        if let Some(book) = self.books.get_mut(run_uid) {
            book.written = Some(now);
            book.refusal = Some(why);
        }
    }

    /// Says that it could not be read or written this time. Whether it is worth another try, for which its run waits.
    pub fn fail(&mut self, run_uid: &str, why: String, now: Timestamp) -> bool {
        let Some(book) = self.books.get_mut(run_uid) else { return false };
        book.failures += 1;
        if book.failures < MOST_FAILURES {
            return true;
        }
        self.refuse(run_uid, why, now);
        false
    }

    /// Whether it has not failed so often that its run waits for it no longer.
    pub fn is_worth_a_try(&self, run_uid: &str) -> bool {
        self.books.get(run_uid).is_some_and(|book| book.failures < MOST_FAILURES)
    }

    /// Whether it was written since this controller leads.
    pub fn is_written(&self, run_uid: &str) -> bool {
        self.books.get(run_uid).is_some_and(|book| book.written.is_some() && book.refusal.is_none())
    }

    /// Why it was not written.
    pub fn refusal(&self, run_uid: &str) -> Option<&str> {
        self.books.get(run_uid)?.refusal.as_deref()
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.books.retain(|run_uid, _| is_live(run_uid));
    }
}

impl Book {
    fn add_sample(&mut self, sample: SampleRecord) {
        let at = sample.at;
        let own = self.samples.entry(sample.probe.clone()).or_default();
        own.push(sample);
        let most = (MOST_SAMPLES / self.samples.len()).min(MOST_SAMPLES_OF_ONE);
        let mut cut = Vec::new();
        for (probe, samples) in &mut self.samples {
            if samples.bound(most) {
                cut.push(format!(
                    "of probe {probe} answers are left out: there is no room for all"
                ));
            }
        }
        for message in cut {
            self.add_event(EventRecord { at, what: "SamplesCut".into(), step: None, message });
        }
        self.is_changed = true;
    }

    fn add_event(&mut self, event: EventRecord) {
        let room = MOST_EVENTS.saturating_sub(self.events.len());
        match room {
            0 => {}
            1 => self.events.push(EventRecord {
                what: "EventsCut".into(),
                step: None,
                message: "what happened after this is left out: there is no room for all".into(),
                ..event
            }),
            2.. => self.events.push(event),
        }
        self.is_changed = true;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use chaos_ebpf_common::hash;
    use flate2::read::GzDecoder;
    use serde_json::json;

    use super::{
        pack::{LARGEST, LONGEST},
        *,
    };

    fn line(number: usize, state: &str) -> Line {
        serde_json::from_value(json!({
            "namespace": "shop", "pod": format!("web-{number}"), "uid": format!("{number:036}"), "node": "node-a",
            "step": "slow", "state": state,
            "matched": 10, "injected": 4, "shadowed": 0, "spared": 6, "lost": 0,
        }))
        .unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// Notes a pod of a step for which all were picked.
    fn note(reports: &mut Reports, line: Line) {
        reports.note("run", line, u32::MAX, at(0));
    }

    fn written(reports: &Reports) -> Vec<Entry> {
        unpack(&reports.packed("run").unwrap().unwrap()).unwrap()
    }

    fn pods(reports: &Reports) -> Vec<Line> {
        let pod = |entry| match entry {
            Entry::Pod(line) => Some(line),
            Entry::Record(_) => None,
        };
        written(reports).into_iter().filter_map(pod).collect()
    }

    /// What has happened, and at which second.
    fn events(reports: &Reports) -> Vec<(String, i64)> {
        let event = |entry| match entry {
            Entry::Record(Record::Event(event)) => Some((event.what, event.at.as_second())),
            Entry::Record(Record::Sample(_)) | Entry::Pod(_) => None,
        };
        written(reports).into_iter().filter_map(event).collect()
    }

    fn sample(second: i64) -> Sample {
        let seen = "200, 3ms".to_owned();
        Sample { at: at(second), outcome: chaos_probe::Outcome::Pass, value: None, seen }
    }

    #[test]
    fn another_leader_goes_on_with_what_was_written() {
        let mut reports = Reports::default();
        reports.begin("run");
        note(&mut reports, line(0, "Armed"));
        note(&mut reports, line(1, "Armed"));
        reports.note_sample("run", "web", &sample(1));
        assert_eq!(pods(&reports), [line(0, "Armed"), line(1, "Armed")]);
        let before = written(&reports);
        let mut next = Reports::default();
        note(&mut next, line(1, "Ended"));
        next.note_sample("run", "web", &sample(9));
        // Without what was before it would overwrite that.
        assert!(next.packed("run").is_none());
        next.resume("run", before, |probe| probe == "web", at(8));
        assert_eq!(pods(&next), [line(0, "Armed"), line(1, "Ended")]);
        next.note_removed("run", "slow", |uid| uid == line(1, "Ended").uid);
        assert_eq!(pods(&next), [line(1, "Ended"), line(0, "Removed")]);
        assert_eq!(events(&next), [("LeaderChanged".to_owned(), 8)]);
        let kinds: Vec<bool> = written(&next)
            .iter()
            .map(|entry| matches!(entry, Entry::Record(Record::Sample(_))))
            .collect();
        assert_eq!(kinds, [false, true, true, false, false]);
    }

    #[test]
    fn what_happens_is_told_once_and_pods_that_take_the_place_of_others_are() {
        let status = |phase: &str| -> RunStatus {
            let steps = json!([{ "name": "slow", "phase": phase, "picked": 1 }]);
            serde_json::from_value(json!({ "phase": "Running", "steps": steps })).unwrap()
        };
        let mut reports = Reports::default();
        reports.begin("run");
        for second in [1, 2] {
            // The write of the status fails, and is made again.
            reports.note_status("run", None, &status("Running"), at(second));
        }
        reports.note("run", line(0, "Armed"), 1, at(3));
        reports.note("run", line(1, "Armed"), 1, at(4));
        reports.note("run", line(1, "Ended"), 1, at(5));
        reports.note_status("run", Some(&status("Running")), &status("Done"), at(6));
        let expected = [("StepStarted", 1), ("PodReplaced", 4), ("StepEnded", 6)];
        assert_eq!(events(&reports), expected.map(|(what, second)| (what.to_owned(), second)));
    }

    #[test]
    fn answers_and_what_has_happened_are_bounded_and_that_is_told() {
        let mut reports = Reports::default();
        reports.begin("run");
        for probe in 0..16 {
            for second in 0..300 {
                reports.note_sample("run", &format!("p{probe}"), &sample(second));
            }
        }
        let samples = written(&reports).len() - events(&reports).len();
        assert!(samples <= MOST_SAMPLES, "{samples}");
        assert_eq!(events(&reports).iter().filter(|(what, _)| what == "SamplesCut").count(), 16);
        for number in 0..1_000 {
            reports.note("run", line(number, "Armed"), 0, at(number as i64));
        }
        let told = events(&reports);
        assert_eq!((told.len(), told.last().unwrap().0.as_str()), (MOST_EVENTS, "EventsCut"));
    }

    #[test]
    fn a_report_is_written_when_it_has_changed_and_it_is_time() {
        let mut reports = Reports::default();
        reports.begin("run");
        assert!(!reports.is_due("run", at(0), true));
        note(&mut reports, line(0, "Armed"));
        assert!(reports.is_due("run", at(0), false));
        reports.wrote("run", at(0));
        note(&mut reports, line(0, "Armed"));
        assert!(!reports.is_due("run", at(90), true));
        note(&mut reports, line(0, "Ended"));
        assert!(!reports.is_due("run", at(59), false) && reports.is_due("run", at(60), false));
        assert!(reports.is_due("run", at(1), true));
    }

    #[test]
    fn a_report_that_fails_is_tried_again_but_not_for_ever() {
        let mut reports = Reports::default();
        let fail = |reports: &mut Reports| reports.fail("run", "500".to_owned(), at(0));
        assert!(!fail(&mut reports), "there is none");
        reports.begin("run");
        note(&mut reports, line(0, "Armed"));
        assert!((1..MOST_FAILURES).all(|_| fail(&mut reports) && reports.is_worth_a_try("run")));
        assert!(!fail(&mut reports) && reports.refusal("run") == Some("500"));
        assert!(!reports.is_worth_a_try("run"));
        reports.wrote("run", at(1));
        assert!(reports.is_worth_a_try("run"));
        assert!(fail(&mut reports) && reports.refusal("run").is_none());
    }

    /// A report of so many armed pods and a last one that refused, with these messages; its text.
    fn packed_text(pods: usize, message: impl Fn(usize) -> String) -> (Vec<u8>, String) {
        let mut reports = Reports::default();
        reports.begin("run");
        for number in 0..=pods {
            let state = if number == pods { "Refused" } else { "Armed" };
            note(&mut reports, Line { refusal: Some(message(number)), ..line(number, state) });
        }
        let packed = reports.packed("run").unwrap().unwrap();
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        (packed, text)
    }

    #[test]
    fn six_thousand_pods_have_room() {
        let (packed, text) = packed_text(6_000, |_| "as usual".to_owned());
        assert_eq!((unpack(&packed).unwrap().len(), text.lines().count()), (6_001, 6_001));
    }

    #[test]
    fn what_is_cut_is_told_and_refusals_are_not_cut() {
        // Some are too long as a text, some as what no compressor makes shorter.
        let noise = |number: usize| -> String {
            (0..125).map(|part| format!("{:016x}", hash::nth(number as u64, part))).collect()
        };
        let long = packed_text(6_000, |_| "x".repeat(2_000));
        let random = packed_text(3_000, noise);
        assert!(long.1.len() <= LONGEST && long.1.len() > LONGEST - 4_096, "{}", long.1.len());
        assert!(random.1.len() < LONGEST);
        for ((packed, text), pods) in [(long, 6_001), (random, 3_001)] {
            assert!(packed.len() <= LARGEST, "{}", packed.len());
            let lines = unpack(&packed).unwrap();
            let is_refused = |pod: &Line| pod.state == State::Refused;
            assert!(matches!(&lines[0], Entry::Pod(pod) if is_refused(pod)), "{:?}", lines[0]);
            let cut = format!("\n{{\"cut\":{}}}\n", pods - lines.len());
            assert!(text.ends_with(&cut), "{cut}");
        }
    }
}
