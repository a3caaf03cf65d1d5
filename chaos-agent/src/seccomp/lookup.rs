//! Finds out about a caller what its memory, its files and procfs say.
//!
//! The caller can make each of these wait for as long as it likes, so this is done only by threads
//! that may be lost ([`super::workers`]).

use std::fs;

use super::{
    caller::{Caller, NamedFile},
    handover::Child,
    listener::Notification,
};

/// What has to be known of a call before it can be answered.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub notification: Notification,
    /// Whether the child of `run` executes its command already.
    pub begun: bool,
    /// Which files the call names.
    pub files: bool,
    /// To which process the calling thread belongs.
    pub process: bool,
}

/// The answer to a [`Question`], as far as that asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    pub begun: bool,
    pub files: Vec<NamedFile>,
    pub process: Option<i32>,
}

/// Answers questions; may never return.
pub trait LookUp {
    fn look_up(&self, question: &Question) -> Found;
}

/// Looks at the caller itself.
#[derive(Debug)]
pub struct AtCaller {
    /// The child of `run`, where the target is one.
    pub child: Option<Child>,
}

impl LookUp for AtCaller {
    fn look_up(&self, question: &Question) -> Found {
        let Notification { thread, data, .. } = &question.notification;
        let begun = !question.begun || self.child.is_none_or(|child| child.has_begun());
        let files = match Caller::new(*thread) {
            Some(caller) if begun && question.files => caller.files(data),
            _ => Vec::new(),
        };
        let process = question.process.then(|| process_of(*thread)).flatten();
        Found { begun, files, process }
    }
}

/// The process that a thread belongs to.
fn process_of(thread: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok())
}
