//! Reads the kernel's memory, by addresses that are numbers.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;

/// Where something is that the verifier takes for no address that one may count from, as a number: what is
/// read from where a pointer to it lies on the stack is a number like any other.
#[inline(always)]
pub fn address_of<T>(pointer: &*mut T) -> u64 {
    read(core::ptr::from_ref(pointer) as u64)
}

/// 0 where nothing can be read (kernel 5.5, for classifiers 5.8).
#[inline(always)]
pub fn read<T: Copy + Default>(at: u64) -> T {
    let mut value = T::default();
    // SAFETY: the helper takes any address; it fills the value, or zeroes it and fails.
    unsafe {
        let size = size_of::<T>() as u32;
        bpf_probe_read_kernel((&raw mut value).cast(), size, at as *const core::ffi::c_void);
    }
    value
}
