//! Packet bytes by helper: works for paged and for linear data alike.

use core::mem::MaybeUninit;

use aya_ebpf::{bindings::__sk_buff, helpers::generated::bpf_skb_load_bytes};
use chaos_ebpf_common::packet::{Bytes, Chain, follow};

/// The packet of a `__sk_buff` context, counted from behind a link header of `LINK` bytes: 0 where
/// the program gets none.
///
/// Not by `bpf_skb_load_bytes_relative`: it reads linear data only, and calls the header behind a
/// VLAN tag in the data the network header.
/// <https://github.com/torvalds/linux/blob/v6.12/net/core/filter.c>
pub struct SkbBytes<const LINK: u32>(pub *mut __sk_buff);

/// [`follow`] as a function that the verifier checks once: in line it is walked for every way in
/// which six headers can be stacked, and with it whatever comes behind.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn chaos_follow(skb: *mut __sk_buff, link: u32, next: u32, offset: u32) -> u64 {
    // From here on offsets count from the beginning of the data.
    let chain = follow(&SkbBytes::<0>(skb), next as u8, link.wrapping_add(offset));
    chain.0.wrapping_sub(link as u64)
}

impl<const LINK: u32> SkbBytes<LINK> {
    /// The EtherType, in host order; a tag that the device took off is not part of it.
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        // SAFETY: the pointer is the program's context.
        u16::from_be(unsafe { (*self.0).protocol } as u16)
    }
}

impl<const LINK: u32> Bytes for SkbBytes<LINK> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes N bytes, or fails (and zeroes them).
        unsafe {
            let to = bytes.as_mut_ptr().cast();
            let failed = bpf_skb_load_bytes(self.0.cast(), LINK + offset, to, N as u32);
            if failed == 0 { Some(bytes.assume_init()) } else { None }
        }
    }

    #[inline(always)]
    fn follow(&self, next: u8, offset: u32) -> Chain {
        Chain(chaos_follow(self.0, LINK, next as u32, offset))
    }
}
