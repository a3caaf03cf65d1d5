//! Tells whether a controller leads, by whether the guard's Lease moves while it is watched. Clocks of machines differ,
//! so only this machine's own is gone by.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;

/// Another controller takes the Lease of one that has died within this time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What was seen of a Lease.
#[derive(Debug, Default)]
pub struct Leader {
    /// Who held it and when it was renewed, and since when that is so.
    seen: Option<(Option<String>, Instant)>,
}

impl Leader {
    /// Notes how the Lease is now.
    pub fn note(&mut self, lease: Option<&Lease>, now: Instant) {
        let spec = lease.and_then(|lease| lease.spec.as_ref());
        let held = spec.and_then(|spec| {
            let holder = spec.holder_identity.as_ref().filter(|holder| !holder.is_empty())?;
            Some(format!("{holder} {}", spec.renew_time.as_ref()?.0))
        });
        if self.seen.as_ref().is_none_or(|(before, _)| *before != held) {
            self.seen = Some((held, now));
        }
    }

    /// Why nobody leads, if the Lease has not moved for so long that nobody can.
    pub fn absence(&self, now: Instant) -> Option<String> {
        let (held, since) = self.seen.as_ref()?;
        let stood = now.saturating_duration_since(*since);
        (stood >= PATIENCE).then(|| match held {
            None => "no controller leads: nobody holds the Lease chaos-controller".to_owned(),
            Some(_) => format!(
                "no controller leads: the Lease chaos-controller has not moved for {}",
                chaos_fault::print_duration(Duration::from_secs(stood.as_secs()))
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(renewed: &str) -> Lease {
        let spec = serde_json::json!({ "spec": { "holderIdentity": "a", "renewTime": renewed } });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_lease_that_moves_has_a_leader() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut leader = Leader::default();
        assert_eq!(leader.absence(at(60)), None);
        let first = lease("2026-11-28T10:14:29.000000Z");
        leader.note(Some(&first), at(0));
        leader.note(Some(&first), at(19));
        assert_eq!(leader.absence(at(19)), None);
        assert!(leader.absence(at(21)).unwrap().contains("has not moved for 21s"));
        leader.note(Some(&lease("2026-11-28T10:14:39.000000Z")), at(21));
        assert_eq!(leader.absence(at(40)), None);
        leader.note(None, at(41));
        assert!(leader.absence(at(61)).unwrap().contains("nobody holds"));
    }
}
