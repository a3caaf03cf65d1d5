//! One file a hook family, the kernel's call site named above each program.

// They read the registers of the caller, and know calls by the numbers of x86-64.
#[cfg(bpf_target_arch = "x86_64")]
mod call;
#[cfg(bpf_target_arch = "x86_64")]
mod file;
mod frames;
mod line;
mod namespace;
mod skb;
mod sock_addr;
mod socket;

use aya_ebpf::helpers::generated::bpf_set_retval;
use chaos_ebpf_common::{
    event::Event,
    gate::{Verdict, confirm, decide},
    rule::Action,
};

use crate::env::Maps;

/// Real errnos end here (`include/uapi/asm-generic/errno.h`); the gate is not trusted beyond.
const LAST_ERRNO: u32 = 133;

/// Asks the gate about a call. Returns what the program must return: 1 lets the call go on, 0
/// ends it with the errno that was set.
#[inline(always)]
fn answer_call(event: &Event) -> i32 {
    let verdict = decide(&Maps, Maps.first_of_this_cgroup(), event);
    if verdict == Verdict::PASS {
        return 1;
    }
    let real = verdict.is(Action::Fail) && verdict.errno > 0 && verdict.errno <= LAST_ERRNO;
    // SAFETY: the helper takes a return value for the call (kernel 5.18); negative is an errno.
    let done = real && unsafe { bpf_set_retval(-(verdict.errno as i32)) } == 0;
    confirm(&Maps, event, &verdict, done);
    if done { 0 } else { 1 }
}
