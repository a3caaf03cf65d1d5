//! What is left of a target that is disarmed: programs at its interfaces without a lease, which let everything pass, until
//! they are detached one by one.

use super::{
    Armed,
    frames::SharedLink,
    turn::{Turn, drop_within},
};

/// Programs to detach, where no other target has them, which takes a grace period of the kernel for each.
pub(super) struct Retired {
    links: Vec<SharedLink>,
    /// After the links, so that packets meet no program whose maps are on their way out.
    _rest: Armed,
}

impl Retired {
    /// Those links of a target, of which the last is detached first.
    pub(super) fn new(links: Vec<SharedLink>, rest: Armed) -> Self {
        Self { links, _rest: rest }
    }

    /// Goes on for a turn; whether nothing is left.
    pub(super) fn detach(&mut self, turn: Turn) -> bool {
        drop_within(turn, &mut self.links)
    }
}
