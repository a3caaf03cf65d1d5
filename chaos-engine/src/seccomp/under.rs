//! Matches the path of a file with `under PATH`: whether the file is there or below it.

/// A path, or a pattern of one: `*` and `?` stand for what is not a `/`, `**` for anything.
///
/// A pattern is compiled into an automaton whose states are bits, one for each place in the pattern;
/// all of them are advanced at once. So a match takes at most one step for each byte of the path and
/// each 64 places of the pattern, whatever either says: there is nothing to come back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Under {
    text: String,
    /// For each byte the places that it leads on from; those that no byte of the pattern has share
    /// the first row.
    rows: Vec<Places>,
    row_of: Box<[u16; 256]>,
    /// The places at `*` and `**`, which any byte but `/` leaves as they are, and which take nothing
    /// to pass.
    stars: Places,
    /// Those at `**`, which `/` leaves as they are, too.
    double_stars: Places,
    /// The place behind the pattern.
    end: usize,
}

/// A set of places in a pattern.
type Places = Vec<u64>;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Star,
    /// `**`
    DoubleStar,
}

impl Under {
    /// `text` is absolute and plain, as the language's `under` is.
    pub fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        let tokens = tokens(text.trim_end_matches('/').as_bytes());
        Self::of(text, &tokens)
    }

    /// The same pattern where its plain part leads elsewhere: at `real`, in which `*` and `?` are
    /// themselves, and behind it `rest`.
    pub fn behind(real: &[u8], rest: &str) -> Self {
        let real = real.strip_suffix(b"/").unwrap_or(real);
        let plain = real.iter().copied().map(Token::Byte);
        let tokens: Vec<Token> = plain.chain(tokens(rest.as_bytes())).collect();
        Self::of(format!("{}{rest}", String::from_utf8_lossy(real)), &tokens)
    }

    fn of(text: String, tokens: &[Token]) -> Self {
        let end = tokens.len();
        let places = |at: &dyn Fn(Token) -> bool| {
            let mut places = vec![0; end / 64 + 1];
            for place in (0..).zip(tokens).filter(|(_, token)| at(**token)).map(|(place, _)| place)
            {
                insert(&mut places, place);
            }
            places
        };
        let mut rows = vec![places(&|token| token == Token::One)];
        let mut row_of = Box::new([0; 256]);
        for token in tokens {
            let Token::Byte(byte) = *token else { continue };
            if row_of[usize::from(byte)] == 0 {
                // At most 256 different ones.
                row_of[usize::from(byte)] = rows.len() as u16;
                let one = byte != b'/';
                rows.push(places(&|token| {
                    token == Token::Byte(byte) || one && token == Token::One
                }));
            }
        }
        if row_of[usize::from(b'/')] == 0 {
            row_of[usize::from(b'/')] = rows.len() as u16;
            rows.push(places(&|_| false));
        }
        let stars = places(&|token| matches!(token, Token::Star | Token::DoubleStar));
        let double_stars = places(&|token| token == Token::DoubleStar);
        Self { text, rows, row_of, stars, double_stars, end }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether `path`, which is absolute and plain, is there or below.
    pub fn covers(&self, path: &[u8]) -> bool {
        self.run(path).0
    }

    /// Whether the pattern matches the path as a whole, or up to one of its slashes; and how many
    /// steps that took.
    fn run(&self, path: &[u8]) -> (bool, usize) {
        let mut steps = 0;
        let mut now = vec![0; self.stars.len()];
        insert(&mut now, 0);
        self.pass_stars(&mut now);
        for byte in path {
            if *byte == b'/' && contains(&now, self.end) {
                return (true, steps);
            }
            let row = &self.rows[usize::from(self.row_of[usize::from(*byte)])];
            let stays = if *byte == b'/' { &self.double_stars } else { &self.stars };
            let (mut carry, mut any) = (0, 0);
            for (word, now) in now.iter_mut().enumerate() {
                let moved = *now & row[word];
                *now = moved << 1 | carry | *now & stays[word];
                carry = moved >> 63;
                any |= *now;
                steps += 1;
            }
            if any == 0 {
                return (false, steps);
            }
            self.pass_stars(&mut now);
        }
        (contains(&now, self.end), steps)
    }

    /// Adds the place behind each star. No star is behind another, so once is enough.
    fn pass_stars(&self, places: &mut [u64]) {
        let mut carry = 0;
        for (word, places) in places.iter_mut().enumerate() {
            let at_star = *places & self.stars[word];
            *places |= at_star << 1 | carry;
            carry = at_star >> 63;
        }
    }
}

/// The parts of a pattern. Stars that follow each other are one: `**` if there are several.
fn tokens(pattern: &[u8]) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(pattern.len());
    for byte in pattern {
        match (byte, tokens.last_mut()) {
            (b'*', Some(star @ (Token::Star | Token::DoubleStar))) => *star = Token::DoubleStar,
            (b'*', _) => tokens.push(Token::Star),
            (b'?', _) => tokens.push(Token::One),
            (byte, _) => tokens.push(Token::Byte(*byte)),
        }
    }
    tokens
}

fn insert(places: &mut [u64], place: usize) {
    places[place / 64] |= 1 << (place % 64);
}

fn contains(places: &[u64], place: usize) -> bool {
    places[place / 64] & 1 << (place % 64) != 0
}

#[cfg(test)]
mod tests {
    use chaos_ebpf_common::hash;

    use super::*;

    fn covered(pattern: &str, path: &str) -> bool {
        Under::new(pattern).covers(path.as_bytes())
    }

    #[test]
    fn at_the_path_or_below_it() {
        for path in ["/data", "/data/", "/data/a", "/data/a/b"] {
            assert!(covered("/data", path), "{path}");
        }
        for path in ["/", "/dat", "/database", "/var/data"] {
            assert!(!covered("/data", path), "{path}");
        }
        assert!(covered("/", "/") && covered("/", "/anything"));
    }

    #[test]
    fn patterns() {
        assert!(covered("/srv/*/log", "/srv/a/log/x"));
        assert!(!covered("/srv/*/log", "/srv/a/b/log"));
        assert!(covered("/srv/**/log", "/srv/a/b/log"));
        assert!(covered("/tmp/*.db", "/tmp/x.db"));
        assert!(!covered("/tmp/*.db", "/tmp/x.db2"));
        assert!(covered("/tmp/?", "/tmp/x") && !covered("/tmp/?", "/tmp/xy"));
        assert!(!covered("/tmp?x", "/tmp/x") && covered("/a?c", "/abc"));
    }

    #[test]
    fn a_pattern_behind_a_link_takes_what_the_link_leads_to_as_it_is() {
        let behind = Under::behind(b"/a*", "/*.db");
        assert!(behind.covers(b"/a*/x.db") && !behind.covers(b"/ab/x.db"));
        assert!(Under::behind(b"/run", "").covers(b"/run/x"));
        assert!(Under::behind(b"/", "").covers(b"/x") && Under::behind(b"/", "/x").covers(b"/x/y"));
        assert!(!Under::behind(b"/run", "").covers(b"/running"));
    }

    /// What a pattern means, tried out.
    fn reference(pattern: &[u8], path: &[u8]) -> bool {
        match pattern {
            [] => path.is_empty() || path[0] == b'/',
            [b'*', b'*', rest @ ..] => (0..=path.len()).any(|end| reference(rest, &path[end..])),
            [b'*', rest @ ..] => {
                let part = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
                (0..=part).any(|end| reference(rest, &path[end..]))
            }
            [b'?', rest @ ..] => {
                path.first().is_some_and(|byte| *byte != b'/') && reference(rest, &path[1..])
            }
            [byte, rest @ ..] => path.first() == Some(byte) && reference(rest, &path[1..]),
        }
    }

    /// A text of up to 9 of these bytes behind a slash.
    fn text(seed: u64, alphabet: &[u8]) -> String {
        let length = hash::mix(seed) % 10;
        let byte = |at| alphabet[(hash::nth(seed, at) % alphabet.len() as u64) as usize];
        let bytes = std::iter::once(b'/').chain((0..length).map(byte)).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_it_covers_is_what_trying_out_finds() {
        let mut covered = 0;
        for round in 0..200_000 {
            let pattern = text(2 * round, b"ab/***?");
            let path = text(2 * round + 1, b"ab/");
            let found = Under::new(&*pattern).covers(path.as_bytes());
            let plain = pattern.trim_end_matches('/').as_bytes();
            assert_eq!(found, reference(plain, path.as_bytes()), "{pattern} {path}");
            covered += u32::from(found);
        }
        assert!((20_000..180_000).contains(&covered), "{covered}");
    }

    /// Places beyond the first word, and the carry into it.
    #[test]
    fn long_patterns_are_matched_to_their_end() {
        for length in 60..140 {
            let name = "a".repeat(length);
            assert!(covered(&format!("/{name}/*b"), &format!("/{name}/xb")));
            assert!(!covered(&format!("/{name}/*b"), &format!("/{name}/x")));
            assert!(covered(&format!("/**{name}"), &format!("/x/{name}/y")));
            assert!(!covered(&format!("/**{name}a"), &format!("/x/{name}/y")));
        }
    }

    #[test]
    fn a_hostile_pattern_takes_a_bounded_number_of_steps() {
        for (stars, length) in [(12, 60), (12, 4_000), (1_300, 4_000)] {
            let pattern = Under::new(format!("/{}Z", "**a".repeat(stars)));
            let path = format!("/{}", "a".repeat(length));
            let (covered, steps) = pattern.run(path.as_bytes());
            assert!(!covered);
            let words = (2 * stars + 3).div_ceil(64);
            assert!(steps <= words * path.len(), "{steps} steps for {stars} and {length}");
            let (covered, _) = pattern.run(format!("{path}Z/b").as_bytes());
            assert_eq!(covered, stars <= length);
        }
    }
}
