//! One word of the language to its value, and the value's canonical spelling. Text and YAML
//! share them.

pub(super) mod chance;
pub(super) mod duration;
pub(super) mod moment;
pub(super) mod name;
pub(super) mod number;
pub(super) mod peer;
pub(super) mod rate;
pub(super) mod spread;
pub(super) mod word;
