//! Where a frame that a queue of the kernel holds was going, and when, in its control block, as the
//! [stamp](crate::stamp): it survives the way through a veth, fq and back.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::line::Ticket;

/// Gives it one.
#[inline(always)]
pub fn put(skb: *mut __sk_buff, ticket: Ticket) {
    write(skb, ticket.to_words());
}

/// The frame's; `None` for one that is not ours.
#[inline(always)]
pub fn read(skb: *mut __sk_buff) -> Option<Ticket> {
    // SAFETY: reading the program's context, word by word at constant offsets.
    let words = unsafe {
        [(&raw const (*skb).cb[3]).read_volatile(), (&raw const (*skb).cb[4]).read_volatile()]
    };
    Ticket::from_words(words)
}

/// Takes it off.
#[inline(always)]
pub fn take(skb: *mut __sk_buff) {
    write(skb, [0; 2]);
}

#[inline(always)]
fn write(skb: *mut __sk_buff, words: [u32; 2]) {
    // SAFETY: writing the part of the program's context that is there to be written.
    unsafe {
        (&raw mut (*skb).cb[3]).write_volatile(words[0]);
        (&raw mut (*skb).cb[4]).write_volatile(words[1]);
    }
}
