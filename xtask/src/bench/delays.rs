//! Delays of ours and of netem's, as the benchmark prints them.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// What was measured.
#[derive(Deserialize)]
pub struct Measured {
    machine: String,
    nothing: Figures,
    pub rows: Vec<Row>,
}

/// One delay that was asked for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub delay_ms: u32,
    pub shape: String,
    ours: Figures,
    netem: Option<Figures>,
    pub histogram: Histogram,
}

/// Differences from what was asked for, in milliseconds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Figures {
    sent: u64,
    lost: u64,
    median_error: f64,
    p99_error: f64,
    distance: Option<f64>,
}

/// How many datagrams were on their way for how long: bins of the same width between two times.
#[derive(Deserialize)]
pub struct Histogram {
    pub from: f64,
    pub to: f64,
    pub ours: Vec<f64>,
    pub netem: Vec<f64>,
    pub asked: Vec<f64>,
}

impl Measured {
    /// Takes the last line that the benchmark has printed.
    pub fn read(printed: &str) -> Result<Self> {
        let line = printed.lines().rfind(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("no figures in what was printed:\n{printed}"))?;
        serde_json::from_str(line).context("read the figures")
    }

    /// As Markdown.
    pub fn table(&self) -> String {
        let Self { machine, nothing, rows } = self;
        let mut page = format!(
            "Measured on {machine}. A datagram that nothing holds is on its way for {:.3} ms (p99 {:.3} ms).\n\n\
             | delay | jitter | sent, lost: ours | netem | median error, ms: ours | netem | p99 error, ms: ours \
             | netem | KS distance: ours | netem |\n|---|---|---|---|---|---|---|---|---|---|\n",
            nothing.median_error, nothing.p99_error
        );
        for Row { delay_ms, shape, ours, netem, .. } in rows {
            let netem = netem.as_ref();
            let cell = |of: fn(&Figures) -> String| {
                format!("{} | {}", of(ours), netem.map_or_else(|| "-".to_owned(), of))
            };
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "| {delay_ms} ms | {shape} | {} | {} | {} | {} |",
                cell(|one| format!("{}, {}", one.sent, one.lost)),
                cell(|one| format!("{:+.3}", one.median_error)),
                cell(|one| format!("{:+.3}", one.p99_error)),
                cell(|one| one.distance.map_or_else(|| "-".to_owned(), |it| format!("{it:.3}"))),
            );
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = concat!(
        "starting\n",
        r#"{"machine":"M","nothing":{"sent":2,"lost":0,"medianError":0.1,"p99Error":0.2,"distance":null},"#,
        r#""rows":[{"delayMs":10,"shape":"normal","#,
        r#""ours":{"sent":100,"lost":0,"medianError":0.05,"p99Error":-0.5,"distance":0.01},"#,
        r#""netem":null,"histogram":{"from":0,"to":1,"ours":[1],"netem":[],"asked":[0.5]}}]}"#,
        "\n"
    );

    #[test]
    fn a_row_has_both() {
        let measured = Measured::read(PRINTED).unwrap();
        let row = "| 10 ms | normal | 100, 0 | - | +0.050 | - | -0.500 | - | 0.010 | - |";
        assert!(measured.table().ends_with(&format!("{row}\n")), "{}", measured.table());
        assert!(measured.table().starts_with("Measured on M. A datagram that nothing holds"));
        assert!(Measured::read("no figures\n").is_err());
    }
}
