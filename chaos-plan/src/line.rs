//! What holds frames back.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A delay line: a device into which programs send the frames that are to be held, and from which they
/// come back when they are due. In the order in which the planner prefers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DelayLine {
    /// A queue of the kernel, in a network namespace that only the agent holds, at the far end of a
    /// veth. CONFIG_VETH, CONFIG_NET_SCH_FQ.
    #[serde(rename = "fq")]
    Fq,
    /// A thread of the agent, behind a TAP device. CONFIG_TUN, and the right to `/dev/net/tun`, which
    /// container runtimes do not give.
    #[serde(rename = "tap")]
    Tap,
}

impl DelayLine {
    /// Every line, the preferred one first.
    pub const ALL: [Self; 2] = [Self::Fq, Self::Tap];

    /// As screens and JSON call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fq => "fq",
            Self::Tap => "tap",
        }
    }
}

impl fmt::Display for DelayLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
