//! A second time the same.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::{event::EventKind, rule::Stage};

use super::{Outcome, redirect::send_copy};

/// The copy goes on with the stages behind this one. Where there is no room for it, it may have come by some of them.
#[inline(always)]
pub fn duplicate(skb: *mut __sk_buff, kind: EventKind) -> Outcome {
    let is_sent = send_copy(skb, kind, Stage::Copy as u32 + 1);
    if is_sent { Outcome::Copied } else { Outcome::NotCopied }
}
