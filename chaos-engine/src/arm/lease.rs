//! Notes a lease where programs and supervisors read it.

use std::sync::Arc;

use chaos_api::{LeaseError, Noted};

use crate::{kernel::LeaseMap, seccomp::SharedRules};

/// Where programs, if there are any, and supervisors, if there are shared rules, read it.
pub(super) struct InForce {
    pub map: Option<LeaseMap>,
    pub shared: Option<Arc<SharedRules>>,
}

impl Noted for InForce {
    fn note(&self, until: u64) -> Result<(), LeaseError> {
        if let Some(shared) = &self.shared {
            shared.lease_until(until);
        }
        match &self.map {
            Some(map) => map.set(until).map_err(|error| LeaseError(error.into())),
            None => Ok(()),
        }
    }
}
