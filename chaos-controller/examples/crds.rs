//! Prints the definitions of the kinds as YAML, for `./x crds`.

use std::io::{self, Write as _};

use chaos_api::kinds::{Experiment, Run};
use kube::CustomResourceExt as _;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for definition in [Experiment::crd(), Run::crd()] {
        let yaml = serde_saphyr::to_string(&definition).map_err(io::Error::other)?;
        write!(out, "---\n{yaml}")?;
    }
    Ok(())
}
