//! Compares the boot clock that deadlines are reckoned by with the one that programs read.

use std::{io, os::fd::AsRawFd};

use aya_obj::generated::{bpf_cmd, bpf_prog_type};
use chaos_api::clock::boot_now;
use thiserror::Error;

use super::bpf::{bpf, no_attr, own};

/// More than lies between two readings on a machine that has much else to do; far less than any lease.
const MOST_APART: u64 = 500_000_000;

/// The number of `bpf_ktime_get_boot_ns` (kernel 5.8, `include/uapi/linux/bpf.h`).
const KTIME_GET_BOOT_NS: i32 = 125;

/// The smallest frame that a program can be run on: an Ethernet header.
const FRAME: [u8; 14] = [0; 14];

/// Leases and deadlines would mean nothing to the programs.
#[derive(Debug, Error)]
#[error(
    "the kernel's boot clock and the one of this process differ by {} s, so no fault would act when it \
     should; run in the machine's own time namespace (nsenter --time=/proc/1/ns/time …)",
    seconds(.apart)
)]
pub struct ClockError {
    /// Nanoseconds.
    apart: u64,
}

fn seconds(nanoseconds: &u64) -> u64 {
    nanoseconds / 1_000_000_000
}

/// Refuses where programs read another boot clock than [`boot_now`] gives. Where none can be run,
/// nothing is known, and arming says why.
pub fn check_clock() -> Result<(), ClockError> {
    let read = (0..3).filter_map(|_| {
        let before = boot_now();
        let programs = programs_now().ok()?;
        Some(apart(before, programs, boot_now()))
    });
    match read.min() {
        Some(apart) if apart > MOST_APART => Err(ClockError { apart }),
        _ => Ok(()),
    }
}

/// How far `moment` lies outside of what lies between two others.
fn apart(before: u64, moment: u64, after: u64) -> u64 {
    before.saturating_sub(moment).max(moment.saturating_sub(after))
}

/// The boot clock as a program reads it, in nanoseconds.
fn programs_now() -> io::Result<u64> {
    let (low, high) = (reader(0)?, reader(32)?);
    loop {
        // A program returns 32 bits; the upper ones change every four seconds.
        let above = run(&high)?;
        let below = run(&low)?;
        if run(&high)? == above {
            return Ok(u64::from(above) << 32 | u64::from(below));
        }
    }
}

/// A program that returns the clock, shifted by so many bits.
fn reader(shift: i32) -> io::Result<std::os::fd::OwnedFd> {
    /// `call`, `r0 >>= imm` and `exit` of `Documentation/bpf/standardization/instruction-set.rst`.
    const CALL: u8 = 0x85;
    const SHIFT_RIGHT: u8 = 0x77;
    const EXIT: u8 = 0x95;
    // The operation, registers and an offset (none), and the constant.
    let instruction = |code: u8, constant: i32| {
        let [a, b, c, d] = constant.to_ne_bytes();
        [code, 0, 0, 0, a, b, c, d]
    };
    let program = [
        instruction(CALL, KTIME_GET_BOOT_NS),
        instruction(SHIFT_RIGHT, shift),
        instruction(EXIT, 0),
    ];
    let mut attr = no_attr();
    // SAFETY: the program is the member of the union that the command reads.
    let load = unsafe { &mut attr.__bindgen_anon_3 };
    load.prog_type = bpf_prog_type::BPF_PROG_TYPE_SCHED_CLS as u32;
    load.insns = program.as_ptr() as u64;
    load.insn_cnt = program.len() as u32;
    load.license = c"GPL".as_ptr() as u64;
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr).map(own)
}

fn run(program: &impl AsRawFd) -> io::Result<u32> {
    let mut attr = no_attr();
    attr.test.prog_fd = program.as_raw_fd() as u32;
    attr.test.data_in = FRAME.as_ptr() as u64;
    attr.test.data_size_in = FRAME.len() as u32;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr)?;
    // SAFETY: the kernel has written the member that the command answers in.
    Ok(unsafe { attr.test.retval })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_is_not_apart() {
        assert_eq!(apart(10, 10, 12), 0);
        assert_eq!(apart(10, 12, 12), 0);
        assert_eq!(apart(10, 7, 12), 3);
        assert_eq!(apart(10, 20, 12), 8);
    }
}
