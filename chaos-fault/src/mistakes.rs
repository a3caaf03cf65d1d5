//! Gathers the mistakes of a text: shows the first few, counts the others.

use std::ops::Range;

use super::{
    errors::{Diagnostic, Errors},
    mistake::Mistake,
};

/// So many are shown. Whoever has more has made one mistake many times, or did not mean a fault at all.
pub(super) const MOST_SHOWN: usize = 16;

/// The mistakes of one text, in the order of the text, however they are found.
///
/// What a mistake costs beyond its message (its line, what may have been meant) is paid by those that
/// are shown.
pub(super) struct Mistakes<'t> {
    text: &'t str,
    /// Sorted by where they begin; at most [`MOST_SHOWN`].
    shown: Vec<(Range<usize>, Mistake)>,
    more: usize,
}

impl<'t> Mistakes<'t> {
    pub fn of(text: &'t str) -> Self {
        Self { text, shown: Vec::new(), more: 0 }
    }

    pub fn add(&mut self, span: Range<usize>, mistake: Mistake) {
        // A span may be as long as the text: only what is shown is looked at.
        if self.shown.len() == MOST_SHOWN
            && self.shown.last().is_some_and(|(last, _)| last.start <= span.start)
        {
            self.more += 1;
            return;
        }
        let span = visible(self.text, span);
        let place = self.shown.partition_point(|(before, _)| before.start <= span.start);
        if place < MOST_SHOWN {
            self.shown.insert(place, (span, mistake));
        }
        if place >= MOST_SHOWN || self.shown.len() > MOST_SHOWN {
            self.shown.truncate(MOST_SHOWN);
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// `None` when there was no mistake.
    pub fn into_errors(self) -> Option<Errors> {
        let mut lines = Lines::of(self.text);
        let diagnostics: Vec<_> = self
            .shown
            .into_iter()
            .map(|(span, mistake)| {
                let (line, column) = lines.place(span.start);
                Diagnostic::new(mistake, span, line, column)
            })
            .collect();
        (!diagnostics.is_empty()).then(|| Errors::new(diagnostics, self.more))
    }
}

/// A text's one mistake.
pub(super) fn only(text: &str, span: Range<usize>, mistake: Mistake) -> Errors {
    let span = visible(text, span);
    let (line, column) = Lines::of(text).place(span.start);
    Errors::new(vec![Diagnostic::new(mistake, span, line, column)], 0)
}

/// Counts lines on the way through a text.
struct Lines<'t> {
    text: &'t str,
    line: usize,
    /// Of the line, in bytes.
    start: usize,
    /// The place that was asked for last, and its column from 0.
    at: usize,
    column: usize,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        let start = super::without_bom(text).1;
        Self { text, line: 1, start, at: start, column: 0 }
    }

    /// Line and column, both from 1, of a byte that is not before the last one.
    fn place(&mut self, at: usize) -> (usize, usize) {
        let passed = self.text.get(self.at..at).unwrap_or_default();
        if let Some(newline) = passed.rfind('\n') {
            self.line += passed.matches('\n').count();
            self.start = self.at + newline + 1;
            self.column = self.text[self.start..at].chars().count();
        } else {
            self.column += passed.chars().count();
        }
        self.at = self.at.max(at);
        (self.line, self.column + 1)
    }
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
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str, spans: &[Range<usize>]) -> Errors {
        let mut mistakes = Mistakes::of(text);
        for (index, span) in spans.iter().enumerate() {
            mistakes.add(span.clone(), Mistake::new(index.to_string()));
        }
        mistakes.into_errors().unwrap()
    }

    #[test]
    fn the_first_of_the_text_are_shown_in_whatever_order_they_come() {
        let text = "x\n".repeat(100);
        let spans: Vec<_> = (0..100).map(|index| (99 - index) * 2..(99 - index) * 2 + 1).collect();
        let errors = found(&text, &spans);
        let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, (1..=MOST_SHOWN).collect::<Vec<_>>());
        assert_eq!(errors.more(), 100 - MOST_SHOWN);
        assert_eq!(found(&text, &spans[..MOST_SHOWN]).more(), 0);
    }

    #[test]
    fn those_of_one_place_stay_in_their_order() {
        let errors = found("drop", &[0..4, 0..4, 0..1]);
        let messages: Vec<_> = errors.iter().map(|error| error.message.as_str()).collect();
        assert_eq!(messages, ["0", "1", "2"]);
    }

    #[test]
    fn a_span_at_the_end_marks_the_last_letter() {
        assert_eq!(visible("drop to ", 8..8), 6..7);
        assert_eq!(visible("drop to\nx", 7..8), 6..7);
        assert_eq!(visible("", 0..0), 0..0);
        assert_eq!(visible("a\nb", 0..3), 0..1);
        assert_eq!(visible("ü", 1..9), 0..2);
    }

    proptest! {
        #[test]
        fn lines_and_columns_are_those_of_the_text(
            text in "[aü\n]{0,40}", mut places in prop::collection::vec(0usize..60, 1..8),
        ) {
            places.sort_unstable();
            let mut lines = Lines::of(&text);
            for place in places {
                let place = text.floor_char_boundary(place);
                let before = &text[..place];
                let start = before.rfind('\n').map_or(0, |newline| newline + 1);
                let expected = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
                prop_assert_eq!(lines.place(place), expected);
            }
        }
    }
}
