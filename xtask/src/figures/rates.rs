//! What arrives under a rate, and what a delay loses under load.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What was measured.
#[derive(Serialize, Deserialize)]
pub struct Measured {
    /// What it was measured on.
    pub machine: String,
    pub rates: Vec<Rate>,
    pub loads: Vec<Load>,
}

/// A rate that was asked for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// Bits per second.
    pub asked: u64,
    /// "TCP, IPv4".
    pub traffic: String,
    /// The share of a frame that is payload, of full frames.
    pub payload: f64,
    /// Payload that arrived, bits per second.
    pub ours: f64,
    /// The same under tbf; missing where the kernel has none.
    pub tbf: Option<f64>,
    /// The same without a limit.
    pub free: f64,
}

/// Traffic under a delay, and without.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Load {
    pub what: String,
    /// Of datagrams, how many a second; of a stream, megabits per second.
    pub speed: f64,
    pub sent: u64,
    /// Datagrams that did not arrive.
    pub lost: u64,
    /// Segments that were sent again.
    pub again: u64,
}

impl Measured {
    /// As Markdown.
    pub fn table(&self) -> String {
        let Self { machine, rates, loads } = self;
        let mut page = format!(
            "Measured on {machine}.\n\n\
             | asked for | traffic | payload, arithmetic | ours | of that | tbf | of that | no limit |\n\
             |---|---|---|---|---|---|---|---|\n"
        );
        for Rate { asked, traffic, payload, ours, tbf, free } in rates {
            let expected = payload * *asked as f64;
            let share = |measured: f64| format!("{:.3}", measured / expected);
            // Writing to a string cannot fail.
            let _ = writeln!(
                page,
                "| {} | {traffic} | {} | {} | {} | {} | {} | {} |",
                bits(*asked as f64),
                bits(expected),
                bits(*ours),
                share(*ours),
                tbf.map_or_else(|| "-".to_owned(), bits),
                tbf.map_or_else(|| "-".to_owned(), share),
                bits(*free),
            );
        }
        page.push_str("\n| load | speed | sent | lost | sent again |\n|---|---|---|---|---|\n");
        for Load { what, speed, sent, lost, again } in loads {
            let _ = writeln!(page, "| {what} | {speed:.0} | {sent} | {lost} | {again} |");
        }
        page
    }
}

/// Bits per second, in the unit that fits.
fn bits(rate: f64) -> String {
    match rate {
        rate if rate >= 1e9 => format!("{:.3} Gbit/s", rate / 1e9),
        rate if rate >= 1e6 => format!("{:.2} Mbit/s", rate / 1e6),
        rate => format!("{:.1} kbit/s", rate / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_its_share_of_what_frames_hold() {
        let rate = Rate {
            asked: 1_000_000,
            traffic: "UDP".to_owned(),
            payload: 0.9,
            ours: 891_000.0,
            tbf: None,
            free: 2e9,
        };
        let load = Load { what: "x".to_owned(), speed: 1.0, sent: 3, lost: 2, again: 0 };
        let measured = Measured { machine: "M".to_owned(), rates: vec![rate], loads: vec![load] };
        let row =
            "| 1.00 Mbit/s | UDP | 900.0 kbit/s | 891.0 kbit/s | 0.990 | - | - | 2.000 Gbit/s |";
        let table = measured.table();
        assert!(table.contains(row), "{table}");
        assert!(table.ends_with("| x | 1 | 3 | 2 | 0 |\n"), "{table}");
    }
}
