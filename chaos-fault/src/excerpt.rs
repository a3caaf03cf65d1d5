//! Cuts out of a text what an error shows of it: one line, or the part of it around the word.

use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Snippet};

use super::errors::Diagnostic;

/// Bytes of a line that are shown as they are, as far as the screen has room.
const LONGEST_LINE: usize = 1_000;
/// Characters that are shown before a word in a longer line, of the word, and behind it.
const BEFORE: usize = 40;
const WORD: usize = 60;
const BEHIND: usize = 20;

pub(super) struct Excerpt {
    source: String,
    /// Of the word, in `source`.
    span: Range<usize>,
    line: usize,
    /// In the whole line, where `source` is part of one.
    column: Option<usize>,
}

impl Excerpt {
    /// `text` is the one that the diagnostic is about.
    pub fn around(text: &str, diagnostic: &Diagnostic) -> Self {
        let Range { start, end } = diagnostic.span;
        let (before, behind) = (&text[..start], &text[start..]);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = behind.find('\n').map_or(text.len(), |newline| start + newline);
        let line = diagnostic.line;
        if line_end - line_start <= LONGEST_LINE {
            let source = text[line_start..line_end].to_owned();
            return Self { source, span: start - line_start..end - line_start, line, column: None };
        }
        let before = last(&text[line_start..start], BEFORE);
        let word = first(&text[start..end], WORD);
        let behind = first(&text[start + word.len()..line_end], BEHIND);
        let dots = |is_cut: bool| if is_cut { "…" } else { "" };
        let head = format!("{}{before}", dots(before.len() < start - line_start));
        let tail = dots(start + word.len() + behind.len() < line_end);
        let span = head.len()..head.len() + word.len();
        Self {
            source: format!("{head}{word}{behind}{tail}"),
            span,
            line,
            column: Some(diagnostic.column),
        }
    }

    /// The place, the line and the caret; `name` is what the user knows the text by.
    pub fn snippet<'e>(&'e self, name: &'e str) -> Snippet<'e, Annotation<'e>> {
        Snippet::source(self.source.as_str())
            .line_start(self.line)
            .path(name)
            .annotation(AnnotationKind::Primary.span(self.span.clone()))
    }

    /// What was rendered of the snippet, with the column in the whole line: the renderer counts in the part.
    pub fn placed(&self, rendered: String, name: &str) -> String {
        let Some(column) = self.column else { return rendered };
        let line = self.line;
        let counted = self.source[..self.span.start].chars().count() + 1;
        let (in_part, in_line) =
            (format!("{name}:{line}:{counted}"), format!("{name}:{line}:{column}"));
        rendered.replacen(&in_part, &in_line, 1)
    }
}

fn first(text: &str, characters: usize) -> &str {
    let end = text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at);
    &text[..end]
}

fn last(text: &str, characters: usize) -> &str {
    let start = text.char_indices().nth_back(characters - 1).map_or(0, |(at, _)| at);
    &text[start..]
}

#[cfg(test)]
mod tests {
    use annotate_snippets::{Level, Renderer};
    use proptest::prelude::*;

    use crate::{mistake::Mistake, mistakes};

    proptest! {
        #[test]
        fn a_line_looks_as_it_does_in_the_whole_text(
            text in "[a-zü\t \n]{1,80}", start in 0usize..80, length in 0usize..20,
        ) {
            let errors = mistakes::only(&text, start..start + length, Mistake::new("wrong"));
            let span = errors.iter().next().unwrap().span.clone();
            // A text of nothing but white space has no word to mark.
            prop_assume!(!span.is_empty());
            let snippet = annotate_snippets::Snippet::source(text.as_str())
                .path("name")
                .annotation(annotate_snippets::AnnotationKind::Primary.span(span));
            let whole = Level::ERROR.primary_title("wrong").element(snippet);
            prop_assert_eq!(
                errors.render(&text, "name", false),
                Renderer::plain().render(&[whole])
            );
        }
    }

    #[test]
    fn of_a_long_line_the_part_around_the_word_is_shown() {
        let text = format!("drop\n{} dorp {}", "drop; ".repeat(5_000), "; drop".repeat(5_000));
        let start = text.find("dorp").unwrap();
        let errors = mistakes::only(&text, start..start + 4, Mistake::new("wrong"));
        assert_eq!(
            errors.render(&text, "a.txt", false),
            "error: wrong
 --> a.txt:2:30002
  |
2 | …p; drop; drop; drop; drop; drop; drop;  dorp ; drop; drop; drop;…
  |                                          ^^^^"
        );
    }

    #[test]
    fn of_a_long_word_the_beginning_is_marked() {
        let text = "x".repeat(100_000);
        let rendered =
            mistakes::only(&text, 0..text.len(), Mistake::new("wrong")).render(&text, "a", false);
        assert!(rendered.len() < 400, "{rendered}");
        assert_eq!(rendered.matches('^').count(), super::WORD);
    }
}
