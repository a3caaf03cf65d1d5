//! A cursor over the tokens of one sentence.

use std::{borrow::Cow, ops::Range};

use super::{
    Fail,
    lexer::{Lexeme, Token},
};
use crate::mistake::Mistake;

pub(super) struct Reader<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
}

/// A value that was read, and where.
pub(super) struct Read<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<'t> Reader<'t> {
    /// `tokens` is not empty.
    pub fn new(tokens: &'t [Token<'t>]) -> Self {
        Self { tokens, at: 0 }
    }

    pub fn at_end(&self) -> bool {
        self.at == self.tokens.len()
    }

    /// The bytes of the whole sentence.
    pub fn span(&self) -> Range<usize> {
        let start = self.tokens.first().map_or(0, |token| token.span.start);
        let end = self.tokens.last().map_or(start, |token| token.span.end);
        start..end
    }

    pub fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.at)
    }

    /// The next token's text if that is an unquoted word.
    pub fn peek_word(&self) -> Option<&'t str> {
        match self.peek()?.lexeme {
            Lexeme::Word(word) => Some(word),
            _ => None,
        }
    }

    /// The words of the next `N` tokens, as far as these are unquoted words or commas and there are so many.
    pub fn peek_words<const N: usize>(&self) -> Option<[&'t str; N]> {
        let tokens = self.tokens.get(self.at..self.at + N)?;
        let mut words = [""; N];
        for (word, token) in words.iter_mut().zip(tokens) {
            *word = match token.lexeme {
                Lexeme::Word(word) => word,
                Lexeme::Comma => ",",
                _ => return None,
            };
        }
        Some(words)
    }

    /// The bytes of the next `count` tokens.
    pub fn span_of_next(&self, count: usize) -> Range<usize> {
        let next = &self.tokens[self.at.min(self.tokens.len())..];
        let start = next.first().map_or(self.last_span().end, |token| token.span.start);
        let end = next.get(count.saturating_sub(1)).or(next.last());
        start..end.map_or(start, |token| token.span.end)
    }

    /// Steps over the next word if it is this keyword.
    pub fn eat(&mut self, keyword: &str) -> bool {
        let found = self.peek_word().is_some_and(|word| word.eq_ignore_ascii_case(keyword));
        self.at += usize::from(found);
        found
    }

    /// Reads a comma, if there is one.
    pub fn eat_comma(&mut self) -> bool {
        let found = self.peek().is_some_and(|token| token.lexeme == Lexeme::Comma);
        self.at += usize::from(found);
        found
    }

    /// The place of the token that was read last.
    pub fn last_span(&self) -> Range<usize> {
        let last = self.at.checked_sub(1).and_then(|at| self.tokens.get(at));
        last.map_or(self.span(), |token| token.span.clone())
    }

    /// Reads the next token as a value; `what` says what belongs there.
    pub fn value<T>(
        &mut self,
        what: &str,
        parse: impl FnOnce(&str) -> Result<T, Mistake>,
    ) -> Result<Read<T>, Fail> {
        let Some(token) = self.peek() else {
            let before = self.last_span();
            let after = self.tokens.get(self.at.wrapping_sub(1)).and_then(Token::value);
            let after = after.unwrap_or(Cow::Borrowed(","));
            let mistake = Mistake::new(format!("{what} is missing after `{after}`"));
            return Err(Fail { span: before, mistake });
        };
        let fail = |mistake| Fail { span: token.span.clone(), mistake };
        let Some(word) = token.value() else {
            return Err(fail(Mistake::new(format!("expected {what}, found a comma"))));
        };
        let value = parse(&word).map_err(fail)?;
        self.at += 1;
        Ok(Read { value, span: token.span.clone() })
    }

    /// Reads one value or several with commas between.
    pub fn list<T>(
        &mut self,
        what: &str,
        mut parse: impl FnMut(&str) -> Result<T, Mistake>,
    ) -> Result<Read<Vec<T>>, Fail> {
        let first = self.value(what, &mut parse)?;
        let mut list = Read { value: vec![first.value], span: first.span };
        while self.eat_comma() {
            let next = self.value(what, &mut parse)?;
            list.value.push(next.value);
            list.span.end = next.span.end;
        }
        Ok(list)
    }
}
