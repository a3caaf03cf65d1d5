//! The claims of this process, and the way to those of others.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

use super::{
    ArmedId,
    claim::{Claim, Occupied},
};
use crate::{
    fault::Fault,
    kernel::{KernelError, PublishedClaim, boot_now, published_claims},
};

/// How long another process that arms at the same moment may take for it. Far longer than it takes.
const LONGEST_ARMING: Duration = Duration::from_secs(2);

/// Between two looks at what it does.
const PAUSE: Duration = Duration::from_millis(5);

/// What this process has armed.
#[derive(Default)]
pub(super) struct Claims {
    held: BTreeMap<ArmedId, Held>,
    /// It was said that others' claims are not seen.
    is_blind: bool,
}

/// A claim, and what others see of it; nothing where the kernel did not let us.
pub(super) struct Held {
    claim: Claim,
    published: Option<PublishedClaim>,
}

/// What a look at others' claims gives.
enum Look {
    Free,
    Occupied(Occupied),
    /// Somebody else is about to arm what does not go together with it, and gives way or not.
    Undecided(Occupied),
}

impl Claims {
    /// What stands against a claim at this moment, if these `gone` were not armed.
    pub fn occupied(
        &self,
        gone: &BTreeSet<ArmedId>,
        claim: &Claim,
        faults: &[Fault],
    ) -> Option<Occupied> {
        let now = boot_now();
        let mut own = self.held.iter().filter(|(other, _)| !gone.contains(other));
        let occupied = own.find_map(|(_, held)| claim.against(&held.claim, faults, now, false));
        occupied.or_else(|| match self.look(claim, faults) {
            Ok(Look::Occupied(occupied)) => Some(occupied),
            // Whoever cannot see what others have armed is told when something is armed.
            Ok(Look::Free | Look::Undecided(_)) | Err(_) => None,
        })
    }

    /// Claims a target for what is to be armed there under this id, in place of what is armed under it
    /// now. Others that do the same at the same moment see it, too: one of two gives way.
    pub fn ask(
        &mut self,
        id: &ArmedId,
        claim: Claim,
        faults: &[Fault],
        until: u64,
    ) -> Result<Held, Occupied> {
        let mut others = self.held.iter().filter(|(other, _)| *other != id);
        let now = boot_now();
        let occupied = others.find_map(|(_, held)| claim.against(&held.claim, faults, now, false));
        if let Some(occupied) = occupied {
            return Err(occupied);
        }
        // First publish, then look: of two that do so at once at least one sees the other.
        let published = claim.to_text().map(|text| PublishedClaim::publish(&text, until));
        let published = match published.transpose() {
            Ok(published) => published,
            Err(error) => {
                tracing::warn!(%error, "other processes do not see what this one arms");
                None
            }
        };
        let give_up = Instant::now() + LONGEST_ARMING;
        loop {
            match self.look(&claim, faults) {
                Ok(Look::Free) => break,
                Ok(Look::Occupied(occupied)) => return Err(occupied),
                Ok(Look::Undecided(occupied)) if Instant::now() > give_up => {
                    return Err(occupied);
                }
                Ok(Look::Undecided(_)) => thread::sleep(PAUSE),
                Err(error) => {
                    if !std::mem::replace(&mut self.is_blind, true) {
                        tracing::warn!(
                            %error,
                            "what other processes have armed is not seen; grant CAP_SYS_ADMIN"
                        );
                    }
                    break;
                }
            }
        }
        Ok(Held { claim, published })
    }

    /// Compares a claim with those of other processes.
    fn look(&self, claim: &Claim, faults: &[Fault]) -> Result<Look, KernelError> {
        let now = boot_now();
        let is_own = |number: u64| {
            number == claim.number() || self.held.values().any(|held| held.claim.number() == number)
        };
        let mut look = Look::Free;
        for found in published_claims()? {
            // What is being written just now belongs to somebody who has not looked yet, and sees ours.
            let Some(other) = Claim::of_text(&found.text) else { continue };
            if is_own(other.number()) || found.until <= now {
                continue;
            }
            let Some(occupied) = claim.against(&other, faults, now, true) else { continue };
            if found.settled || other.number() < claim.number() {
                return Ok(Look::Occupied(occupied));
            }
            look = Look::Undecided(occupied);
        }
        Ok(look)
    }

    /// What was claimed is armed.
    pub fn settle(&mut self, id: ArmedId, mut held: Held) {
        if let Some(Err(error)) = held.published.as_mut().map(PublishedClaim::settle) {
            tracing::warn!(%id, %error, "other processes do not see that this one has armed");
        }
        self.held.insert(id, held);
    }

    /// Gives a claim back, for whoever lets go of it when nothing is armed any more.
    pub fn take(&mut self, id: &ArmedId) -> Option<Held> {
        self.held.remove(id)
    }

    /// Lets all of them hold until this boot-clock moment (ns).
    pub fn renew(&mut self, until: u64) {
        for (id, held) in &mut self.held {
            if let Some(Err(error)) = held.published.as_mut().map(|one| one.renew(until)) {
                tracing::warn!(%id, %error, "other processes take this claim for lapsed");
            }
        }
    }
}
