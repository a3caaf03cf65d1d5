//! Rewrites lines in place on a terminal: only what has changed is written, at once, so nothing flickers.

use std::io::{self, Write};

use crate::{terminal::Size, text::fit};

/// The lines that stand on the terminal now, above the cursor.
#[derive(Debug, Default)]
pub struct Screen {
    shown: Vec<String>,
}

impl Screen {
    /// What is to be written so that these lines stand there instead.
    pub fn change(&mut self, lines: &[String], size: Size) -> String {
        // The last line of the terminal has the cursor.
        let most = size.height.saturating_sub(1).max(1);
        let mut lines: Vec<String> = lines.iter().map(|line| fit(line, size.width)).collect();
        if lines.len() > most {
            let more = lines.len() - most + 1;
            lines.truncate(most - 1);
            lines.push(format!("… {more} more lines"));
        }
        if lines == self.shown {
            return String::new();
        }
        let mut text = String::new();
        if !self.shown.is_empty() {
            text.push_str(&format!("\u{1b}[{}A", self.shown.len()));
        }
        for (index, line) in lines.iter().enumerate() {
            if self.shown.get(index) != Some(line) {
                text.push_str(line);
                text.push_str("\u{1b}[K");
            }
            text.push_str("\r\n");
        }
        if lines.len() < self.shown.len() {
            text.push_str("\u{1b}[J");
        }
        self.shown = lines;
        text
    }

    /// Draws lines on standard output.
    pub fn draw(&mut self, lines: &[String], size: Size) -> io::Result<()> {
        let has_colours =
            anstream::AutoStream::choice(&io::stdout()) != anstream::ColorChoice::Never;
        let plain = |line: &String| anstream::adapter::strip_str(line).to_string();
        let lines: Vec<String> = match has_colours {
            true => lines.to_vec(),
            false => lines.iter().map(plain).collect(),
        };
        let text = self.change(&lines, size);
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Leaves what is shown where it is; what comes next is drawn below.
    pub fn leave(&mut self) {
        self.shown.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 20, height: 5 };

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn only_what_changes_is_written() {
        let mut screen = Screen::default();
        assert_eq!(screen.change(&lines("a\nb"), SIZE), "a\u{1b}[K\r\nb\u{1b}[K\r\n");
        assert_eq!(screen.change(&lines("a\nb"), SIZE), "");
        assert_eq!(screen.change(&lines("a\nc"), SIZE), "\u{1b}[2A\r\nc\u{1b}[K\r\n");
        assert_eq!(screen.change(&lines("a"), SIZE), "\u{1b}[2A\r\n\u{1b}[J");
        screen.leave();
        assert_eq!(screen.change(&lines("a"), SIZE), "a\u{1b}[K\r\n");
    }

    #[test]
    fn what_has_no_room_is_cut() {
        let mut screen = Screen::default();
        let written = screen.change(&lines("1234567890123456789012\n2\n3\n4\n5"), SIZE);
        assert!(written.contains("1234567890123456789…\u{1b}[K"), "{written}");
        assert!(written.ends_with("3\u{1b}[K\r\n… 2 more lines\u{1b}[K\r\n"), "{written:?}");
    }
}
