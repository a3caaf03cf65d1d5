//! Errors as people see them: the place in their text, what was wrong, what would be right.

use std::{fmt, ops::Range};

use annotate_snippets::{Level, Renderer};
use serde::Serialize;

use super::{abbreviate::abbreviated, excerpt::Excerpt, mistake::Mistake};

/// One mistake at its place in the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// At most a few hundred characters: what it quotes is abbreviated.
    pub message: String,
    /// What would be right, where that can be said; as long as the message at most.
    pub help: Option<String>,
    /// Bytes of the text that was read; never empty unless the text is.
    pub span: Range<usize>,
    /// Of the span's start, from 1.
    pub line: usize,
    /// Of the span's start, in characters, from 1.
    pub column: usize,
}

/// The mistakes of a text, in the order of the text: at least one, and the first 16 at most.
///
/// `Display` is the one-line form, for annotations and logs: `line 1, column 6: …; line 2, …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", self.lines().join("; "))]
#[serde(transparent)]
pub struct Errors {
    diagnostics: Vec<Diagnostic>,
    #[serde(skip)]
    more: usize,
}

impl Diagnostic {
    /// `span` is where a caret can be drawn.
    pub(super) fn new(mistake: Mistake, span: Range<usize>, line: usize, column: usize) -> Self {
        let help = mistake.remedy().map(abbreviated);
        Self { message: abbreviated(mistake.message), help, span, line, column }
    }

    /// The bytes of `text` that the diagnostic is about. `text` is the one that was read.
    pub fn word<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.span.clone()).unwrap_or_default()
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

impl Errors {
    /// `more` were found besides. There is at least one.
    pub(super) fn new(diagnostics: Vec<Diagnostic>, more: usize) -> Self {
        Self { diagnostics, more }
    }

    /// Those that are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.diagnostics.iter()
    }

    /// How many mistakes the text has besides those that are shown.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Each mistake that is shown on a line of its own, and how many more there are.
    pub fn lines(&self) -> Vec<String> {
        self.iter().map(ToString::to_string).chain(and_more(self.more)).collect()
    }

    /// Every error that is shown with the line it is in, or the part around the word if the line is
    /// very long, and a caret under the word.
    ///
    /// `text` is the one that was read, `name` what the user knows it by (a file, an option, an
    /// annotation). `color` is for terminals only: it adds escape sequences.
    pub fn render(&self, text: &str, name: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let reports = self.iter().map(|diagnostic| {
            let excerpt = Excerpt::around(text, diagnostic);
            let group = Level::ERROR.primary_title(diagnostic.message.as_str());
            let group = group.element(excerpt.snippet(name));
            let group = match &diagnostic.help {
                Some(help) => group.element(Level::HELP.message(help.as_str())),
                None => group,
            };
            excerpt.placed(renderer.render(&[group]), name)
        });
        reports.chain(and_more(self.more)).collect::<Vec<_>>().join("\n\n")
    }
}

impl<'e> IntoIterator for &'e Errors {
    type Item = &'e Diagnostic;
    type IntoIter = std::slice::Iter<'e, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What is said about mistakes that are not shown.
pub(super) fn and_more(more: usize) -> Option<String> {
    (more > 0).then(|| format!("and {more} more"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mistakes;

    fn errors(text: &str, span: Range<usize>) -> Errors {
        let mistake = Mistake::new("unknown word `fase`").help("did you mean `fast`?");
        mistakes::only(text, span, mistake)
    }

    #[test]
    fn the_one_line_form_counts_lines_and_characters() {
        let text = "größe\nüber fase";
        let start = text.find("fase").unwrap();
        let errors = errors(text, start..start + 4);
        assert_eq!(
            errors.to_string(),
            "line 2, column 6: unknown word `fase` (did you mean `fast`?)"
        );
        assert_eq!(errors.iter().next().unwrap().word(text), "fase");
    }

    #[test]
    fn the_caret_stands_under_the_word() {
        let rendered = errors("go fase", 3..7).render("go fase", "--fault", false);
        let lines: Vec<&str> = rendered.lines().collect();
        let source = lines.iter().position(|line| line.contains("go fase")).unwrap();
        assert_eq!(lines[source + 1].find("^^^^"), lines[source].find("fase"), "{rendered}");
        assert!(rendered.contains("--fault:1:4"), "{rendered}");
        assert!(rendered.contains("did you mean `fast`?"), "{rendered}");
        assert!(!rendered.contains('\u{1b}'));
        assert!(errors("go fase", 3..7).render("go fase", "--fault", true).contains('\u{1b}'));
    }

    #[test]
    fn more_than_are_shown_are_counted() {
        let shown: Vec<_> = errors("go fase", 3..7).iter().cloned().collect();
        let errors = Errors::new(shown, 3);
        assert!(errors.to_string().ends_with("(did you mean `fast`?); and 3 more"), "{errors}");
        assert!(errors.render("go fase", "--fault", false).ends_with("\n\nand 3 more"));
    }
}
