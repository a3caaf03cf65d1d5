//! Reads the lines of a Run's report: pods, samples of probes, events. Other lines, of newer controllers, are left out.

use std::io::{self, Read as _};

use chaos_api::kinds::LedgerSums;
use flate2::read::GzDecoder;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::printable;

/// In bytes, uncompressed. A controller writes no more; a ConfigMap of somebody else could have gigabytes.
const LONGEST: u64 = 8 << 20;

/// What the lines say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lines {
    pub pods: Vec<PodLine>,
    pub samples: Vec<Sample>,
    pub events: Vec<Event>,
    /// Lines for which there was no room.
    pub cut: u64,
}

/// What has become of a pod in a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodLine {
    pub namespace: String,
    pub pod: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    pub step: String,
    /// `Waiting`, `Armed`, `Ended`, `Refused` or `Removed`, when it was seen last.
    pub state: String,
    #[serde(flatten)]
    pub ledger: LedgerSums,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// What came of one question of a probe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub at: Timestamp,
    #[serde(skip_serializing)]
    pub probe: String,
    pub outcome: Outcome,
    #[serde(default)]
    pub value: Option<f64>,
    #[serde(default)]
    pub seen: String,
}

/// Whether an answer was as expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    Pass,
    Fail,
    Error,
}

/// Something that happened to the Run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub at: Timestamp,
    /// One word in CamelCase, such as `StepStarted`.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    #[serde(default)]
    pub message: String,
}

impl Lines {
    /// Unpacks the lines of a ConfigMap.
    pub fn unpack(packed: &[u8]) -> io::Result<Self> {
        let mut text = Vec::new();
        GzDecoder::new(packed).take(LONGEST).read_to_end(&mut text)?;
        Ok(Self::read(&String::from_utf8_lossy(&text)))
    }

    /// Reads lines of JSON. Their strings can be shown afterwards.
    pub fn read(text: &str) -> Self {
        let mut lines = Self::default();
        for line in text.lines() {
            let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
            lines.add(printable::value(value));
        }
        lines.samples.sort_by_key(|sample| sample.at);
        lines.events.sort_by_key(|event| event.at);
        lines.pods.sort_by(|one, other| {
            let key = |line: &PodLine| (line.namespace.clone(), line.pod.clone());
            key(one).cmp(&key(other))
        });
        lines
    }

    fn add(&mut self, line: Value) {
        match line["kind"].as_str() {
            Some("sample") => self.samples.extend(serde_json::from_value::<Sample>(line).ok()),
            Some("event") => self.events.extend(serde_json::from_value::<Event>(line).ok()),
            Some(_) => {}
            None => match line["cut"].as_u64() {
                Some(cut) => self.cut += cut,
                None => self.pods.extend(serde_json::from_value::<PodLine>(line).ok()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    const TEXT: &str = r#"{"namespace":"shop","pod":"web-1","uid":"0f","step":"slow","state":"Armed","matched":9,"injected":4,"shadowed":0,"spared":5,"lost":0}
{"namespace":"shop","pod":"web-0","uid":"0e","node":"node-a","step":"slow","state":"Refused","matched":0,"injected":0,"shadowed":0,"spared":0,"lost":0,"refusal":"old\u001b[2J"}
{"kind":"sample","at":"2026-11-28T10:09:05Z","probe":"checkout","outcome":"Fail","value":0.23,"seen":"500, 230ms"}
{"kind":"sample","at":"2026-11-28T10:09:00Z","probe":"checkout","outcome":"Error","seen":"refused"}
{"kind":"event","at":"2026-11-28T10:09:00Z","what":"StepStarted","step":"slow","message":"6 pods"}
{"kind":"weather","at":"2026-11-28T10:09:00Z"}
this is no line
{"cut":3}
"#;

    #[test]
    fn lines_of_every_kind_are_read() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(TEXT.as_bytes()).unwrap();
        let lines = Lines::unpack(&encoder.finish().unwrap()).unwrap();
        let pods: Vec<&str> = lines.pods.iter().map(|line| line.pod.as_str()).collect();
        assert_eq!((pods, lines.cut), (vec!["web-0", "web-1"], 3));
        assert_eq!(lines.pods[0].refusal.as_deref(), Some("old\u{fffd}[2J"));
        let outcomes: Vec<Outcome> = lines.samples.iter().map(|sample| sample.outcome).collect();
        assert_eq!(outcomes, [Outcome::Error, Outcome::Fail]);
        assert_eq!(lines.events[0].what, "StepStarted");
        assert!(Lines::unpack(b"not gzip").is_err());
    }

    #[test]
    fn what_never_ends_is_cut() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let line = format!("{}\n", TEXT.lines().next().unwrap());
        for _ in 0..200_000 {
            encoder.write_all(line.as_bytes()).unwrap();
        }
        let lines = Lines::unpack(&encoder.finish().unwrap()).unwrap();
        assert!(lines.pods.len() < 80_000, "{}", lines.pods.len());
    }
}
