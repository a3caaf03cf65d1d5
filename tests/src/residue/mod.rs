//! What an injector could leave behind, compared before and after.

mod bpf;
mod cgroups;
mod network;

use std::{
    collections::BTreeSet,
    fmt, thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use chaos_engine::kernel::{map_ids, wait_for_maps};

use crate::{machine::Quiet, netns::TestNetns};

/// How long the kernel may take to free what a killed process had: it leaves that to threads, which wait for
/// their turn. What acted has stopped acting long before.
const TIME_TO_FREE: Duration = Duration::from_secs(30);

/// One line for each thing that exists, such as `bpf link 7 (Cgroup, program 31)`.
pub type Inventory = BTreeSet<String>;

/// The BPF programs, maps and links of the whole machine.
///
/// # Errors
/// When they can't be listed, as without `CAP_SYS_ADMIN`.
pub fn bpf_objects() -> Result<Inventory> {
    bpf::inventory()
}

/// Everything there was at one moment: BPF programs, maps and links of the whole machine, cgroups
/// of the whole hierarchy, and the interfaces, qdiscs and filters of some network namespaces.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The ids of BPF maps.
    maps: BTreeSet<u32>,
    machine: Inventory,
    namespaces: Vec<Inventory>,
}

impl Snapshot {
    /// Takes stock. The machine has to be quiet, or other tests' work would be taken for residue.
    /// Compare only snapshots of the same `namespaces` in the same order.
    pub fn take(_quiet: &Quiet, namespaces: &[&TestNetns]) -> Result<Self> {
        let maps = map_ids()?;
        let mut machine = bpf::inventory()?;
        machine.append(&mut cgroups::inventory()?);
        let namespaces =
            namespaces.iter().map(|netns| network::inventory(netns)).collect::<Result<_>>()?;
        Ok(Self { maps, machine, namespaces })
    }

    /// What `after` has more or less than `self`.
    ///
    /// Whatever is new counts, and in a namespace also what is gone: a qdisc that was replaced
    /// must come back. A BPF object or a cgroup that is gone does not count: the kernel frees
    /// those of an earlier test late.
    pub fn diff(&self, after: &Self) -> Diff {
        let mut diff = Diff::default();
        diff.appeared.extend(after.machine.difference(&self.machine).cloned());
        for (number, (before, after)) in self.namespaces.iter().zip(&after.namespaces).enumerate() {
            let named = |thing: &String| format!("namespace {number}: {thing}");
            diff.appeared.extend(after.difference(before).map(named));
            diff.vanished.extend(before.difference(after).map(named));
        }
        diff
    }

    /// Waits until everything is as it was in `self`, at most [`TIME_TO_FREE`]. What it returns is empty, or
    /// tells what still differed at the end.
    pub fn settle(&self, quiet: &Quiet, namespaces: &[&TestNetns]) -> Result<Diff> {
        let give_up = Instant::now() + TIME_TO_FREE;
        wait_for_maps(&self.maps, TIME_TO_FREE)?;
        loop {
            let diff = self.diff(&Self::take(quiet, namespaces)?);
            if diff.is_empty() || Instant::now() > give_up {
                return Ok(diff);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The difference of two snapshots, one thing a line when printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    pub appeared: Vec<String>,
    pub vanished: Vec<String>,
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.vanished.is_empty()
    }

    /// # Panics
    /// If something differs, saying what.
    #[track_caller]
    pub fn assert_empty(&self) {
        assert!(self.is_empty(), "something was left behind:\n{self}");
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for thing in &self.appeared {
            writeln!(f, "+ {thing}")?;
        }
        for thing in &self.vanished {
            writeln!(f, "- {thing}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(machine: &[&str], namespace: &[&str]) -> Snapshot {
        let inventory = |things: &[&str]| things.iter().copied().map(String::from).collect();
        Snapshot {
            maps: BTreeSet::new(),
            machine: inventory(machine),
            namespaces: vec![inventory(namespace)],
        }
    }

    #[test]
    fn new_things_and_lost_qdiscs_are_residue() {
        let before = snapshot(&["bpf map 1"], &["qdisc noqueue dev eth0"]);
        let after = snapshot(&["bpf link 2"], &["qdisc clsact dev eth0"]);
        let diff = before.diff(&after);
        let printed = "+ bpf link 2\n\
                       + namespace 0: qdisc clsact dev eth0\n\
                       - namespace 0: qdisc noqueue dev eth0\n";
        assert_eq!(diff.to_string(), printed);
        assert!(before.diff(&before).is_empty());
    }
}
