//! The figures as Markdown.

use std::{fmt::Write, fs};

use crate::{
    experiments::{Row, Section},
    rounds::Samples,
};

/// A paragraph on the machine and a table for each section.
pub fn render(sections: &[Section]) -> String {
    let mut page = format!("Measured on {}.\n", machine());
    for section in sections {
        page.push_str(&table(section));
    }
    page
}

fn table(Section { title, unit, rows }: &Section) -> String {
    let mut table = format!(
        "\n### {title}\n\n\
         | | {unit}, median (least to greatest) | ratio, median (least to greatest) | aim |\n\
         |---|---|---|---|\n"
    );
    let digits = if *unit == "ms" { 2 } else { 0 };
    for Row { what, figures, ratio, aim } in rows {
        let figures = spread(figures, digits);
        let verdict = match (ratio, aim) {
            (Some(ratio), Some(aim)) if ratio.median() <= *aim => format!("≤ {aim:.2}: held"),
            (Some(_), Some(aim)) => format!("≤ {aim:.2}: **missed**"),
            _ => String::new(),
        };
        let ratio = ratio.as_ref().map(|ratio| spread(ratio, 3)).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| {what} | {figures} | {ratio} | {verdict} |");
    }
    table
}

fn spread(samples: &Samples, digits: usize) -> String {
    format!(
        "{:.digits$} ({:.digits$} to {:.digits$})",
        samples.median(),
        samples.least(),
        samples.greatest()
    )
}

/// Processor, CPUs, kernel.
pub fn machine() -> String {
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    let processor = processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let kernel = nix::sys::utsname::uname()
        .map(|name| name.release().to_string_lossy().into_owned())
        .unwrap_or_default();
    format!("{processor}, {cpus} CPUs, Linux {kernel}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_its_aim_was_held() {
        let row = |ratio: f64| Row {
            what: "one rule",
            figures: [100.0, 300.0, 200.0].into_iter().collect(),
            ratio: Some([ratio].into_iter().collect()),
            aim: Some(1.1),
        };
        let section = Section { title: "T", unit: "ns", rows: vec![row(1.05), row(1.25)] };
        let table = table(&section);
        let held = "| one rule | 200 (100 to 300) | 1.050 (1.050 to 1.050) | ≤ 1.10: held |";
        assert!(table.contains(held), "{table}");
        assert!(table.contains("| ≤ 1.10: **missed** |"), "{table}");
    }
}
