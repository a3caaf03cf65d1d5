//! Lays text out: widths without escape sequences, cut and padded lines, tables, numbers.

use anstyle::{AnsiColor, Style};

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const RED: Style = AnsiColor::Red.on_default();
pub const GREEN: Style = AnsiColor::Green.on_default();
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
pub const CYAN: Style = AnsiColor::Cyan.on_default();

/// Between columns.
const GAP: usize = 2;

/// Text in a style.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// How many characters are seen of a line.
pub fn width(line: &str) -> usize {
    anstream::adapter::strip_str(line).to_string().chars().count()
}

/// A line of at most so many characters; what is cut off is shown by `…`. Escape sequences stay whole.
pub fn fit(line: &str, most: usize) -> String {
    if width(line) <= most {
        return line.to_owned();
    }
    let mut fitted = String::new();
    let mut seen = 0;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            fitted.push(character);
            for part in characters.by_ref() {
                fitted.push(part);
                if part.is_ascii_alphabetic() {
                    break;
                }
            }
            continue;
        }
        if seen + 1 >= most {
            break;
        }
        seen += 1;
        fitted.push(character);
    }
    fitted.push('…');
    if fitted.contains('\u{1b}') {
        fitted.push_str("\u{1b}[0m");
    }
    fitted
}

/// A line with blanks up to so many characters.
pub fn pad(line: &str, to: usize) -> String {
    format!("{line}{}", " ".repeat(to.saturating_sub(width(line))))
}

/// Columns below each other, without rules. Of the last one, what has no room goes on below; so no line is longer than
/// `most` as long as the others leave some.
pub fn table(rows: &[Vec<String>], most: usize) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    let before: usize = widths.iter().rev().skip(1).map(|width| width + GAP).sum();
    let room = most.saturating_sub(before).max(20);
    let mut lines = Vec::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            if column + 1 < columns {
                line.push_str(&pad(&cell.replace('\n', " "), widths[column] + GAP));
                continue;
            }
            let mut parts = wrap(cell, room).into_iter();
            line.push_str(&parts.next().unwrap_or_default());
            for part in parts {
                lines.push(std::mem::take(&mut line).trim_end().to_owned());
                line = format!("{}{part}", " ".repeat(before));
            }
        }
        lines.push(line.trim_end().to_owned());
    }
    lines
}

/// Lines of at most so many characters, broken between words where that is possible.
pub fn wrap(text: &str, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for paragraph in text.lines() {
        let mut line = String::new();
        for word in paragraph.split(' ') {
            if !line.is_empty() && width(&line) + 1 + width(word) > most {
                lines.push(std::mem::take(&mut line));
            } else if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(line);
    }
    if lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// A number with thousands apart: `91,823`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_their_colours_end() {
        assert_eq!(fit("four", 4), "four");
        assert_eq!(fit("fours", 4), "fou…");
        let red = styled(RED, "crimson");
        assert_eq!(fit(&red, 7), red);
        assert_eq!(fit(&red, 4), "\u{1b}[31mcri…\u{1b}[0m");
        assert_eq!(width(&fit(&red, 4)), 4);
    }

    #[test]
    fn the_last_column_goes_on_below() {
        let rows = [["a", "one"], ["long", "two words and some more of them"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.iter().map(|cell| (*cell).to_owned()).collect()).collect();
        assert_eq!(
            table(&rows, 26),
            ["a     one", "long  two words and some", "      more of them"]
        );
    }

    #[test]
    fn numbers_are_grouped() {
        let grouped = [0, 999, 1_000, 91_823, 1_234_567].map(number);
        assert_eq!(grouped, ["0", "999", "1,000", "91,823", "1,234,567"]);
    }
}
