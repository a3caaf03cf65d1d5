//! Finds what comes after a target that is gone: the next cgroup of a unit, or of a pod's container, that was started
//! again.

use std::{collections::BTreeMap, time::Duration};

use chaos_api::{FaultClock, FaultReport, TargetReport, TargetSpec};
use chaos_fault::Fault;

/// Between two looks whether a target has come back.
pub const PAUSE: Duration = Duration::from_millis(100);

/// Says why nothing that comes after such a target can be known, and what to do instead.
///
/// # Errors
/// For a process or a container, whose id is never given to what comes after.
pub fn can_be_followed(spec: &TargetSpec) -> Result<(), String> {
    let (what, instead) = match spec {
        TargetSpec::Unit(_) | TargetSpec::Cgroup(_) | TargetSpec::ContainerName(_) => {
            return Ok(());
        }
        TargetSpec::Pid(_) => ("a process", "name its unit or its cgroup"),
        TargetSpec::Container(_) | TargetSpec::Pod { .. } => (
            "a container",
            "name it by its pod, as POD/CONTAINER; or annotate its pod: the annotation holds for whatever runs there",
        ),
    };
    Err(format!("{what} that is started again has another id, so it cannot be followed; {instead}"))
}

/// The clocks of faults that go on at the successor, and when the last of them ends.
#[derive(Debug, Clone, Default)]
pub struct Clocks {
    clocks: BTreeMap<String, FaultClock>,
    /// A boot-clock moment (ns).
    pub until: u64,
}

impl Clocks {
    /// Those of what was armed.
    pub fn of(report: &TargetReport) -> Self {
        let clock = |fault: &FaultReport| FaultClock { began: fault.began, ends: Some(fault.ends) };
        let clocks =
            report.faults.iter().map(|fault| (fault.fault.clone(), clock(fault))).collect();
        let until = report.faults.iter().map(|fault| fault.ends).max().unwrap_or_default();
        Self { clocks, until }
    }

    /// That of a fault, if it was among them.
    pub fn clock(&self, fault: &Fault) -> Option<FaultClock> {
        self.clocks.get(&fault.to_string()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_a_name_of_its_own_can_be_followed() {
        for spec in
            ["unit:nginx.service", "cgroup:/system.slice/nginx.service", "container:shop/web/main"]
        {
            assert_eq!(can_be_followed(&spec.parse().unwrap()), Ok(()), "{spec}");
        }
        let container = format!("container:{}", "a".repeat(64));
        for (spec, says) in [("pid:42", "name its unit"), (&*container, "annotate its pod")] {
            let refused = can_be_followed(&spec.parse().unwrap()).unwrap_err();
            assert!(refused.contains(says), "{refused}");
        }
    }
}
