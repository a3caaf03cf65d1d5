//! Processes that were started with a filter of ours, and who answers them.

use std::sync::Arc;

use super::ArmError;
use crate::{
    plan::{Backend, KernelFeatures, Support},
    seccomp::Board,
    target::Target,
};

/// What there is to reach by seccomp.
#[derive(Default)]
pub(super) struct Filtered {
    /// By the id of the cgroup.
    child: Option<(u64, Arc<Board>)>,
}

impl Filtered {
    pub fn expect_child(&mut self, target: &Target, board: Arc<Board>) {
        self.child = Some((target.cgroup.id(), board));
    }

    /// What the kernel can do for this target: a process gets a filter when it is started and at
    /// no other time.
    pub fn features(&self, kernel: &KernelFeatures, target: &Target) -> KernelFeatures {
        let works = kernel.backend(Backend::Seccomp) == Support::Works;
        if !works || self.board_of_child(target).is_some() {
            return kernel.clone();
        }
        let missing = Support::Missing {
            reason: "the target was not started with the filter".to_owned(),
            remedy: "start it by `chaos-agent run`".to_owned(),
        };
        kernel.clone().with_backend(Backend::Seccomp, missing)
    }

    /// The board that the target's wardens judge by.
    pub fn board(&self, target: &Target) -> Result<Option<Arc<Board>>, ArmError> {
        Ok(self.board_of_child(target))
    }

    fn board_of_child(&self, target: &Target) -> Option<Arc<Board>> {
        let (cgroup, board) = self.child.as_ref()?;
        (*cgroup == target.cgroup.id()).then(|| board.clone())
    }
}
