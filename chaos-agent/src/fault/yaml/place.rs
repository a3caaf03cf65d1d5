//! Where a YAML node is, in bytes.

use std::ops::Range;

use serde_saphyr::Location;

/// The bytes of a node. Where the reader knows only its beginning, the word that is there.
pub(super) fn span(text: &str, location: Location) -> Range<usize> {
    let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let known = location.span();
    if let (Some(start), Some(length @ 1..)) = (known.byte_offset(), known.byte_len()) {
        return size(start)..size(start).saturating_add(size(length));
    }
    let line = size(location.line()).saturating_sub(1);
    let column = size(location.column()).saturating_sub(1);
    let line_start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let before: usize = text[line_start..].chars().take(column).map(char::len_utf8).sum();
    let start = line_start + before;
    let ends_word = |c: char| c.is_whitespace() || matches!(c, ',' | ']' | '}');
    let length = text[start..].find(ends_word).unwrap_or(text.len() - start);
    start..start + length
}

/// Where a span of a text inside YAML is in the YAML. Quotes, escapes and indentation make the
/// two differ; then the line is looked for, and failing that the whole scalar is meant.
pub(super) fn inside(yaml: &str, scalar: Location, inner: &str, at: Range<usize>) -> Range<usize> {
    let scalar = span(yaml, scalar);
    let raw = yaml.get(scalar.clone()).unwrap_or_default();
    let line_start = inner[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = inner[line_start..].split('\n').next().unwrap_or_default();
    match raw.find(line) {
        Some(offset) => {
            let start = scalar.start + offset + at.start - line_start;
            start..start + at.len()
        }
        None => scalar,
    }
}
