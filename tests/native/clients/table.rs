//! The tables of `docs/faults.md` that say what a client reports: the tests read them from there.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail, ensure};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/faults.md");

/// The table below a heading.
pub struct Table {
    /// The command line of the client, for a shell.
    pub command: String,
    pub rows: Vec<Row>,
}

pub struct Row {
    /// A sentence.
    pub fault: String,
    pub says: Says,
    /// It ends with one of them.
    pub exit_codes: Vec<i32>,
    /// How long it takes at least.
    pub after: Duration,
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// What it says without a fault.
    Answer,
    /// As much, but not the same, and no word of an error.
    OtherBytes,
    /// This, where `…` stands for anything.
    Text(String),
}

impl Table {
    /// The first one below the heading of the third order that has this text.
    pub fn below(heading: &str) -> Result<Self> {
        let page = fs::read_to_string(PAGE).with_context(|| format!("read {PAGE}"))?;
        let section = page.split("\n### ").find(|section| section.lines().next() == Some(heading));
        let section = section.with_context(|| format!("no heading {heading:?}"))?;
        let mut lines = section.lines().skip_while(|line| !line.starts_with('|'));
        let head = cells(lines.next().context("no table")?)?;
        ensure!(head[0] == "fault", "{heading}: the first column is {:?}", head[0]);
        let command = head[1].strip_suffix(" says").and_then(code).context("no command")?;
        let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(Row::read);
        let rows = rows.collect::<Result<Vec<_>>>().with_context(|| heading.to_owned())?;
        ensure!(!rows.is_empty(), "{heading}: the table is empty");
        Ok(Self { command: command.to_owned(), rows })
    }
}

impl Row {
    fn read(line: &str) -> Result<Self> {
        let [fault, says, exit_codes, after] = cells(line)?;
        let says = match (says, code(says)) {
            ("the answer", _) => Says::Answer,
            ("other bytes", _) => Says::OtherBytes,
            (_, Some(text)) => Says::Text(text.to_owned()),
            _ => bail!("{says:?} is neither code nor a known phrase"),
        };
        let after = match after.strip_suffix(" s") {
            Some(seconds) => Duration::from_secs_f64(seconds.parse()?),
            None if after.is_empty() => Duration::ZERO,
            None => bail!("{after:?} are no seconds"),
        };
        let fault = code(fault).context("the fault is no code")?.to_owned();
        let exit_codes = exit_codes.split(" or ").map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self { fault, says, exit_codes, after })
    }

    /// How the page would have it.
    pub fn line(fault: &str, says: &Says, exit_code: i32, after: &str) -> String {
        let says = match says {
            Says::Answer => "the answer".to_owned(),
            Says::OtherBytes => "other bytes".to_owned(),
            Says::Text(text) => format!("`{text}`"),
        };
        format!("| `{fault}` | {says} | {exit_code} | {after} |")
    }
}

/// The four cells of a line.
fn cells(line: &str) -> Result<[&str; 4]> {
    let inner = line.strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    let cells: Vec<_> = inner.unwrap_or(line).split('|').map(str::trim).collect();
    cells.try_into().map_err(|cells: Vec<_>| anyhow::anyhow!("{} cells: {line}", cells.len()))
}

fn code(cell: &str) -> Option<&str> {
    cell.strip_prefix('`')?.strip_suffix('`')
}

/// Whether a text is what a pattern says, in which each `…` stands for anything.
pub fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

mod repeated {
    use super::*;

    #[test]
    fn patterns_stand_for_what_they_leave_out() {
        for (pattern, text, expected) in [
            ("refused", "refused", true),
            ("refused", "refused again", false),
            ("after … ms: … gone", "after 3 ms: it is gone", true),
            ("after … ms: … gone", "after 3 s: it is gone", false),
            ("lost…", "lost for ever", true),
            ("… of 10", "3 of 100", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} | {text}");
        }
    }
}
