//! Where a YAML node is, in bytes.

use std::ops::Range;

use serde_saphyr::Location;

use crate::without_bom;

/// Of so many characters, the place of one in the text is noted.
const STEP: usize = 64;

/// How many lines of one scalar may be looked for in vain: each time the scalar is read to its end.
const MOST_VAIN: usize = 64;

/// Finds the places of nodes in a text, each in about the same time wherever it is.
pub(super) struct Places<'t> {
    text: &'t str,
    /// How many bytes the reader of the YAML was not given.
    offset: usize,
    /// Where lines begin: in bytes of the text, and in characters from `offset`.
    lines: Vec<(usize, usize)>,
    /// The byte at which every [`STEP`]th character from `offset` begins.
    characters: Vec<usize>,
}

impl<'t> Places<'t> {
    pub fn of(text: &'t str) -> Self {
        let (rest, offset) = without_bom(text);
        let mut lines = vec![(offset, 0)];
        let mut characters = Vec::with_capacity(rest.len() / STEP + 1);
        for (count, (at, character)) in rest.char_indices().enumerate() {
            if count % STEP == 0 {
                characters.push(offset + at);
            }
            if character == '\n' {
                lines.push((offset + at + 1, count + 1));
            }
        }
        Self { text, offset, lines, characters }
    }

    /// The bytes of a node. Where the reader knows only its beginning, the word that is there.
    pub fn span(&self, location: Location) -> Range<usize> {
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        let known = location.span();
        if let (Some(start), Some(length @ 1..)) = (known.byte_offset(), known.byte_len()) {
            let start = size(start).saturating_add(self.offset);
            return start..start.saturating_add(size(length));
        }
        let line = size(location.line()).saturating_sub(1);
        let column = size(location.column()).saturating_sub(1);
        let start = match self.lines.get(line) {
            Some((_, before)) => self.byte(before.saturating_add(column)),
            None => self.text.len(),
        };
        let ends_word = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}');
        let rest = &self.text[start..];
        start..start + rest.find(ends_word).unwrap_or(rest.len())
    }

    /// Where the nth character is; the end of the text if it has fewer.
    fn byte(&self, nth: usize) -> usize {
        let Some(&start) = self.characters.get(nth / STEP) else { return self.text.len() };
        let rest = &self.text[start..];
        rest.char_indices().nth(nth % STEP).map_or(self.text.len(), |(at, _)| start + at)
    }
}

/// A scalar of a YAML text, and the text that it holds. Quotes, escapes and indentation make the two
/// differ: what is in one is found in the other by the line that it is in.
pub(super) struct Scalar<'t> {
    raw: &'t str,
    span: Range<usize>,
    inner: &'t str,
    /// The line of `inner` that was looked for last, and where in `raw` it begins.
    line: Range<usize>,
    found: Option<usize>,
    /// Behind the last line that was found.
    next: usize,
    vain: usize,
}

impl<'t> Scalar<'t> {
    pub fn new(text: &'t str, span: Range<usize>, inner: &'t str) -> Self {
        let raw = text.get(span.clone()).unwrap_or_default();
        let mut scalar = Self { raw, span, inner, line: 0..0, found: None, next: 0, vain: 0 };
        scalar.look_for(0);
        scalar
    }

    /// Where a span of the inner text is in the YAML; the whole scalar where that cannot be said. Ask for
    /// spans in the order of the text.
    pub fn place(&mut self, at: Range<usize>) -> Range<usize> {
        if !(self.line.start..=self.line.end).contains(&at.start) {
            let from = if at.start > self.line.end { self.line.end } else { 0 };
            let newline = self.inner[from..at.start].rfind('\n');
            self.look_for(newline.map_or(0, |newline| from + newline + 1));
        }
        match self.found {
            Some(found) => {
                let start = self.span.start + found + (at.start - self.line.start);
                start..start + at.len()
            }
            None => self.span.clone(),
        }
    }

    fn look_for(&mut self, start: usize) {
        let line = self.inner[start..].split('\n').next().unwrap_or_default();
        self.line = start..start + line.len();
        self.found = (self.vain < MOST_VAIN).then(|| self.find(line)).flatten();
        if let Some(found) = self.found {
            self.next = found + line.len();
        }
    }

    fn find(&mut self, line: &str) -> Option<usize> {
        if let Some(behind) = self.raw[self.next..].find(line) {
            return Some(self.next + behind);
        }
        self.vain += 1;
        self.raw.find(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_character_is_found_wherever_it_is(text in "[aü\n]{0,300}", nth in 0usize..320) {
            let expected = text.char_indices().nth(nth).map_or(text.len(), |(at, _)| at);
            prop_assert_eq!(Places::of(&text).byte(nth), expected);
        }
    }

    #[test]
    fn equal_lines_are_each_found_where_they_are() {
        let (text, inner) = ("- |\n  drop\n  dorp; a\n  dorp; b\n", "drop\ndorp; a\ndorp; b\n");
        let mut scalar = Scalar::new(text, 2..text.len(), inner);
        let places: Vec<_> = inner.match_indices("dorp").map(|(at, _)| at..at + 4).collect();
        let found: Vec<_> = places.into_iter().map(|place| scalar.place(place).start).collect();
        assert_eq!(found, text.match_indices("dorp").map(|(at, _)| at).collect::<Vec<_>>());
    }

    #[test]
    fn what_stands_in_the_yaml_otherwise_is_marked_as_a_whole() {
        let text = r#"- "dr\x6fp\ndorp""#;
        let mut scalar = Scalar::new(text, 2..text.len(), "drop\ndorp");
        assert_eq!(scalar.place(0..4), 2..text.len());
        assert_eq!(&text[scalar.place(5..9)], "dorp");
    }
}
