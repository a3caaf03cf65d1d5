//! What the kernel holds of the agent's, before and after a test.

use std::{
    collections::BTreeSet,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use chaos_engine::kernel::{loaded, map_ids, wait_for_maps};

/// What there was at one moment.
pub struct Ours {
    loaded: BTreeSet<String>,
    /// The ids of all maps of the machine.
    maps: BTreeSet<u32>,
}

impl Ours {
    pub fn take() -> Result<Self> {
        Ok(Self { loaded: loaded()?, maps: map_ids()? })
    }

    /// Waits until there is nothing more than that, for so long at most.
    pub fn settle(&self, patience: Duration) -> Result<()> {
        // First without opening anything.
        wait_for_maps(&self.maps, patience)?;
        let give_up = Instant::now() + patience;
        while !loaded()?.is_subset(&self.loaded) {
            ensure!(Instant::now() < give_up, "left in the kernel: {:?}", loaded()?);
            sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}
