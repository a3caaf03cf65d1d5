//! Packet bytes by helper: works for paged and for linear data alike.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_hdr_start_off::BPF_HDR_START_NET},
    helpers::generated::bpf_skb_load_bytes_relative,
};
use chaos_ebpf_common::packet::Octets;

/// The packet of a `__sk_buff` context, counted from the network header on.
pub struct SkbOctets(pub *mut __sk_buff);

impl SkbOctets {
    /// The EtherType, in host order; a tag that the device took off is not part of it.
    #[inline(always)]
    pub fn ethertype(&self) -> u16 {
        // SAFETY: the pointer is the program's context.
        u16::from_be(unsafe { (*self.0).protocol } as u16)
    }
}

impl Octets for SkbOctets {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the helper writes N bytes, or fails (and zeroes them).
        unsafe {
            let failed = bpf_skb_load_bytes_relative(
                self.0.cast(),
                offset,
                bytes.as_mut_ptr().cast(),
                N as u32,
                BPF_HDR_START_NET,
            );
            if failed == 0 { Some(bytes.assume_init()) } else { None }
        }
    }
}
