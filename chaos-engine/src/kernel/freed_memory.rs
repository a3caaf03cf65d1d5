//! Gives memory back to the kernel that the allocator keeps for later.

/// Gives back what was freed. Loading programs takes some MiB for a moment (their file, type information, the verifier's
/// log), which glibc would keep for as long as the process lives; other allocators give it back by themselves.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes a number and may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
