//! Keeps the cookies of sessions: what a service gave to a probe, other probes of that session send.

use std::{collections::BTreeMap, sync::Mutex};

use cookie::Cookie;
use http::{HeaderMap, header::SET_COOKIE};
use jiff::Timestamp;

/// Of a session and host.
const MOST_COOKIES: usize = 32;

/// Of all runs.
const MOST_JARS: usize = 1024;

/// In bytes, of a name and its value.
const LONGEST_COOKIE: usize = 4096;

/// Which jar: the run's UID, the session, and the host with its port. Cookies go to no other host, whatever they say.
pub type JarKey = (String, String, String);

/// The cookies of all sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    jars: Mutex<BTreeMap<JarKey, BTreeMap<String, Kept>>>,
}

#[derive(Debug, Clone)]
struct Kept {
    value: String,
    path: String,
    is_secure: bool,
    /// In seconds since 1970.
    ends: Option<i64>,
}

/// A request, as far as it decides which cookies are sent.
#[derive(Debug, Clone, Copy)]
pub struct Where<'r> {
    pub path: &'r str,
    pub is_secure: bool,
}

impl Sessions {
    /// What a request has as its header `Cookie`.
    pub fn header(&self, key: &JarKey, at: Where<'_>, now: Timestamp) -> Option<String> {
        let jars = self.jars.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let now = now.as_second();
        let sent = jars.get(key)?.iter().filter(|(_, kept)| {
            (at.is_secure || !kept.is_secure)
                && kept.ends.is_none_or(|ends| ends > now)
                && covers(&kept.path, at.path)
        });
        let sent: Vec<String> = sent.map(|(name, kept)| format!("{name}={}", kept.value)).collect();
        (!sent.is_empty()).then(|| sent.join("; "))
    }

    /// Keeps what an answer gives.
    pub fn keep(&self, key: &JarKey, at: Where<'_>, headers: &HeaderMap, now: Timestamp) {
        let given = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let given: Vec<Cookie<'_>> = given
            .filter(|text| text.len() <= LONGEST_COOKIE)
            .filter_map(|text| Cookie::parse(text).ok())
            .filter(|cookie| {
                !cookie.name().is_empty() && (at.is_secure || cookie.secure() != Some(true))
            })
            .collect();
        if given.is_empty() {
            return;
        }
        let mut jars = self.jars.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if jars.len() >= MOST_JARS && !jars.contains_key(key) {
            return;
        }
        let jar = jars.entry(key.clone()).or_default();
        let now = now.as_second();
        for cookie in given {
            let expires = cookie.expires_datetime().map(|time| time.unix_timestamp());
            let ends =
                cookie.max_age().map(|age| now.saturating_add(age.whole_seconds())).or(expires);
            if ends.is_some_and(|ends| ends <= now) {
                jar.remove(cookie.name());
            } else if jar.len() < MOST_COOKIES || jar.contains_key(cookie.name()) {
                let path = cookie.path().filter(|path| path.starts_with('/'));
                let kept = Kept {
                    value: cookie.value().to_owned(),
                    path: path.unwrap_or_else(|| directory(at.path)).to_owned(),
                    is_secure: cookie.secure() == Some(true),
                    ends,
                };
                jar.insert(cookie.name().to_owned(), kept);
            }
        }
    }

    /// Drops the cookies of a run.
    pub fn forget(&self, run_uid: &str) {
        let mut jars = self.jars.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        jars.retain(|(uid, _, _), _| uid != run_uid);
    }
}

/// The path that a cookie is for where it does not say one.
fn directory(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

/// Whether a cookie of one path goes with a request of another.
fn covers(kept: &str, path: &str) -> bool {
    path.strip_prefix(kept)
        .is_some_and(|rest| rest.is_empty() || kept.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(run: &str, host: &str) -> JarKey {
        (run.to_owned(), "jason".to_owned(), host.to_owned())
    }

    fn given(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (SET_COOKIE, line.parse().unwrap())).collect()
    }

    #[test]
    fn cookies_go_where_they_came_from_and_no_further() {
        let sessions = Sessions::default();
        let now: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let at = Where { path: "/login", is_secure: false };
        let lines = [
            "id=1; Path=/; Domain=other.example",
            "deep=2; Path=/shop",
            "safe=3; Secure",
            "short=4; Path=/; Max-Age=60",
            "gone=5; Path=/; Expires=Sat, 28 Nov 2026 09:00:00 GMT",
            "=6",
            "nothing",
        ];
        sessions.keep(&key("a", "web:80"), at, &given(&lines), now);
        let sent = |run: &str, host: &str, path: &str, seconds: i64| {
            let now = now + jiff::SignedDuration::from_secs(seconds);
            sessions.header(&key(run, host), Where { path, is_secure: false }, now)
        };
        assert_eq!(sent("a", "web:80", "/", 0).as_deref(), Some("id=1; short=4"));
        assert_eq!(sent("a", "web:80", "/shop/cart", 0).as_deref(), Some("deep=2; id=1; short=4"));
        assert_eq!(sent("a", "web:80", "/shopping", 61).as_deref(), Some("id=1"));
        assert_eq!(sent("b", "web:80", "/", 0), None);
        assert_eq!(sent("a", "other.example:80", "/", 0), None);
        sessions.keep(&key("a", "web:80"), at, &given(&["id=; Path=/; Max-Age=0"]), now);
        assert_eq!(sent("a", "web:80", "/", 0).as_deref(), Some("short=4"));
        sessions.forget("a");
        assert_eq!(sent("a", "web:80", "/", 0), None);
    }

    #[test]
    fn a_flood_of_cookies_is_bounded() {
        let sessions = Sessions::default();
        let lines: Vec<String> = (0..200).map(|number| format!("c{number}={number}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let at = Where { path: "/", is_secure: false };
        sessions.keep(&key("a", "web:80"), at, &given(&lines), Timestamp::UNIX_EPOCH);
        sessions.keep(
            &key("a", "web:80"),
            at,
            &given(&[&format!("x={}", "y".repeat(5000))]),
            Timestamp::UNIX_EPOCH,
        );
        let sent = sessions.header(&key("a", "web:80"), at, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(sent.split("; ").count(), MOST_COOKIES);
    }
}
