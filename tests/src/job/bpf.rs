//! What is asked about the machine's kernel.

use serde::{Deserialize, Serialize};

/// Lists the BPF programs, maps and links of the machine, pinned or not.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct BpfObjects {}
