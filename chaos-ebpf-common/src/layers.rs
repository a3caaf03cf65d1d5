//! Decides at which of several interfaces, one on top of another, a frame is asked about: at one on its
//! way out and at one on its way in.
//!
//! A bridge, a bond, a VLAN, a macvlan or a VXLAN hands its frames to the interface below, which has
//! programs, too, and may have an address and traffic of its own. Nothing in a frame keeps a note of
//! who asked: the control block is cleared by bridges and tunnels, and the fields that stay are the user's
//! (`mark`, `priority`) or somebody else's (`tc_index`). So the decision goes by what the frame is: it is
//! asked about where it was routed to, or is handed to the stack.

/// What is known of a frame that leaves by an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaving {
    /// The interface, by the kernel's address of it.
    pub interface: u64,
    /// The interface that the frame was routed to, likewise; 0 for none.
    pub routed_to: u64,
    /// Another interface is on top of this one.
    pub carries: bool,
    /// A tunnel has put it around a frame that left by another interface.
    pub encloses_frame: bool,
    /// Its socket sends packets of IP, which are routed; those of others (`AF_PACKET`, virtual machines)
    /// send frames.
    pub is_routed: bool,
}

impl Leaving {
    /// Whether it is asked about here. At an interface with none above it, that is so whatever its route
    /// says: where programs of others send frames elsewhere, this may be the first one that it comes by.
    #[inline(always)]
    pub fn is_asked(self) -> bool {
        if self.encloses_frame && self.routed_to != 0 {
            return false;
        }
        if self.routed_to == self.interface || !self.carries {
            return true;
        }
        // A frame without a route comes from above, or was sent here as it is.
        self.routed_to == 0 && !self.is_routed
    }
}

/// What is known of a frame that arrives at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// Number of the VLAN in its tag; 0 for no tag, or one that only has a priority.
    pub vlan: u16,
    /// Another interface takes all that arrives here: a bridge, a bond, a team.
    pub is_port: bool,
}

impl Arriving {
    /// Whether it is asked about here: not where it goes on to another interface, or to nobody.
    #[inline(always)]
    pub fn is_asked(self) -> bool {
        self.vlan == 0 && !self.is_port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BELOW: u64 = 10;
    const ABOVE: u64 = 20;

    /// An ordinary packet at the interface that it was routed to, with nothing on top.
    const PLAIN: Leaving = Leaving {
        interface: BELOW,
        routed_to: BELOW,
        carries: false,
        encloses_frame: false,
        is_routed: true,
    };

    fn asked(change: impl FnOnce(&mut Leaving)) -> bool {
        let mut leaving = PLAIN;
        change(&mut leaving);
        leaving.is_asked()
    }

    #[test]
    fn a_packet_is_asked_about_where_it_was_routed_to() {
        assert!(PLAIN.is_asked());
        // An interface has traffic of its own, whatever is on top of it.
        assert!(asked(|it| it.carries = true));
        // What comes from above was asked about there, whether the one above kept its route or not.
        for routed_to in [ABOVE, 0] {
            assert!(!asked(|it| (it.carries, it.routed_to) = (true, routed_to)));
        }
    }

    #[test]
    fn a_packet_around_a_frame_is_never_asked_about() {
        for (routed_to, carries) in [(BELOW, false), (BELOW, true), (ABOVE, false), (ABOVE, true)] {
            assert!(!asked(
                |it| *it = Leaving { encloses_frame: true, routed_to, carries, ..PLAIN }
            ));
        }
    }

    #[test]
    fn a_frame_without_a_route_is_asked_about_unless_its_socket_has_routes() {
        assert!(asked(|it| (it.carries, it.routed_to, it.is_routed) = (true, 0, false)));
        // It may be around another one since its sender made it.
        assert!(asked(|it| (it.encloses_frame, it.routed_to, it.is_routed) = (true, 0, false)));
    }

    #[test]
    fn what_others_sent_to_an_interface_that_carries_none_is_asked_about() {
        for routed_to in [ABOVE, 0] {
            assert!(asked(|it| it.routed_to = routed_to));
        }
    }

    #[test]
    fn a_frame_is_asked_about_where_it_is_handed_to_the_stack() {
        let asked = |vlan, is_port| Arriving { vlan, is_port }.is_asked();
        assert!(asked(0, false));
        for (vlan, is_port) in [(100, false), (0, true), (100, true)] {
            assert!(!asked(vlan, is_port));
        }
    }
}
