//! The BPF object loaded for the frames of one target.

use std::ops::{Deref, DerefMut};

use super::{KernelError, LineMaps, Object, TargetMaps, object::FrameOwner};

/// An object that serves one target. Dropping it unloads everything.
pub struct Instance {
    object: Object,
    pub maps: TargetMaps,
    /// Taken by the target's delay line for as long as there is one.
    pub line_maps: Option<LineMaps>,
}

impl Instance {
    /// Creates the maps for the target whose cgroup has this id and depth; nothing is attached
    /// and nothing matches yet.
    pub fn load(cgroup_id: u64, level: u32) -> Result<Self, KernelError> {
        let mut object = Object::load(FrameOwner { cgroup: cgroup_id, level }, &[])?;
        let maps = TargetMaps::take(object.ebpf())?;
        let line_maps = Some(LineMaps::take(object.ebpf())?);
        Ok(Self { object, maps, line_maps })
    }
}

impl Deref for Instance {
    type Target = Object;

    fn deref(&self) -> &Object {
        &self.object
    }
}

impl DerefMut for Instance {
    fn deref_mut(&mut self) -> &mut Object {
        &mut self.object
    }
}
