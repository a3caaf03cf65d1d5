//! Errors as people see them: the place in their text, what was wrong, what would be right.

use std::{fmt, ops::Range};

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use super::mistake::Mistake;

/// One mistake at its place in the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub message: String,
    /// What would be right, where that can be said.
    pub help: Option<String>,
    /// Bytes of the text that was read; never empty unless the text is.
    pub span: Range<usize>,
    /// Of the span's start, from 1.
    pub line: usize,
    /// Of the span's start, in characters, from 1.
    pub column: usize,
}

/// Every mistake of a text, in the order of the text; at least one.
///
/// `Display` is the one-line form, for annotations and logs: `line 1, column 6: …; line 2, …`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", one_line(.0))]
#[serde(transparent)]
pub struct Errors(Vec<Diagnostic>);

impl Diagnostic {
    /// Places a mistake; a span that is empty, or out of the text, is widened or moved so that a
    /// caret can be drawn.
    pub(super) fn new(text: &str, span: Range<usize>, mistake: Mistake) -> Self {
        let span = visible(text, span);
        let before = &text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            message: mistake.message,
            help: mistake.help,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span,
        }
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
    /// `None` when there is nothing to report.
    pub(super) fn from_diagnostics(mut diagnostics: Vec<Diagnostic>) -> Option<Self> {
        diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
        (!diagnostics.is_empty()).then_some(Self(diagnostics))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// Every error with the line it is in and a caret under the word.
    ///
    /// `text` is the one that was read, `name` what the user knows it by (a file, an option, an
    /// annotation). `color` is for terminals only: it adds escape sequences.
    pub fn render(&self, text: &str, name: &str, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let reports: Vec<String> = self
            .iter()
            .map(|diagnostic| {
                let snippet = Snippet::source(text)
                    .path(name)
                    .annotation(AnnotationKind::Primary.span(diagnostic.span.clone()));
                let group =
                    Level::ERROR.primary_title(diagnostic.message.as_str()).element(snippet);
                let group = match &diagnostic.help {
                    Some(help) => group.element(Level::HELP.message(help.as_str())),
                    None => group,
                };
                renderer.render(&[group])
            })
            .collect();
        reports.join("\n\n")
    }
}

impl From<Diagnostic> for Errors {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl<'e> IntoIterator for &'e Errors {
    type Item = &'e Diagnostic;
    type IntoIter = std::slice::Iter<'e, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

fn one_line(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The span, within the text, on character boundaries, one line at most and not empty.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.ceil_char_boundary(span.end.clamp(start, text.len()));
    let marked = text[start..end].split('\n').next().unwrap_or_default();
    let marked = marked.trim_end();
    if !marked.is_empty() {
        return start..start + marked.len();
    }
    match text[start..].chars().next() {
        Some(next) if next != '\n' => start..start + next.len_utf8(),
        _ => {
            let last = text[..start].trim_end().char_indices().next_back();
            last.map_or(start..start, |(at, last)| at..at + last.len_utf8())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str, span: Range<usize>) -> Errors {
        let mistake = Mistake::new("unknown word `fase`").help("did you mean `fast`?");
        Errors::from_diagnostics(vec![Diagnostic::new(text, span, mistake)]).unwrap()
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
    fn a_span_at_the_end_marks_the_last_letter() {
        assert_eq!(visible("drop to ", 8..8), 6..7);
        assert_eq!(visible("drop to\nx", 7..8), 6..7);
        assert_eq!(visible("", 0..0), 0..0);
        assert_eq!(visible("a\nb", 0..3), 0..1);
        assert_eq!(visible("ü", 1..9), 0..2);
    }
}
