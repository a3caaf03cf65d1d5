//! Text to words, cut into sentences.

use std::{borrow::Cow, ops::Range};

use winnow::{
    LocatingSlice, ModalResult, Parser,
    ascii::till_line_ending,
    combinator::{alt, delimited, fail, preceded, repeat},
    stream::Location,
    token::{any, none_of, one_of, take_while},
};

use super::Fail;
use crate::mistake::Mistake;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lexeme<'t> {
    Word(&'t str),
    /// Between quotes, escapes resolved.
    Quoted(String),
    Comma,
    /// `;` or the end of a line.
    End,
    /// White space, a comment, or the mark of byte order that a file begins with.
    Nothing,
    /// A quote that its line does not close.
    Unclosed,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token<'t> {
    pub lexeme: Lexeme<'t>,
    pub span: Range<usize>,
}

impl<'t> Token<'t> {
    /// What a value is read from; `None` for a comma.
    pub fn value(&self) -> Option<Cow<'t, str>> {
        match &self.lexeme {
            Lexeme::Word(word) => Some(Cow::Borrowed(word)),
            Lexeme::Quoted(text) => Some(Cow::Owned(text.clone())),
            _ => None,
        }
    }
}

type Input<'t> = LocatingSlice<&'t str>;

/// The sentences of a text, each with at least one token; one with an unclosed quote is a
/// mistake as a whole.
pub(super) fn sentences(text: &str) -> Vec<Result<Vec<Token<'_>>, Fail>> {
    let mut tokens = repeat(0.., token);
    // Every character is some token's, so that reading cannot fail.
    let tokens: Vec<Token<'_>> = tokens.parse(LocatingSlice::new(text)).unwrap_or_default();
    tokens
        .split(|token| token.lexeme == Lexeme::End)
        .map(|sentence| {
            let words = sentence.iter().filter(|token| token.lexeme != Lexeme::Nothing);
            words.cloned().collect::<Vec<_>>()
        })
        .filter(|sentence| !sentence.is_empty())
        .map(|sentence| match sentence.iter().find(|token| token.lexeme == Lexeme::Unclosed) {
            Some(token) => {
                let mistake = Mistake::new("the quote is not closed on its line");
                Err(Fail {
                    span: token.span.clone(),
                    mistake: mistake.help("add the closing quote"),
                })
            }
            None => Ok(sentence),
        })
        .collect()
}

fn token<'t>(input: &mut Input<'t>) -> ModalResult<Token<'t>> {
    alt((
        take_while(1.., |c: char| c.is_whitespace() && c != '\n').value(Lexeme::Nothing),
        byte_order_mark,
        preceded('#', till_line_ending).value(Lexeme::Nothing),
        one_of([';', '\n']).value(Lexeme::End),
        ','.value(Lexeme::Comma),
        quoted('"'),
        quoted('\''),
        preceded(one_of(['"', '\'']), till_line_ending).value(Lexeme::Unclosed),
        take_while(1.., |c: char| !c.is_whitespace() && !matches!(c, ',' | ';')).map(Lexeme::Word),
    ))
    .with_span()
    .map(|(lexeme, span)| Token { lexeme, span })
    .parse_next(input)
}

fn byte_order_mark<'t>(input: &mut Input<'t>) -> ModalResult<Lexeme<'t>> {
    if input.current_token_start() > 0 {
        return fail.parse_next(input);
    }
    '\u{feff}'.value(Lexeme::Nothing).parse_next(input)
}

/// Text in quotes; a backslash takes the next character as it is.
fn quoted<'t>(
    quote: char,
) -> impl winnow::ModalParser<Input<'t>, Lexeme<'t>, winnow::error::ContextError> {
    let character = alt((preceded('\\', any), none_of([quote, '\\', '\n'])));
    delimited(quote, repeat(0.., character), quote).map(Lexeme::Quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let value = |token: &Token<'_>| token.value().map_or(",".to_owned(), Cow::into_owned);
        sentences(text).into_iter().map(|s| s.unwrap().iter().map(value).collect()).collect()
    }

    #[test]
    fn sentences_end_at_line_ends_and_semicolons() {
        assert_eq!(words("a b; c\n\n ;d # e; f\n# g"), [vec!["a", "b"], vec!["c"], vec!["d"]]);
        assert_eq!(words("a,b , c"), [["a", ",", "b", ",", "c"]]);
        assert_eq!(words("a\r\nb#c"), [["a"], ["b#c"]]);
        assert_eq!(words("\u{feff}a \u{feff}"), [["a", "\u{feff}"]]);
    }

    #[test]
    fn quotes_hold_separators_and_escapes() {
        assert_eq!(words(r#"under "/a b;c, #d""#), [["under", "/a b;c, #d"]]);
        assert_eq!(words(r#""a\"b\\c" 'd"e'"#), [[r#"a"b\c"#, r#"d"e"#]]);
        assert!(sentences("under \"/a\nb")[0].is_err());
    }

    proptest! {
        #[test]
        fn every_text_is_read_to_its_end(text in "[ -~\\n\\\\\"'ü]{0,60}") {
            let mut tokens = repeat(0.., token);
            let tokens: Vec<Token<'_>> = tokens.parse(LocatingSlice::new(text.as_str())).unwrap();
            let mut at = 0;
            for token in tokens {
                prop_assert_eq!(token.span.start, at);
                at = token.span.end;
            }
            prop_assert_eq!(at, text.len());
        }
    }
}
