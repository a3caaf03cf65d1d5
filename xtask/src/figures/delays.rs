//! Delays of ours and of netem's.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What was measured.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    /// What it was measured on.
    pub machine: String,
    /// Of datagrams that nothing holds.
    pub nothing: Figures,
    pub rows: Vec<Row>,
}

/// One delay that was asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub delay_ms: u32,
    pub shape: String,
    pub ours: Figures,
    /// Missing where the kernel has no netem.
    pub netem: Option<Figures>,
    pub histogram: Histogram,
}

/// Differences from what was asked for, in milliseconds.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    pub sent: u64,
    pub lost: u64,
    pub median_error: f64,
    pub p99_error: f64,
    /// The greatest distance of the distribution functions (Kolmogorov-Smirnov); none of a constant
    /// delay, which has a step for one.
    pub distance: Option<f64>,
}

/// How many datagrams were on their way for how long: bins of the same width between two times.
#[derive(Serialize, Deserialize)]
pub struct Histogram {
    pub from: f64,
    pub to: f64,
    pub ours: Vec<u64>,
    pub netem: Vec<u64>,
    pub asked: Vec<f64>,
}

impl Measured {
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
    use crate::figures::read;

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
        let measured: Measured = read(PRINTED).unwrap();
        let row = "| 10 ms | normal | 100, 0 | - | +0.050 | - | -0.500 | - | 0.010 | - |";
        assert!(measured.table().ends_with(&format!("{row}\n")), "{}", measured.table());
        assert!(measured.table().starts_with("Measured on M. A datagram that nothing holds"));
        assert!(read::<Measured>("no figures\n").is_err());
    }
}
