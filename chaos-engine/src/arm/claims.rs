//! The claims of this process, and the way to those of others.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::Duration,
};

use chaos_api::{ArmedId, Occupied, clock::boot_now};
use chaos_fault::Fault;
use chaos_plan::can_clash;

use super::{claim::Claim, turn::Turn};
use crate::kernel::{FoundClaim, KernelError, PublishedClaim, published_claims};

/// How long one that is taken over from another process waits for that to give way, as it is tried again
/// anyway. Far longer than giving way takes.
const BRIEFLY: Duration = Duration::from_millis(50);

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
    faults: Vec<Fault>,
    /// The boot-clock moment (ns) from which on others do not heed it.
    until: u64,
    published: Option<PublishedClaim>,
}

impl Held {
    /// Lets it hold until this boot-clock moment (ns); whether it held until now.
    fn renew(&mut self, id: &ArmedId, until: u64) -> bool {
        // Others see it again before anybody looks whether they armed something meanwhile.
        if let Some(Err(error)) = self.published.as_mut().map(|one| one.renew(until)) {
            tracing::warn!(%id, %error, "other processes take this claim for lapsed");
        }
        std::mem::replace(&mut self.until, until) > boot_now()
    }
}

/// What a look at others' claims gives.
#[derive(Debug)]
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
    /// now. Others that do the same at the same moment see it, too: one of two gives way, for which the
    /// other one waits as far as the turn goes.
    pub fn ask(
        &mut self,
        id: &ArmedId,
        claim: Claim,
        faults: &[Fault],
        until: u64,
        turn: Turn,
    ) -> Result<Held, Occupied> {
        if !is_of_interest(&claim, faults) {
            // It is told to nobody: reading what all others have told takes longer the more there are.
            return Ok(Held { claim, faults: faults.to_vec(), until, published: None });
        }
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
        let turn = if claim.is_taken_over() { turn.part(BRIEFLY) } else { turn };
        loop {
            match self.look(&claim, faults) {
                Ok(Look::Free) => break,
                Ok(Look::Occupied(occupied)) => return Err(occupied),
                Ok(Look::Undecided(occupied)) if turn.is_over() => return Err(occupied),
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
        Ok(Held { claim, faults: faults.to_vec(), until, published })
    }

    /// Compares a claim with those of other processes.
    fn look(&self, claim: &Claim, faults: &[Fault]) -> Result<Look, KernelError> {
        if !is_of_interest(claim, faults) {
            return Ok(Look::Free);
        }
        let is_own = |number: u64| self.held.values().any(|held| held.claim.number() == number);
        Ok(compare(claim, faults, &published_claims()?, is_own, boot_now()))
    }

    /// What was claimed is armed, and others heed that until this boot-clock moment (ns).
    ///
    /// # Errors
    /// What another process has armed there, where the claim lapsed before.
    pub fn settle(&mut self, id: ArmedId, mut held: Held, until: u64) -> Result<(), Occupied> {
        if let Some(Err(error)) = held.published.as_mut().map(PublishedClaim::settle) {
            tracing::warn!(%id, %error, "other processes do not see that this one has armed");
        }
        if !held.renew(&id, until)
            && let Some(occupied) = self.foreign(&held)
        {
            return Err(occupied);
        }
        self.held.insert(id, held);
        Ok(())
    }

    /// Lets those hold again, until this boot-clock moment (ns), that lapsed as this process did not get
    /// on; gives those that others did not heed meanwhile.
    pub fn revive(&mut self, until: u64) -> BTreeMap<ArmedId, Occupied> {
        let now = boot_now();
        let lapsed = self.held.iter_mut().filter(|(_, held)| held.until <= now);
        let lapsed: Vec<ArmedId> = lapsed
            .map(|(id, held)| {
                held.renew(id, until);
                id.clone()
            })
            .collect();
        let foreign = |id: ArmedId| {
            let occupied = self.foreign(self.held.get(&id)?)?;
            Some((id, occupied))
        };
        lapsed.into_iter().filter_map(foreign).collect()
    }

    /// What other processes have armed, or are about to, that does not go together with this claim.
    fn foreign(&self, held: &Held) -> Option<Occupied> {
        match self.look(&held.claim, &held.faults) {
            Ok(Look::Occupied(occupied) | Look::Undecided(occupied)) => Some(occupied),
            // Whoever cannot see what others have armed was told when something was armed.
            Ok(Look::Free) | Err(_) => None,
        }
    }

    /// Gives a claim back, for whoever lets go of it when nothing is armed any more.
    pub fn take(&mut self, id: &ArmedId) -> Option<Held> {
        self.held.remove(id)
    }

    /// Lets those that have not lapsed hold until this boot-clock moment (ns).
    pub fn renew(&mut self, until: u64) {
        let now = boot_now();
        for (id, held) in self.held.iter_mut().filter(|(_, held)| held.until > now) {
            held.renew(id, until);
        }
    }
}

/// Whether others have to know of a claim, and it of theirs: it can clash, or another agent takes it over.
fn is_of_interest(claim: &Claim, faults: &[Fault]) -> bool {
    claim.is_taken_over() || can_clash(faults)
}

/// Compares a claim with those that were found, of which some are this process's own.
fn compare(
    claim: &Claim,
    faults: &[Fault],
    found: &[FoundClaim],
    is_own: impl Fn(u64) -> bool,
    now: u64,
) -> Look {
    let mut look = Look::Free;
    for found in found {
        // What is being written just now belongs to somebody who has not looked yet, and sees ours.
        let Some(other) = Claim::of_text(&found.text) else { continue };
        let number = other.number();
        if number == claim.number() || is_own(number) || found.until <= now {
            continue;
        }
        let Some(occupied) = claim.against(&other, faults, now, true) else { continue };
        if found.settled || number < claim.number() {
            return Look::Occupied(occupied);
        }
        look = Look::Undecided(occupied);
    }
    look
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000;

    const TEXT: &str = "delay 5ms egress";

    /// As another process publishes it, or this one.
    fn found(number: u64, settled: bool, until: u64) -> FoundClaim {
        let text = format!(
            r#"{{"number":{number},"lineage":[1,2],"id":"cli:{number}","by":"process 42","faults":
            [{{"fault":"{TEXT}","began":1,"ends":9000}}]}}"#
        );
        FoundClaim { text, settled, until }
    }

    fn look(others: &[FoundClaim], own: u64) -> &'static str {
        let claim = Claim::of_text(&found(7, false, 2 * NOW).text).unwrap();
        let faults: Vec<Fault> =
            chaos_fault::parse(TEXT).unwrap().into_iter().map(|sentence| sentence.fault).collect();
        match compare(&claim, &faults, others, |number| number == own, NOW) {
            Look::Free => "free",
            Look::Occupied(_) => "occupied",
            Look::Undecided(_) => "undecided",
        }
    }

    #[test]
    fn what_is_armed_or_was_claimed_with_a_lower_number_goes_first() {
        let later = 2 * NOW;
        for (number, settled, until, expected) in [
            (9, true, later, "occupied"),
            (9, false, later, "undecided"),
            (3, false, later, "occupied"),
            // Lapsed.
            (3, true, NOW, "free"),
            // This very claim, and one that is this process's, too.
            (7, true, later, "free"),
            (5, true, later, "free"),
        ] {
            let others = [found(number, settled, until)];
            assert_eq!(look(&others, 5), expected, "{number} {settled} {until}");
        }
        assert_eq!(look(&[found(9, false, later), found(8, true, later)], 5), "occupied");
        let half = FoundClaim { text: String::new(), settled: false, until: later };
        assert_eq!(look(&[half], 5), "free");
    }

    fn claims(until: u64) -> Claims {
        let claim = Claim::of_text(&found(7, true, until).text).unwrap();
        let held = Held { claim, faults: Vec::new(), until, published: None };
        Claims { held: [(ArmedId("cli:7".into()), held)].into(), is_blind: false }
    }

    #[test]
    fn only_what_lapsed_is_revived() {
        let later = boot_now() + 60_000_000_000;
        for (until, revived) in [(later, later), (1, later + 1)] {
            let mut claims = claims(until);
            claims.renew(later);
            assert!(claims.revive(later + 1).is_empty());
            assert_eq!(claims.held.values().next().unwrap().until, revived);
        }
    }
}
