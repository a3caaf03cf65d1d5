//! A target: a cgroup with its number, and the texts that are in force on it.

use std::collections::{BTreeMap, BTreeSet};

use chaos_plan::Hook;

use super::{Key, Set};
use crate::kernel::{Link, at_function::Missed};

pub(super) struct Row {
    /// By which programs at cgroups and functions of the kernel know the target; not 0.
    pub number: u32,
    /// Depth of the cgroup.
    pub level: u32,
    /// In the order in which they were armed.
    pub texts: Vec<Placed>,
    pub links: BTreeMap<Hook, Link>,
    /// The hooks whose programs know the number of the target.
    pub known_to: BTreeSet<Hook>,
    /// Whether it is listed for programs at functions of the kernel.
    pub is_listed: bool,
    /// The numbers by which programs at interfaces know it.
    pub frames: BTreeSet<u32>,
}

/// A text and what it needs.
pub(super) struct Placed {
    pub key: Key,
    /// `None` before it is in force, and when it is suspended.
    pub set: Option<Set>,
    pub hooks: BTreeSet<Hook>,
    /// With what the programs there had missed before.
    pub functions: BTreeMap<String, Missed>,
}

impl Row {
    pub(super) fn new(number: u32, level: u32) -> Self {
        Self {
            number,
            level,
            texts: Vec::new(),
            links: BTreeMap::new(),
            known_to: BTreeSet::new(),
            is_listed: false,
            frames: BTreeSet::new(),
        }
    }

    /// What is in force, in the order in which it is asked.
    pub(super) fn sets(&self) -> impl Iterator<Item = &Set> {
        self.texts.iter().filter_map(|text| text.set.as_ref())
    }

    pub(super) fn text(&mut self, key: Key) -> Option<&mut Placed> {
        self.texts.iter_mut().find(|text| text.key == key)
    }

    /// Whether a text has rules on calls that programs at functions of the kernel decide.
    pub(super) fn has_calls(&self) -> bool {
        self.texts.iter().any(|text| !text.functions.is_empty())
    }

    /// Takes off at once what no text needs: were it still there when the hook is attached again, the program would be
    /// asked twice. The kernel waits for nothing meanwhile.
    pub(super) fn drop_unneeded(&mut self) {
        let texts = &self.texts;
        self.links.retain(|hook, _| texts.iter().any(|text| text.hooks.contains(hook)));
    }
}
