//! Looks names up.

use std::net::ToSocketAddrs as _;

use anyhow::Result;
use chaos_tests::job::{LookUps, LookedUp};

use crate::stage::Stage;

pub fn look_up(options: &LookUps, stage: &Stage) -> Result<LookedUp> {
    stage.ready(None)?;
    let mut looked_up = LookedUp::default();
    for _ in 0..options.times {
        match (options.name.as_str(), 0).to_socket_addrs() {
            Ok(addresses) => {
                looked_up.found += 1;
                looked_up.addresses.extend(addresses.map(|address| address.ip()));
            }
            Err(_) => looked_up.failed += 1,
        }
    }
    Ok(looked_up)
}
