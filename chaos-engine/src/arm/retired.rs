//! What is left of a target that is disarmed: programs at its interfaces without a lease, which let everything pass, until
//! they are detached one by one.

use super::{
    Armed,
    turn::{Turn, drop_within},
};
use crate::kernel::Link;

/// Programs to detach, which takes a grace period of the kernel for each.
pub(super) struct Retired {
    links: Vec<Link>,
    /// After the links, so that packets meet no program whose maps are on their way out.
    _rest: Armed,
}

impl Retired {
    /// Those links of a target, of which the last is detached first.
    pub(super) fn new(links: Vec<Link>, rest: Armed) -> Self {
        Self { links, _rest: rest }
    }

    /// Goes on for a turn; whether nothing is left.
    pub(super) fn detach(&mut self, turn: Turn) -> bool {
        drop_within(turn, &mut self.links)
    }
}
