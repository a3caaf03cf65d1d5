//! A second time the same.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::{event::EventKind, rule::Stage};

use super::{Outcome, redirect::send_copy};

/// The copy goes on with the stages behind this one. `None` where there is no room for it.
#[inline(always)]
pub fn duplicate(skb: *mut __sk_buff, kind: EventKind) -> Option<Outcome> {
    send_copy(skb, kind, Stage::Copy as u32 + 1).then_some(Outcome::Copied)
}
