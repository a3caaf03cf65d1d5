//! Finds out about a caller what its memory, its files and procfs say.
//!
//! The caller can make each of these wait for as long as it likes, so this is done only by threads
//! that may be lost ([`super::workers`]).

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, PoisonError},
};

use chaos_plan::plain_part;

use super::{
    caller::{Caller, NamedFile},
    handover::Child,
    listener::Notification,
    under::Under,
};
use crate::cgroup::View;

/// Paths that were compiled for links, of which so many are kept.
const MOST_COMPILED: usize = 256;

/// What has to be known of a call before it can be answered.
#[derive(Debug, Clone)]
pub struct Question {
    pub notification: Notification,
    /// Whether the child of `run` executes its command already.
    pub begun: bool,
    /// Which files the call names, for rules with these paths; where there are none, nobody asks.
    pub under: Arc<[String]>,
    /// To which process the calling thread belongs.
    pub process: bool,
}

/// The answer to a [`Question`], as far as that asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub begun: bool,
    pub paths: Paths,
    pub process: Option<i32>,
}

/// What was found out about paths, as the caller sees them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Paths {
    /// The files that the call names.
    pub files: Vec<NamedFile>,
    /// The paths of rules that lead through links.
    pub links: Vec<Link>,
}

/// A path of a rule, and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub text: String,
    pub to: Arc<Under>,
}

/// Answers questions; may never return.
pub trait LookUp {
    fn look_up(&self, question: &Question) -> Found;
}

/// By the text of a rule's path and where it leads.
type Compiled = BTreeMap<(String, Vec<u8>), Arc<Under>>;

/// Looks at the caller itself.
#[derive(Debug)]
pub struct AtCaller {
    child: Option<Child>,
    compiled: Mutex<Compiled>,
}

impl AtCaller {
    /// `child` is that of `run`, where the target is one.
    pub fn new(child: Option<Child>) -> Self {
        Self { child, compiled: Mutex::default() }
    }

    fn paths(&self, caller: Caller, question: &Question) -> Paths {
        let view = caller.view();
        let links = question.under.iter().filter_map(|text| self.link(&view, text)).collect();
        Paths { files: caller.files(&question.notification.data), links }
    }

    /// Where a rule's path leads through a link.
    fn link(&self, view: &View, text: &str) -> Option<Link> {
        let (plain, rest) = plain_part(text);
        let plain = plain.trim_end_matches('/');
        if plain.is_empty() {
            return None;
        }
        let real = view.find(plain.as_bytes())?.real;
        (real != plain.as_bytes()).then(|| {
            let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
            if compiled.len() >= MOST_COMPILED {
                compiled.clear();
            }
            let key = (text.to_owned(), real);
            let to = compiled.get(&key).cloned().unwrap_or_else(|| {
                let to = Arc::new(Under::behind(&key.1, rest));
                compiled.insert(key, to.clone());
                to
            });
            Link { text: text.to_owned(), to }
        })
    }
}

impl LookUp for AtCaller {
    fn look_up(&self, question: &Question) -> Found {
        let Notification { thread, .. } = &question.notification;
        let begun = !question.begun || self.child.is_none_or(|child| child.has_begun());
        let paths = match Caller::new(*thread) {
            Some(caller) if begun && !question.under.is_empty() => self.paths(caller, question),
            _ => Paths::default(),
        };
        let process = question.process.then(|| process_of(*thread)).flatten();
        Found { begun, paths, process }
    }
}

/// The process that a thread belongs to.
fn process_of(thread: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_in_a_rules_path_is_followed_as_often_as_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        let root = root.to_str().unwrap();
        let at_caller = AtCaller::new(None);
        let covers = |text: &str, file: &str| {
            let link = at_caller.link(&View::own(), text)?;
            Some(link.to.covers(file.as_bytes()))
        };
        let (link, pattern) = (format!("{root}/link"), format!("{root}/link/*.db"));
        assert_eq!(covers(&link, &link), None, "nothing is there");
        for to in ["a", "b", "a"] {
            symlink(to, &link).unwrap();
            for (text, name) in [(&link, "x"), (&pattern, "x.db")] {
                assert_eq!(covers(text, &format!("{root}/{to}/{name}")), Some(true));
                assert_eq!(covers(text, &format!("{root}/c/{name}")), Some(false));
            }
            fs::remove_file(&link).unwrap();
        }
        assert_eq!(covers("/", "/"), None);
        assert_eq!(at_caller.compiled.lock().unwrap().len(), 4);
    }
}
