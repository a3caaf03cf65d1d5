//! Programs on an interface's frames by a filter of its `clsact` queueing discipline: for kernels
//! before 6.6, which have no links to interfaces (`tcx`).
//!
//! A filter is no file descriptor: it stays when its process is killed, with a program that jumps nowhere then
//! ([`super::jump`]), so it lets every frame go on, until [`collect_filters`] takes it away. Whose it is stands in its
//! name.

mod requests;

use std::io;

use chaos_plan::Position;
pub use requests::Side;
use requests::{Place, Requests};

/// A filter that goes away when this is dropped; so does the queueing discipline, where it was made for
/// such a filter and none is left in it.
pub(super) struct Filter {
    /// Stays in the network namespace that the filter is in, whoever drops it where.
    requests: Requests,
    place: Place,
    made_qdisc: bool,
}

/// What the names of filters say to whoever finds them.
pub struct Naming<'a> {
    /// The name of a filter of ours; whether it came with a queueing discipline that was made for it.
    pub write: &'a (dyn Fn(bool) -> String + Sync),
    /// For a name of ours, whoever gave it: the same.
    pub read: &'a (dyn Fn(&str) -> Option<bool> + Sync),
}

impl Filter {
    /// Puts a program on an interface of the calling thread's network namespace, where this position
    /// is among ours (kernel 4.5 for `clsact`).
    ///
    /// # Errors
    /// What rtnetlink answers; `ENOENT` where the interface has an `ingress` instead.
    pub(super) fn attach(
        index: u32,
        side: Side,
        position: Position,
        program: i32,
        naming: &Naming<'_>,
    ) -> io::Result<Self> {
        let mut requests = Requests::new()?;
        let made_qdisc = requests.add_qdisc(index)? || was_made(&mut requests, index, naming.read)?;
        let name = (naming.write)(made_qdisc);
        match requests.add_filter(index, side, position, program, &name) {
            Ok(place) => Ok(Self { requests, place, made_qdisc }),
            Err(error) => {
                if made_qdisc {
                    remove_if_empty(&mut requests, index)?;
                }
                Err(error)
            }
        }
    }
}

impl Filter {
    /// Whether it is still at its interface, which may be gone while another one has got its index.
    pub(super) fn is_attached(&mut self) -> io::Result<bool> {
        let Self { requests, place, .. } = self;
        match requests.filters(place.index, place.side) {
            Ok(filters) => Ok(filters.iter().any(|(found, _)| found == place)),
            Err(error) if is_without_interface(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// What rtnetlink answers when an interface is gone, or its queueing discipline.
fn is_without_interface(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EINVAL))
}

impl Drop for Filter {
    fn drop(&mut self) {
        match remove(&mut self.requests, &self.place, self.made_qdisc) {
            // The interface is gone, and the filter with it.
            Err(error) if is_without_interface(&error) => {}
            Err(error) => {
                tracing::warn!(place = ?self.place, %error, "a filter was left behind");
            }
            Ok(()) => {}
        }
    }
}

/// Takes filters away, in the calling thread's network namespace, whose names are left behind: `left`
/// says so of a name, and whether the queueing discipline came with it. Returns how many.
///
/// # Errors
/// What rtnetlink answers.
pub fn collect_filters(left: &dyn Fn(&str) -> Option<bool>) -> io::Result<usize> {
    let mut requests = Requests::new()?;
    let mut collected = 0;
    for index in requests.qdiscs()? {
        for side in Side::BOTH {
            for (place, name) in requests.filters(index, side)? {
                if let Some(made_qdisc) = name.as_deref().and_then(left) {
                    remove(&mut requests, &place, made_qdisc)?;
                    collected += 1;
                }
            }
        }
    }
    Ok(collected)
}

fn remove(requests: &mut Requests, place: &Place, made_qdisc: bool) -> io::Result<()> {
    requests.remove_filter(place)?;
    if made_qdisc { remove_if_empty(requests, place.index) } else { Ok(()) }
}

fn remove_if_empty(requests: &mut Requests, index: u32) -> io::Result<()> {
    for side in Side::BOTH {
        if !requests.filters(index, side)?.is_empty() {
            return Ok(());
        }
    }
    requests.remove_qdisc(index)
}

/// Whether the queueing discipline was made for one of our filters that is in it.
fn was_made(
    requests: &mut Requests,
    index: u32,
    read: &dyn Fn(&str) -> Option<bool>,
) -> io::Result<bool> {
    for side in Side::BOTH {
        let filters = requests.filters(index, side)?;
        if filters.iter().any(|(_, name)| name.as_deref().and_then(read) == Some(true)) {
            return Ok(true);
        }
    }
    Ok(false)
}
