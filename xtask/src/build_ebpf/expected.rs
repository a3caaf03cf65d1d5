//! What the BPF object must hold: the agent loads programs and maps by these names.

use super::inspect::Expected;

pub const EXPECTED: Expected<'static> = Expected { programs: &[], maps: &[] };
