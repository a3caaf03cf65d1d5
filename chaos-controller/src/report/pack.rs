//! Packs the lines of a report into what a ConfigMap has room for, and reads them again.

use std::io::{self, Read as _, Write as _};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::Serialize;

use super::{Book, Entry, EventRecord, Line, Record, SampleRecord, Samples, State};

/// In bytes, before it is compressed: whoever reads it unpacks no more.
pub(super) const LONGEST: usize = 8 << 20;

/// In bytes, compressed. A ConfigMap has room for 1 MiB.
pub(super) const LARGEST: usize = 960 << 10;

/// How much the compressor may not have put out yet, even of what cannot be compressed.
const HELD_BACK: usize = 128 << 10;

/// Room for the line that says how much was cut.
const CUT_LINE: usize = 64;

/// The last line of a report that has no room for all.
#[derive(Serialize)]
struct Cut {
    /// Lines that were left out: of pods that did as they were told.
    cut: usize,
}

/// What has happened and the lines of pods that were not armed come first, then answers of probes, then the rest.
pub(super) fn pack(book: &Book) -> io::Result<Vec<u8>> {
    let mut lines: Vec<&Line> = book.lines.values().collect();
    lines.sort_by_key(|line| (line.state, &line.step, &line.namespace, &line.pod));
    let is_exception = |line: &&&Line| line.state < State::Armed;
    let exceptions = lines.iter().take_while(is_exception).count();
    let (exceptions, others) = lines.split_at(exceptions);
    let mut samples: Vec<&SampleRecord> = book.samples.values().flat_map(Samples::iter).collect();
    samples.sort_by_key(|sample| sample.at);
    let event = |event: &EventRecord| Entry::Record(Record::Event(event.clone()));
    let sample = |sample: &&SampleRecord| Entry::Record(Record::Sample((*sample).clone()));
    let pod = |line: &&Line| Entry::Pod((*line).clone());
    let entries = book.events.iter().map(event).chain(exceptions.iter().map(pod));
    let entries = entries.chain(samples.iter().map(sample)).chain(others.iter().map(pod));
    let count = book.events.len() + samples.len() + lines.len();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut length = 0;
    for (index, entry) in entries.enumerate() {
        let mut line = serde_json::to_string(&entry)?;
        line.push('\n');
        length += line.len();
        let is_full = length > LONGEST - CUT_LINE
            || encoder.get_ref().len() + line.len() > LARGEST - HELD_BACK - CUT_LINE;
        if is_full {
            line = serde_json::to_string(&Cut { cut: count - index })?;
            line.push('\n');
        }
        encoder.write_all(line.as_bytes())?;
        if is_full {
            break;
        }
    }
    encoder.finish()
}

/// The lines of a report that was written. What is no line is left out, such as what says how much was cut.
pub fn unpack(packed: &[u8]) -> io::Result<Vec<Entry>> {
    let mut text = String::new();
    let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
    GzDecoder::new(packed).take(most).read_to_string(&mut text)?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
