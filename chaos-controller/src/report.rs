//! Keeps what has become of each pod of a run, for the report that is written beside it: one line of JSON for each pod and
//! step, compressed. A status has no room for thousands of pods.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
};

use chaos_api::kinds::LedgerSums;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::pods::PodFacts;

/// The key under which the ConfigMap of a report has it.
pub const KEY: &str = "report.jsonl.gz";

/// A report is written this often, and when its run ends.
const CADENCE: SignedDuration = SignedDuration::from_secs(60);

/// In bytes, before it is compressed. A ConfigMap has room for 1 MiB, also of what cannot be compressed.
const LONGEST: usize = 960 * 1024;

/// Room for the line that says how much was cut.
const CUT_LINE: usize = 64;

/// What has become of a pod in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub step: String,
    pub state: State,
    /// What its agent has counted.
    #[serde(flatten)]
    pub counts: LedgerSums,
    /// Why it was not armed, or not removed
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// How far a pod is, or was when it was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum State {
    /// In order of what is kept where there is no room for all.
    Refused,
    Waiting,
    Armed,
    Ended,
    Removed,
}

/// The last line of a report that has no room for all.
#[derive(Serialize)]
struct Cut {
    /// Lines that were left out: those of pods that did as they were told.
    cut: usize,
}

/// The reports of runs, by their UID.
#[derive(Debug, Default)]
pub struct Reports {
    books: BTreeMap<String, Book>,
}

#[derive(Debug, Default)]
struct Book {
    /// By the step and the UID of the pod.
    lines: BTreeMap<(String, String), Line>,
    /// Whether it has what was written by whoever led before.
    is_whole: bool,
    is_changed: bool,
    written: Option<Timestamp>,
}

impl Line {
    /// Of a pod in a step.
    pub fn of(pod: &PodFacts, step: &str, state: State) -> Self {
        Self {
            namespace: pod.name.namespace.clone(),
            pod: pod.name.name.clone(),
            uid: pod.uid.clone(),
            node: pod.node.clone(),
            step: step.to_owned(),
            state,
            counts: LedgerSums::default(),
            refusal: None,
        }
    }
}

impl Reports {
    /// Begins the report of a run that begins.
    pub fn begin(&mut self, run_uid: &str) {
        self.books.entry(run_uid.to_owned()).or_default().is_whole = true;
    }

    /// Whether what was written before is known.
    pub fn is_whole(&self, run_uid: &str) -> bool {
        self.books.get(run_uid).is_some_and(|book| book.is_whole)
    }

    /// Adds what was written before, where nothing newer is known.
    pub fn resume(&mut self, run_uid: &str, written: Vec<Line>) {
        let book = self.books.entry(run_uid.to_owned()).or_default();
        for line in written {
            let key = (line.step.clone(), line.uid.clone());
            book.lines.entry(key).or_insert(line);
        }
        book.is_whole = true;
    }

    /// Notes what is seen of a pod.
    pub fn note(&mut self, run_uid: &str, line: Line) {
        let book = self.books.entry(run_uid.to_owned()).or_default();
        let key = (line.step.clone(), line.uid.clone());
        if book.lines.get(&key) != Some(&line) {
            book.lines.insert(key, line);
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
        Some(pack(book.lines.values()))
    }

    /// Says that it was written.
    pub fn wrote(&mut self, run_uid: &str, now: Timestamp) {
        if let Some(book) = self.books.get_mut(run_uid) {
            book.written = Some(now);
            book.is_changed = false;
        }
    }

    /// Forgets runs that `is_live` does not know.
    pub fn retain(&mut self, is_live: impl Fn(&str) -> bool) {
        self.books.retain(|run_uid, _| is_live(run_uid));
    }
}

fn pack<'a>(lines: impl Iterator<Item = &'a Line>) -> io::Result<Vec<u8>> {
    let mut lines: Vec<&Line> = lines.collect();
    lines.sort_by_key(|line| (line.state, &line.step, &line.namespace, &line.pod));
    let mut text = String::new();
    for (index, line) in lines.iter().enumerate() {
        let line = serde_json::to_string(line)?;
        if text.len() + line.len() + 1 > LONGEST - CUT_LINE {
            text.push_str(&serde_json::to_string(&Cut { cut: lines.len() - index })?);
            text.push('\n');
            break;
        }
        text.push_str(&line);
        text.push('\n');
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes())?;
    encoder.finish()
}

/// The lines of a report that was written. What is no line is left out, such as what says how much was cut.
pub fn unpack(packed: &[u8]) -> io::Result<Vec<Line>> {
    let mut text = String::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    GzDecoder::new(packed).take(most).read_to_string(&mut text)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(number: usize, state: &str) -> Line {
        serde_json::from_value(json!({
            "namespace": "shop", "pod": format!("web-{number}"), "uid": format!("{number:036}"), "node": "node-a",
            "step": "slow", "state": state,
            "matched": 10, "injected": 4, "shadowed": 0, "spared": 6, "lost": 0,
        }))
        .unwrap()
    }

    fn written(reports: &Reports) -> Vec<Line> {
        unpack(&reports.packed("run").unwrap().unwrap()).unwrap()
    }

    #[test]
    fn another_leader_goes_on_with_what_was_written() {
        let mut reports = Reports::default();
        reports.begin("run");
        reports.note("run", line(0, "Armed"));
        reports.note("run", line(1, "Armed"));
        let before = written(&reports);
        assert_eq!(before, [line(0, "Armed"), line(1, "Armed")]);
        let mut next = Reports::default();
        next.note("run", line(1, "Ended"));
        // Without what was before it would overwrite that.
        assert!(next.packed("run").is_none());
        next.resume("run", before);
        assert_eq!(written(&next), [line(0, "Armed"), line(1, "Ended")]);
        next.note_removed("run", "slow", |uid| uid == line(1, "Ended").uid);
        assert_eq!(written(&next), [line(1, "Ended"), line(0, "Removed")]);
    }

    #[test]
    fn a_report_is_written_when_it_has_changed_and_it_is_time() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut reports = Reports::default();
        reports.begin("run");
        assert!(!reports.is_due("run", at(0), true));
        reports.note("run", line(0, "Armed"));
        assert!(reports.is_due("run", at(0), false));
        reports.wrote("run", at(0));
        reports.note("run", line(0, "Armed"));
        assert!(!reports.is_due("run", at(90), true));
        reports.note("run", line(0, "Ended"));
        assert!(!reports.is_due("run", at(59), false) && reports.is_due("run", at(60), false));
        assert!(reports.is_due("run", at(1), true));
    }

    #[test]
    fn what_is_cut_is_told_and_refusals_are_not_cut() {
        let mut reports = Reports::default();
        reports.begin("run");
        for number in 0..6000 {
            let state = if number == 5999 { "Refused" } else { "Armed" };
            reports.note("run", line(number, state));
        }
        let packed = reports.packed("run").unwrap().unwrap();
        let mut text = String::new();
        GzDecoder::new(&packed[..]).read_to_string(&mut text).unwrap();
        assert!(text.len() <= LONGEST && text.len() > LONGEST - 512, "{}", text.len());
        let lines = unpack(&packed).unwrap();
        assert_eq!(lines[0], line(5999, "Refused"));
        let cut = format!("\n{{\"cut\":{}}}\n", 6000 - lines.len());
        assert!(text.ends_with(&cut), "{cut}");
    }
}
