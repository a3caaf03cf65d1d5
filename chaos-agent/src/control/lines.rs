//! Lines of bounded length.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

/// What comes next on a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its newline; the last line needs none.
    Whole(Vec<u8>),
    TooLong,
    End,
}

/// Reads lines of at most `most` bytes, their newline included. After one that is longer nothing
/// more is to be read.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    most: usize,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub fn new(reader: R, most: usize) -> Self {
        Self { reader: BufReader::new(reader), most }
    }

    pub async fn next(&mut self) -> io::Result<Line> {
        let mut line = Vec::new();
        let limit = u64::try_from(self.most).unwrap_or(u64::MAX);
        (&mut self.reader).take(limit).read_until(b'\n', &mut line).await?;
        if line.last() == Some(&b'\n') {
            line.pop();
            return Ok(Line::Whole(line));
        }
        Ok(match line.len() {
            0 => Line::End,
            length if length == self.most => Line::TooLong,
            _ => Line::Whole(line),
        })
    }

    /// Waits until the other side has closed its end; what it still says is not looked at.
    pub async fn closed(&mut self) {
        while let Ok(1..) = self.reader.fill_buf().await.map(<[u8]>::len) {
            let length = self.reader.buffer().len();
            self.reader.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str, most: usize) -> Vec<Line> {
        let mut lines = Lines::new(text.as_bytes(), most);
        let mut read = Vec::new();
        loop {
            let line = lines.next().await.unwrap();
            let is_last = !matches!(line, Line::Whole(_));
            read.push(line);
            if is_last {
                return read;
            }
        }
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn lines_up_to_the_limit() {
        assert_eq!(read("", 4).await, [Line::End]);
        assert_eq!(read("a\n\nbc", 4).await, [whole("a"), whole(""), whole("bc"), Line::End]);
        assert_eq!(read("abc\nabc", 4).await, [whole("abc"), whole("abc"), Line::End]);
        assert_eq!(read("abcd\n", 4).await, [Line::TooLong]);
        assert_eq!(read("a\nabcde", 4).await, [whole("a"), Line::TooLong]);
    }
}
