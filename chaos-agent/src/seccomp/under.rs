//! `under PATH`: whether a file is at a path or below it.

/// A path, or a pattern of one: `*` and `?` stand for what is not a `/`, `**` for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Under(String);

impl Under {
    /// `text` is absolute and plain, as the language's `under` is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn text(&self) -> &str {
        &self.0
    }

    /// Whether `path`, which is absolute and plain, is there or below.
    pub fn covers(&self, path: &[u8]) -> bool {
        let pattern = self.0.trim_end_matches('/').as_bytes();
        covers(pattern, path)
    }
}

/// Whether the pattern matches the path as a whole, or up to one of its slashes.
fn covers(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty() || path[0] == b'/',
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|end| covers(rest, &path[end..])),
        [b'*', rest @ ..] => {
            let part = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=part).any(|end| covers(rest, &path[end..]))
        }
        [b'?', rest @ ..] => {
            path.first().is_some_and(|byte| *byte != b'/') && covers(rest, &path[1..])
        }
        [byte, rest @ ..] => path.first() == Some(byte) && covers(rest, &path[1..]),
    }
}

#[cfg(test)]
mod tests {
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
    }
}
