//! Fills the tables of the chart's README: its values, and in what it differs from the manifests.

use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};

use super::objects::ALLOWED;

/// A key of values.yaml that has a value of its own.
#[derive(Debug, PartialEq)]
struct Row {
    key: String,
    default: String,
    meaning: String,
}

/// `readme` with its tables as they have to be.
pub fn filled(readme: &str, values: &str) -> Result<String> {
    let mut table = String::from("| key | default | meaning |\n|---|---|---|\n");
    for Row { key, default, meaning } in rows(values)? {
        let meaning = meaning.replace('|', "\\|");
        writeln!(table, "| `{key}` | `{default}` | {meaning} |")
            .expect("a String takes every write");
    }
    let mut differences = String::from("| what only the chart has, or lacks | why |\n|---|---|\n");
    for (what, why) in ALLOWED {
        writeln!(differences, "| {what} | {why} |").expect("a String takes every write");
    }
    between(&between(readme, "values", &table)?, "differences", &differences)
}

/// The text with `inner` between two comments of Markdown.
fn between(text: &str, name: &str, inner: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- {name}:begin -->\n"), format!("<!-- {name}:end -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("the chart's README has no {name}:begin and {name}:end"))?;
    Ok(format!("{before}{begin}\n{inner}\n{end}{after}"))
}

/// The keys of values.yaml: mappings in block style, and values on one line.
fn rows(values: &str) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    // The keys that the next one may lie in.
    let mut path: Vec<&str> = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for (number, line) in (1..).zip(values.lines()) {
        let text = line.trim_start();
        if text.is_empty() {
            comment.clear();
            continue;
        }
        if let Some(said) = text.strip_prefix('#') {
            comment.push(said.trim());
            continue;
        }
        let depth = (line.len() - text.len()) / 2;
        let Some((key, value)) = text.split_once(':') else {
            bail!("values.yaml:{number}: a value must be on the line of its key");
        };
        ensure!(depth <= path.len(), "values.yaml:{number}: two blanks deeper, not more");
        ensure!(!comment.is_empty(), "values.yaml:{number}: {key} has no comment");
        path.truncate(depth);
        path.push(key);
        if !value.trim().is_empty() {
            let (key, default) = (path.join("."), value.trim().to_owned());
            rows.push(Row { key, default, meaning: comment.join(" ") });
        }
        comment.clear();
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_with_a_value_is_a_row() {
        let values = "\
# Of the file.

# The image.
image:
  # Its
  # tag.
  tag: \"\"
  # Where it is asked for.
  of:
    # One: or two.
    kind: {a: [b]}
# How many.
count: 2
";
        let row = |key: &str, default: &str, meaning: &str| Row {
            key: key.to_owned(),
            default: default.to_owned(),
            meaning: meaning.to_owned(),
        };
        let expected = [
            row("image.tag", "\"\"", "Its tag."),
            row("image.of.kind", "{a: [b]}", "One: or two."),
            row("count", "2", "How many."),
        ];
        assert_eq!(rows(values).unwrap(), expected);
    }

    #[test]
    fn a_key_without_a_comment_is_refused() {
        let error = rows("# A.\na: 1\nb: 2\n").unwrap_err();
        assert_eq!(error.to_string(), "values.yaml:3: b has no comment");
        let error = rows("# A.\na:\n  - 1\n").unwrap_err();
        assert_eq!(error.to_string(), "values.yaml:3: a value must be on the line of its key");
    }

    #[test]
    fn a_table_takes_the_place_of_what_was_there() {
        let readme = "a\n<!-- t:begin -->\nold\n<!-- t:end -->\nb\n";
        let expected = "a\n<!-- t:begin -->\n\nnew\n\n<!-- t:end -->\nb\n";
        assert_eq!(between(readme, "t", "new\n").unwrap(), expected);
        assert_eq!(between(expected, "t", "new\n").unwrap(), expected);
        assert!(between("a", "t", "new\n").is_err());
    }
}
