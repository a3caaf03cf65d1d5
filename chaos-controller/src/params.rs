//! Puts the values of parameters in place of `$(NAME)`, and keeps where each part of the result came from.

use std::{collections::BTreeMap, ops::Range};

/// A text with the values of its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filled {
    pub text: String,
    pieces: Vec<Piece>,
}

/// A part of the result, and the part of the original that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    result: Range<usize>,
    original: Range<usize>,
    is_value: bool,
}

impl Filled {
    /// Puts values in. The error is the name of a parameter that is not there.
    pub fn of(text: &str, params: &BTreeMap<&str, &str>) -> Result<Self, String> {
        let mut filled = Self { text: String::new(), pieces: Vec::new() };
        let mut at = 0;
        while let Some(before) = text[at..].find("$(") {
            let open = at + before;
            let Some(length) = text[open..].find(')') else { break };
            let name = &text[open + 2..open + length];
            let value = params.get(name).ok_or_else(|| name.to_owned())?;
            let end = open + length + 1;
            filled.push(&text[at..open], at..open, false);
            filled.push(value, open..end, true);
            at = end;
        }
        filled.push(&text[at..], at..text.len(), false);
        Ok(filled)
    }

    /// The parameter whose value would end a sentence, or begin another one, by a character that it has.
    pub fn breaking<'p>(text: &str, params: &BTreeMap<&'p str, &str>) -> Option<(&'p str, char)> {
        let is_used = |name: &str| text.contains(&format!("$({name})"));
        params.iter().filter(|(name, _)| is_used(name)).find_map(|(name, value)| {
            let breaks =
                |character: &char| matches!(character, ';' | '#') || character.is_control();
            value.chars().find(breaks).map(|character| (*name, character))
        })
    }

    /// The bytes of the original that a part of the result comes from: of a value, the whole `$(NAME)`.
    pub fn origin(&self, span: Range<usize>) -> Range<usize> {
        let (start, _) = self.at(span.start);
        let (_, end) = self.at(span.end.saturating_sub(1).max(span.start));
        start..end.max(start)
    }

    /// Where the original of one byte begins and ends.
    fn at(&self, byte: usize) -> (usize, usize) {
        let piece = self.pieces.iter().find(|piece| piece.result.contains(&byte));
        match piece {
            Some(piece) if piece.is_value => (piece.original.start, piece.original.end),
            Some(piece) => {
                let start = piece.original.start + (byte - piece.result.start);
                (start, start + 1)
            }
            None => {
                let end = self.pieces.last().map_or(0, |piece| piece.original.end);
                (end, end)
            }
        }
    }

    fn push(&mut self, part: &str, original: Range<usize>, is_value: bool) {
        let start = self.text.len();
        self.text.push_str(part);
        self.pieces.push(Piece { result: start..self.text.len(), original, is_value });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_in_the_result_has_one_in_the_original() {
        let params = BTreeMap::from([("latency", "200ms"), ("empty", "")]);
        let text = "delay $(latency)$(empty) egres tcp";
        let filled = Filled::of(text, &params).unwrap();
        assert_eq!(filled.text, "delay 200ms egres tcp");
        let origin = |word: &str| {
            let at = filled.text.find(word).unwrap();
            &text[filled.origin(at..at + word.len())]
        };
        assert_eq!(origin("egres"), "egres");
        assert_eq!(origin("200"), "$(latency)");
        assert_eq!(origin("delay"), "delay");
        assert_eq!(origin("delay 200ms"), "delay $(latency)");
        let end = filled.text.len();
        assert_eq!(filled.origin(end..end), text.len()..text.len());
    }

    #[test]
    fn a_value_makes_no_sentence() {
        let text = "delay $(a) egress tcp";
        let breaking = |value| Filled::breaking(text, &BTreeMap::from([("a", value), ("b", ";")]));
        assert_eq!(breaking("200ms jitter 20ms"), None);
        for (value, character) in [("1s; kill container", ';'), ("1s #", '#'), ("1s\ndrop", '\n')] {
            assert_eq!(breaking(value), Some(("a", character)));
        }
    }

    #[test]
    fn what_is_no_parameter_is_named_or_left_alone() {
        let none = BTreeMap::new();
        assert_eq!(Filled::of("delay $(a) $(b)", &none), Err("a".to_owned()));
        assert_eq!(Filled::of("drop $(", &none).unwrap().text, "drop $(");
    }
}
