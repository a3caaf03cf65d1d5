//! The programs that serve the cgroups and calls of all targets, and their one lease.

use std::sync::Arc;

use chaos_api::{Lease, Leases, clock::boot_now};

use super::{ArmError, lease::InForce};
use crate::{
    descriptors::Descriptors,
    kernel::{Programs, Room},
};

/// File descriptors of the programs and maps.
const DESCRIPTORS: u64 = 48;

/// Loaded for the first target.
#[derive(Default)]
pub(super) struct SharedPrograms {
    loaded: Option<(Programs, Arc<Lease>)>,
    room: Room,
    /// The boot-clock moment (ns) until which the lease is given.
    until: u64,
}

impl SharedPrograms {
    pub(super) fn with_room(room: Room) -> Self {
        Self { room, ..Self::default() }
    }

    /// The programs, with a lease among these.
    pub(super) fn load(&mut self, leases: &Leases) -> Result<Programs, ArmError> {
        if let Some((programs, _)) = &self.loaded {
            return Ok(programs.clone());
        }
        Descriptors::count().map_err(ArmError::Count)?.admit(DESCRIPTORS)?;
        let programs = Programs::load(self.room)?;
        let lease = leases.open(InForce { map: Some(programs.lease()), shared: None });
        self.loaded = Some((programs.clone(), lease));
        Ok(programs)
    }

    /// Renews the lease, for all targets at once.
    pub(super) fn renew(&mut self, until: u64) {
        let Some((_, lease)) = &self.loaded else { return };
        match lease.extend(until) {
            Ok(()) => self.until = until,
            // The next tick tries again.
            Err(error) => {
                tracing::warn!(%error, "the lease of faults on cgroups and calls could not be renewed");
            }
        }
    }

    /// Whether the lease has not lapsed.
    pub(super) fn is_leased(&self) -> bool {
        boot_now() < self.until
    }

    /// Takes back what faults took that have ended.
    pub(super) fn tend(&self) {
        if let Some((programs, _)) = &self.loaded
            && let Err(error) = programs.tend()
        {
            tracing::warn!(%error, "what faults that have ended took was not taken back");
        }
    }

    /// Whether programs are to be detached that no target needs any more.
    pub(super) fn has_idle(&self) -> bool {
        self.loaded.as_ref().is_some_and(|(programs, _)| programs.has_idle())
    }

    /// Detaches one of them.
    pub(super) fn detach_idle(&self) {
        if let Some((programs, _)) = &self.loaded {
            programs.detach_idle();
        }
    }

    /// How much of the room is taken.
    pub(super) fn taken(&self) -> Room {
        let nothing = Room { texts: 0, rules: 0 };
        self.loaded.as_ref().map_or(nothing, |(programs, _)| programs.taken())
    }
}
