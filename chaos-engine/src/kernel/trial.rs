//! A program run once on a frame of the caller's making, attached to nothing.

use aya::{
    Ebpf, TestRun, TestRunOptions,
    programs::{Program, ProgramError},
};
use chaos_plan::Hook;

use super::KernelError;

/// Where `struct __sk_buff` has its `gso_size`, and where that ends
/// (`include/uapi/linux/bpf.h`; the layout never changes).
const GSO_SIZE: std::ops::Range<usize> = 176..180;
const CONTEXT_BYTES: usize = 184;

/// What became of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What the program returned, such as 2 of `cgroup_skb/egress` for a loss.
    pub verdict: u32,
    /// The frame afterwards; without its link header for the cgroup hooks.
    pub frame: Vec<u8>,
}

/// `BPF_PROG_TEST_RUN` of a loaded program (kernel 4.12, `gso_size` 5.6).
/// <https://docs.kernel.org/bpf/bpf_prog_run.html>
pub(super) fn run(
    ebpf: &Ebpf,
    hook: Hook,
    frame: &[u8],
    gso_size: u32,
) -> Result<Trial, KernelError> {
    let mut context = [0; CONTEXT_BYTES];
    context[GSO_SIZE].copy_from_slice(&gso_size.to_ne_bytes());
    let mut out = vec![0; frame.len()];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ctx_in: Some(&context),
        ..TestRunOptions::new()
    };
    let result = match ebpf.program(hook.program()) {
        Some(Program::CgroupSkb(program)) => program.test_run(options),
        Some(Program::SchedClassifier(program)) => program.test_run(options),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(|source| KernelError::Run { hook, source })?;
    out.truncate(result.data_size_out as usize);
    Ok(Trial { verdict: result.return_value, frame: out })
}
