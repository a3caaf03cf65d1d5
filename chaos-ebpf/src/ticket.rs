//! Marks frames that are held.
//!
//! Where a frame that a queue of the kernel holds was going, and when, in its control block, as the
//! [stamp](crate::stamp): it survives the way through a veth, fq and back.

use aya_ebpf::bindings::__sk_buff;
use chaos_ebpf_common::line::FqTag;

/// Marks a frame for the reader of the line with this key. It is where the ticket would be.
#[inline(always)]
pub fn mark(skb: *mut __sk_buff, key: u64) {
    write(skb, [key as u32, (key >> 32) as u32]);
}

/// Whether it has this mark.
#[inline(always)]
pub fn is_marked(skb: *mut __sk_buff, key: u64) -> bool {
    let [low, high] = words(skb);
    low == key as u32 && high == (key >> 32) as u32
}

/// Gives it a ticket.
#[inline(always)]
pub fn put(skb: *mut __sk_buff, ticket: FqTag) {
    write(skb, ticket.to_words());
}

/// The frame's; `None` for one that is not ours.
#[inline(always)]
pub fn read(skb: *mut __sk_buff) -> Option<FqTag> {
    FqTag::from_words(words(skb))
}

#[inline(always)]
fn words(skb: *mut __sk_buff) -> [u32; 2] {
    // SAFETY: reading the program's context, word by word at constant offsets.
    unsafe {
        [(&raw const (*skb).cb[3]).read_volatile(), (&raw const (*skb).cb[4]).read_volatile()]
    }
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
