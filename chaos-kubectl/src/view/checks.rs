//! Renders what `doctor` has looked at.

use crate::{
    diagnosis::doctor::{Check, Verdict},
    printable::Printable,
    text::{DIM, GREEN, RED, YELLOW, styled, table},
};

/// A line for each check, and one more for what is to be done.
pub fn checks(checks: &Printable<Vec<Check>>, most: usize) -> Vec<String> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut before = "";
    for check in checks.iter() {
        let (sign, style) = match check.verdict {
            Verdict::Good => ("✓", GREEN),
            Verdict::Note => ("!", YELLOW),
            Verdict::Bad => ("✗", RED),
            Verdict::Unknown => ("?", DIM),
        };
        let subject = if check.subject == before { "" } else { &check.subject };
        before = &check.subject;
        rows.push(vec![styled(style, sign), subject.to_owned(), check.finding.clone()]);
        if let Some(remedy) = &check.remedy {
            rows.push(vec![String::new(), String::new(), styled(DIM, &format!("→ {remedy}"))]);
        }
    }
    table(&rows, most)
}
