//! Keeps the cookies of sessions: what a service gave to a probe, other probes of that session send.

use std::{collections::BTreeMap, sync::Mutex};

use cookie::Cookie;
use http::{HeaderMap, header::SET_COOKIE};
use jiff::Timestamp;

/// Of a session and host.
const MOST_COOKIES: usize = 32;

/// Of a run.
const MOST_JARS: usize = 16;

/// In bytes, of the cookies of a session and host.
const MOST_IN_JAR: usize = 64 << 10;

/// In bytes, of the cookies of all runs.
const MOST_IN_ALL: usize = 16 << 20;

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

    /// Keeps what an answer gives. The error says why there is no room for it.
    pub fn keep(
        &self,
        key: &JarKey,
        at: Where<'_>,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<(), String> {
        let given = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let given: Vec<Cookie<'_>> = given
            .filter(|text| text.len() <= LONGEST_COOKIE)
            .filter_map(|text| Cookie::parse(text).ok())
            .filter(|cookie| {
                !cookie.name().is_empty() && (at.is_secure || cookie.secure() != Some(true))
            })
            .collect();
        if given.is_empty() {
            return Ok(());
        }
        let mut jars = self.jars.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let of_run = jars.keys().filter(|(uid, ..)| *uid == key.0).count();
        if of_run >= MOST_JARS && !jars.contains_key(key) {
            return Err(format!(
                "the run has cookies of {MOST_JARS} sessions and hosts, and at most as many are kept; use fewer sessions"
            ));
        }
        let mut left = MOST_IN_ALL.saturating_sub(jars.values().map(size).sum());
        let jar = jars.entry(key.clone()).or_default();
        let now = now.as_second();
        jar.retain(|_, kept| kept.ends.is_none_or(|ends| ends > now));
        for cookie in given {
            let expires = cookie.expires_datetime().map(|time| time.unix_timestamp());
            let ends =
                cookie.max_age().map(|age| now.saturating_add(age.whole_seconds())).or(expires);
            if ends.is_some_and(|ends| ends <= now) {
                jar.remove(cookie.name());
            } else {
                let path = cookie.path().filter(|path| path.starts_with('/'));
                let kept = Kept {
                    value: cookie.value().to_owned(),
                    path: path.unwrap_or_else(|| directory(at.path)).to_owned(),
                    is_secure: cookie.secure() == Some(true),
                    ends,
                };
                let replaced =
                    jar.remove(cookie.name()).map_or(0, |kept| length(cookie.name(), &kept));
                left += replaced;
                let added = length(cookie.name(), &kept);
                if jar.len() >= MOST_COOKIES || size(jar) + added > MOST_IN_JAR {
                    return Err(format!(
                        "the session has more than {MOST_COOKIES} cookies or {MOST_IN_JAR} bytes of them, and no more are kept; use \
                         several sessions"
                    ));
                }
                left = left.checked_sub(added).ok_or_else(|| {
                    format!("the sessions of all runs have {MOST_IN_ALL} bytes of cookies, and no more are kept; wait until other runs end")
                })?;
                jar.insert(cookie.name().to_owned(), kept);
            }
        }
        Ok(())
    }

    /// Drops the cookies of all runs.
    pub fn forget_all(&self) {
        self.jars.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clear();
    }

    /// Drops the cookies of a run.
    pub fn forget(&self, run_uid: &str) {
        let mut jars = self.jars.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        jars.retain(|(uid, _, _), _| uid != run_uid);
    }
}

/// What a jar takes of memory, in bytes.
fn size(jar: &BTreeMap<String, Kept>) -> usize {
    jar.iter().map(|(name, kept)| length(name, kept)).sum()
}

fn length(name: &str, kept: &Kept) -> usize {
    name.len() + kept.value.len() + kept.path.len()
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
        sessions.keep(&key("a", "web:80"), at, &given(&lines), now).unwrap();
        let sent = |run: &str, host: &str, path: &str, seconds: i64| {
            let now = now + jiff::SignedDuration::from_secs(seconds);
            sessions.header(&key(run, host), Where { path, is_secure: false }, now)
        };
        assert_eq!(sent("a", "web:80", "/", 0).as_deref(), Some("id=1; short=4"));
        assert_eq!(sent("a", "web:80", "/shop/cart", 0).as_deref(), Some("deep=2; id=1; short=4"));
        assert_eq!(sent("a", "web:80", "/shopping", 61).as_deref(), Some("id=1"));
        assert_eq!(sent("b", "web:80", "/", 0), None);
        assert_eq!(sent("a", "other.example:80", "/", 0), None);
        let gone = given(&["id=; Path=/; Max-Age=0"]);
        sessions.keep(&key("a", "web:80"), at, &gone, now).unwrap();
        assert_eq!(sent("a", "web:80", "/", 0).as_deref(), Some("short=4"));
        sessions.forget("a");
        assert_eq!(sent("a", "web:80", "/", 0), None);
        sessions.keep(&key("b", "web:80"), at, &given(&["id=1; Path=/"]), now).unwrap();
        assert!(sent("b", "web:80", "/", 0).is_some());
        sessions.forget_all();
        assert_eq!(sent("b", "web:80", "/", 0), None);
    }

    #[test]
    fn a_flood_of_cookies_is_bounded() {
        let sessions = Sessions::default();
        let lines: Vec<String> = (0..200).map(|number| format!("c{number}={number}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let at = Where { path: "/", is_secure: false };
        let now = Timestamp::UNIX_EPOCH;
        let keep = |run: &str, host: &str, lines: &[&str]| {
            sessions.keep(&key(run, host), at, &given(lines), now)
        };
        let error = keep("a", "web:80", &lines).unwrap_err();
        assert!(error.contains("more than 32 cookies"), "{error}");
        // As in browsers.
        keep("a", "web:81", &[&format!("x={}", "y".repeat(5000))]).unwrap();
        let sent = sessions.header(&key("a", "web:80"), at, now).unwrap();
        assert_eq!(sent.split("; ").count(), MOST_COOKIES);
        keep("a", "web:80", &["c1=changed"]).unwrap();

        let large: Vec<String> =
            (0..20).map(|number| format!("c{number}={}", "y".repeat(4000))).collect();
        let large: Vec<&str> = large.iter().map(String::as_str).collect();
        let error = keep("large", "web:80", &large).unwrap_err();
        assert!(error.contains("65536 bytes"), "{error}");
        for host in 0..MOST_JARS {
            keep("b", &format!("web-{host}:80"), &["id=1"]).unwrap();
        }
        assert!(keep("b", "web:80", &["id=1"]).unwrap_err().contains("16 sessions"));
        keep("c", "web:80", &["id=1"]).unwrap();
        let mut results = (0..1000).map(|run| keep(&format!("run-{run}"), "web:80", &large[..16]));
        let error = results.find_map(Result::err).unwrap();
        assert!(error.contains("wait until other runs end"), "{error}");
    }
}
